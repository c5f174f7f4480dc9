"""`os.path` over the virtual kernel: what looks at files is the kernel's, the rest is only text."""

import os.path
import stat
from typing import Any

_TEXT = ("join", "dirname", "basename", "split", "normpath", "abspath", "samestat", "splitext", "isabs")


class VirtualPath:
    def __init__(self, calls: Any) -> None:
        self._calls = calls
        for name in _TEXT:
            setattr(self, name, getattr(os.path, name))

    def exists(self, path: str) -> bool:
        try:
            self._calls.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def isdir(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._calls.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def realpath(self, path: str) -> str:
        return os.path.normpath(path)
