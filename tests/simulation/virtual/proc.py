"""/proc of the virtual kernel: what the project reads of it."""

import errno
import re

from virtual.files import error
from virtual.kernel import INIT, Kernel
from virtual.process import Process
from virtual.things import OpenFile

BOOT_ID = b"11111111-2222-3333-4444-555555555555\n"
_OF_PROCESS = re.compile(r"/proc/(\d+|self)/(stat|schedstat|environ|comm|fd)(?:/(\d+))?$")


def is_proc(path: str) -> bool:
    return path == "/proc" or path.startswith("/proc/")


class ProcFiles:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def find(self, path: str) -> Process:
        """The process that a path is about. Raises FileNotFoundError."""
        found = _OF_PROCESS.match(path) or re.match(r"/proc/(\d+|self)()$", path)
        process = self._named(found[1]) if found else None
        if process is None:
            raise error(errno.ENOENT, path)
        return process

    def _named(self, name: str) -> Process | None:
        return self._kernel.current if name == "self" else self._kernel.processes.get(int(name))

    def read(self, path: str) -> bytes:
        """The whole of a file, now. Raises ProcessLookupError when its process is gone by now."""
        if path == "/proc/sys/kernel/random/boot_id":
            return BOOT_ID
        if path == "/proc/vmstat":
            return b"nr_free_pages 1\noom_kill 0\n"
        process = self.find(path)
        what = _OF_PROCESS.match(path)[2]  # type: ignore[index]
        return {"stat": _stat, "schedstat": _schedstat, "environ": _environ, "comm": _comm}[what](process)

    def write(self, path: str, data: bytes) -> None:
        if path.endswith("/comm"):
            self.find(path).comm = data.decode().rstrip("\n")[:15]

    def list(self, path: str) -> list[str]:
        if path == "/proc":
            return [*map(str, sorted(self._kernel.processes)), "self", "vmstat"]
        process = self.find(path)
        return [] if process.is_zombie else list(map(str, sorted(process.fds)))

    def link(self, path: str) -> str:
        found = _OF_PROCESS.match(path)
        process = self.find(path)
        if not found or found[3] is None or int(found[3]) not in process.fds:
            raise error(errno.ENOENT, path)
        description = process.fds[int(found[3])][0]
        if isinstance(description, OpenFile):
            return description.path if description.node.links else f"{description.path} (deleted)"
        return f"anon:[{type(description).__name__}]"


def _stat(process: Process) -> bytes:
    above = process.parent.pid if process.parent else 0
    status = process.status if process.is_zombie and process.status else 0
    fields = [process.letter, above, process.group, process.session, *[0] * 15]
    fields += [process.start_ticks, *[0] * 29, status]
    return f"{process.pid} ({process.comm}) {' '.join(map(str, fields))}\n".encode()


def _schedstat(process: Process) -> bytes:
    return f"{process.runs * 1000} 0 {process.runs}\n".encode()


def _environ(process: Process) -> bytes:
    if process.is_zombie or process.pid == INIT:
        return b""
    return b"".join(f"{name}={value}\0".encode() for name, value in process.environ.items())


def _comm(process: Process) -> bytes:
    return f"{process.comm}\n".encode()
