"""The built-in `open` over the virtual kernel: plain files, read whole and written at once."""

import os
from collections.abc import Iterator
from typing import Any, Self


class VirtualFile:
    """It has no finalizer: one that were run by the collector would be a call of some other process."""

    def __init__(self, calls: Any, fd: int, *, text: bool, buffered: bool = True) -> None:
        self._calls, self._fd, self._text, self._buffered = calls, fd, text, buffered
        self._unwritten = b""

    def read(self) -> Any:
        data = b""
        while more := self._calls.read(self._fd, 1 << 20):
            data += more
            if len(more) < 1 << 20:
                break
        return data.decode() if self._text else data

    def write(self, data: Any) -> int:
        self._unwritten += data.encode() if self._text else data
        if not self._buffered:
            self.flush()
        return len(data)

    def flush(self) -> None:
        data, self._unwritten = self._unwritten, b""
        if data:
            self._calls.write(self._fd, data)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                fd, self._fd = self._fd, -1
                self._calls.close(fd)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read().splitlines(keepends=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VirtualOpen:
    def __init__(self, calls: Any) -> None:
        self._calls = calls

    def __call__(self, path: Any, mode: str = "r", buffering: int = -1, **_: object) -> VirtualFile:
        if isinstance(path, int):
            return VirtualFile(self._calls, path, text="b" not in mode, buffered=buffering != 0)
        flags = os.O_RDONLY if "r" in mode else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        fd = self._calls.open(path, flags | os.O_CLOEXEC, 0o666)
        return VirtualFile(self._calls, fd, text="b" not in mode, buffered=buffering != 0)
