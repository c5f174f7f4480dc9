"""`os` over the virtual kernel: the calls that the project makes, and no other."""

# ruff: noqa: ARG002 - arguments are those of the real calls

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from twinwatch.linux.gate import ORDER_SIZE
from virtual.files import Inode, Status, error
from virtual.kernel import Kernel
from virtual.paths import VirtualPath
from virtual.proc import ProcFiles, is_proc
from virtual.process import Ended, Executed, Process
from virtual.things import EventFd, OpenFile, PidFd, Pipe, PipeEnd, ProcFile

Starter = Callable[[Process], Callable[[], None]]
_PASSED = (
    *("strerror", "fsencode", "fsdecode", "SEEK_SET", "P_PIDFD", "devnull", "stat_result", "fspath"),
    *("WEXITED", "WNOHANG", "WNOWAIT", "CLD_EXITED", "CLD_DUMPED", "CLD_KILLED", "F_OK", "W_OK", "R_OK"),
    *("waitstatus_to_exitcode", "defpath", "pathsep", "error", "O_ACCMODE", "PathLike", "environ"),
)


def replayed(call: Callable[..., Any]) -> Callable[..., Any]:
    """In a fork: a child's code runs again from before the fork, and hears what its parent heard (`forking`)."""
    name = call.__name__

    def again(self: Any, *args: Any, **kwargs: Any) -> Any:
        process = self.kernel.current
        if process.replay:
            known, result = process.replay.popleft()
            assert known == name, f"{known} was called before the fork, {name} after it"
            return result
        result = call(self, *args, **kwargs)
        if process.fork_log is not None:
            process.fork_log.append((name, result))
        return result

    return again


class VirtualOs:
    """Stands for the module `os`. `start` makes the code of an executed program."""

    def __init__(self, kernel: Kernel, start: Starter) -> None:
        self.kernel = kernel
        self._start = start
        self._proc = ProcFiles(kernel)
        self.path = VirtualPath(self)
        for name in (*_PASSED, *(name for name in dir(os) if name.startswith("O_"))):
            setattr(self, name, getattr(os, name))

    def point(self, name: str, *about: object) -> object:
        return self.kernel.point(name, *about)

    def _fail(self, directive: object) -> None:
        if isinstance(directive, int):
            raise error(directive)

    # ------------------------------------------------------------ oneself

    def getpid(self) -> int:
        return self.kernel.current.pid

    def geteuid(self) -> int:
        return 0

    def urandom(self, size: int) -> bytes:
        return bytes(self.kernel.chance.pick(256, "byte") for _ in range(size))

    def umask(self, _mask: int) -> int:
        return 0o022

    def chdir(self, path: str) -> None:
        self._node(path)

    @replayed
    def setsid(self) -> None:
        process = self.kernel.current
        process.session, process.leader = process.pid, process

    def _exit(self, code: int) -> None:
        process = self.kernel.current
        if process.executing is not None:
            raise process.executing
        if not process.is_exiting:
            self.kernel.leave(process, (code & 0xFF) << 8)
        raise Ended

    # ------------------------------------------------------------ names

    def _path(self, path: str, dir_fd: int | None = None) -> str:
        path = os.fspath(path)
        if path.startswith("/"):
            found = path.split("/", 5)
            if path.startswith("/proc/self/fd/") and len(found) == 6:
                return f"{self._directory(int(found[4]))}/{found[5]}"
            return path
        return f"{self._directory(dir_fd) if dir_fd is not None else ''}/{path}"

    def _directory(self, fd: int) -> str:
        what = self.kernel.what(fd)
        if not isinstance(what, OpenFile):
            raise error(errno.ENOTDIR)
        return what.path

    def _node(self, path: str, dir_fd: int | None = None) -> Inode:
        return self.kernel.files.find(self._path(path, dir_fd))

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Status:
        self.point("stat", path)
        return self.look(path, dir_fd)

    def look(self, path: Any, dir_fd: int | None = None) -> Status:
        if isinstance(path, int):
            return self.kernel.what(path).status()
        if path == "/proc/self/ns/pid":
            return Status(stat.S_IFREG, 4026531836, 4, 1, 0, 0, 0, 0)
        if is_proc(path):
            self._proc.find(path)
            return Status(stat.S_IFDIR, 1, 1, 1, 0, 0, 0, 0)
        return self._node(path, dir_fd).status()

    def access(self, path: str, _mode: int) -> bool:
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        return True

    def listdir(self, path: str) -> list[str]:
        self.point("listdir", path)
        return self._proc.list(path) if is_proc(path) else sorted(self._node(path).entries)

    def readlink(self, path: str) -> str:
        self.point("readlink", path)
        return self._proc.link(path)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        self.point("mkdir", path)
        self.kernel.files.link_new(path, self.kernel.files.new(stat.S_IFDIR, mode))

    def makedirs(self, path: str, mode: int = 0o777, exist_ok: bool = False) -> None:
        above = os.path.dirname(path)
        if above not in ("", "/") and not self.path.exists(above):
            self.makedirs(above, exist_ok=True)
        try:
            self.mkdir(path, mode)
        except FileExistsError:
            if not exist_ok:
                raise

    def mkfifo(self, path: str, mode: int = 0o666) -> None:
        self.point("mkfifo", path)
        self.kernel.files.link_new(path, self.kernel.files.new(stat.S_IFIFO, mode))

    def link(self, source: str, path: str) -> None:
        self._fail(self.point("link", path))
        self.kernel.files.link(source, path)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        self.point("unlink", path)
        self.kernel.files.unlink(self._path(path, dir_fd))

    def rmdir(self, path: str) -> None:
        self.point("rmdir", path)
        self.kernel.files.rmdir(path)

    def rename(
        self, old: str, new: str, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        self._fail(self.point("rename", new))
        self.kernel.files.rename(self._path(old, src_dir_fd), self._path(new, dst_dir_fd))

    def chmod(self, path: str, mode: int, *, dir_fd: int | None = None) -> None:
        self._node(path, dir_fd).mode = mode

    # ------------------------------------------------------------ descriptors

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        self._fail(self.point("create" if flags & os.O_CREAT else "open", path))
        path = self._path(path, dir_fd)
        cloexec = bool(flags & os.O_CLOEXEC)
        if is_proc(path):
            self._proc.read(path)
            what = ProcFile(tell=lambda: self._proc.read(path), path=path)
            return self.kernel.install(what, cloexec=cloexec)
        node = self._open_node(path, flags, mode)
        if flags & os.O_TRUNC:
            node.data.clear()
        opened = OpenFile(node=node, path=path, appends=bool(flags & os.O_APPEND))
        opened.is_path = bool(flags & os.O_PATH)
        opened.nonblocking = bool(flags & os.O_NONBLOCK)
        return self.kernel.install(opened, cloexec=cloexec)

    def _open_node(self, path: str, flags: int, mode: int) -> Inode:
        files = self.kernel.files
        try:
            node = files.find(path)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            return files.link_new(path, files.new(stat.S_IFREG, mode))
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise error(errno.EEXIST, path)
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if node.kind == stat.S_IFDIR and writes and not flags & os.O_PATH:
            raise error(errno.EISDIR, path)
        return node

    @replayed
    def close(self, fd: int) -> None:
        self.point("close", fd)
        self.kernel.close(self.kernel.current, fd)

    def closerange(self, low: int, high: int) -> None:
        process = self.kernel.current
        self.point("closerange", low)
        for fd in [fd for fd in process.fds if low <= fd < high]:
            self.kernel.close(process, fd)

    def dup2(self, fd: int, to: int) -> int:
        what = self.kernel.what(fd)
        process = self.kernel.current
        what.refs += 1
        if to in process.fds:
            self.kernel.close(process, to)
        process.fds[to] = (what, False)
        return to

    @replayed
    def pipe(self) -> tuple[int, int]:
        self._fail(self.point("pipe"))
        pipe = Pipe(readers=1, writers=1)
        read = self.kernel.install(PipeEnd(pipe=pipe))
        return read, self.kernel.install(PipeEnd(pipe=pipe, is_write=True))

    def set_blocking(self, fd: int, blocking: bool) -> None:
        self.kernel.what(fd).nonblocking = not blocking

    def set_inheritable(self, fd: int, inheritable: bool) -> None:
        self.kernel.current.fds[fd] = (self.kernel.what(fd), not inheritable)

    @replayed
    def pidfd_open(self, pid: int) -> int:
        self._fail(self.point("pidfd_open", pid))
        process = self.kernel.processes.get(pid)
        if process is None:
            raise error(errno.ESRCH)
        return self.kernel.install(PidFd(process=process))

    def eventfd(self, _value: int) -> int:
        return self.kernel.install(EventFd())

    def fstat(self, fd: int) -> Status:
        return self.kernel.what(fd).status()

    def fchown(self, fd: int, uid: int, _gid: int) -> None:
        if uid >= 0 and isinstance(what := self.kernel.what(fd), OpenFile):
            what.node.uid = uid

    def fsync(self, fd: int) -> None:
        self.kernel.what(fd)

    def posix_fallocate(self, fd: int, at: int, size: int) -> None:
        self._fail(self.point("fallocate", size))
        self.kernel.files.allocate(self.kernel.what(fd).node, at + size)  # type: ignore[attr-defined]

    # ------------------------------------------------------------ reading and writing

    def pread(self, fd: int, size: int, at: int) -> bytes:
        self.point("pread", at, size)
        what = self.kernel.what(fd)
        if not isinstance(what, OpenFile):
            raise error(errno.ESPIPE)
        return bytes(what.node.data[at : at + size])

    def read(self, fd: int, size: int) -> bytes:
        self.point("read", fd)
        what = self.kernel.what(fd)
        if isinstance(what, PipeEnd):
            return self._read_pipe(what, size)
        if isinstance(what, ProcFile):
            return what.tell()[:size]
        if not isinstance(what, OpenFile):
            raise error(errno.EINVAL)
        data = bytes(what.node.data[what.at : what.at + size])
        what.at += len(data)
        return data

    def _read_pipe(self, end: PipeEnd, size: int) -> bytes:
        pipe = end.pipe
        if not pipe.data and pipe.writers and end.nonblocking:
            raise error(errno.EAGAIN)
        self.kernel.wait(lambda: pipe.data or not pipe.writers, None)
        data = bytes(pipe.data[:size])
        del pipe.data[:size]
        if len(data) == ORDER_SIZE:
            self.kernel.current.through_step = self.kernel.steps
        return data

    def pwrite(self, fd: int, data: bytes, at: int) -> int:
        """`torn`: the writer is killed when a part is written; `short`: that is all there is room for."""
        directive = self.point("pwrite", at, len(data))
        self._fail(directive)
        what = self.kernel.what(fd)
        if not isinstance(what, OpenFile):
            raise error(errno.ESPIPE)
        size = len(data)
        if isinstance(directive, tuple) and size > 8:
            size = 8 * (directive[1] % (size // 8))
        written = self.kernel.files.write_at(what.node, data[:size], at, self.kernel.now_ns)
        self.kernel.observer.written(self.kernel.current, what.node, at, written)
        if isinstance(directive, tuple) and directive[0] == "torn":
            self.kernel.leave(self.kernel.current, 9)
            raise Ended
        return written

    def write(self, fd: int, data: bytes) -> int:
        self._fail(self.point("write", fd, len(data)))
        what = self.kernel.what(fd)
        if isinstance(what, PipeEnd):
            return self._write_pipe(what, data)
        if isinstance(what, ProcFile):
            self._proc.write(what.path, data)
            return len(data)
        if not isinstance(what, OpenFile):
            raise error(errno.EINVAL)
        if what.node.kind != stat.S_IFREG:
            return len(data)
        at = len(what.node.data) if what.appends else what.at
        written = self.kernel.files.write_at(what.node, bytes(data), at, self.kernel.now_ns)
        what.at = at + written
        return written

    def _write_pipe(self, end: PipeEnd, data: bytes) -> int:
        if not end.pipe.readers:
            process = self.kernel.current
            self.kernel.send(process, process, 13)
            raise error(errno.EPIPE)
        if not end.mask() & 4:
            raise error(errno.EAGAIN)
        end.pipe.data.extend(data)
        return len(data)

    # ------------------------------------------------------------ processes

    def fork(self) -> int:
        """The child runs `fork_again` from its beginning, and hears the same answers up to here."""
        process = self.kernel.current
        if process.replay:
            name, result = process.replay.popleft()
            assert name == "fork" and not process.replay
            process.replay = None
            return result
        self._fail(self.point("fork"))
        assert process.fork_again is not None, "fork outside of what `forking` prepared"
        child = self.kernel.fork(process, process.fork_again)
        child.replay = deque([*(process.fork_log or ()), ("fork", 0)])
        return child.pid

    def waitid(self, kind: int, pidfd: int, options: int) -> SimpleNamespace | None:
        self.point("waitid", "leave" if options & os.WNOWAIT else "collect")
        what = self.kernel.what(pidfd)
        current = self.kernel.current
        if not isinstance(what, PidFd) or what.process.parent is not current or what.process.is_collected:
            raise error(errno.ECHILD)
        process = what.process
        if not process.is_zombie:
            if options & os.WNOHANG:
                return None
            self.kernel.wait(lambda: process.is_zombie, None)
        if not options & os.WNOWAIT:
            self.kernel.collect(current, process)
        status = process.status
        if status & 0x7F:
            code = os.CLD_DUMPED if status & 0x80 else os.CLD_KILLED
            return SimpleNamespace(si_pid=process.pid, si_code=code, si_status=status & 0x7F)
        return SimpleNamespace(si_pid=process.pid, si_code=os.CLD_EXITED, si_status=status >> 8)

    def execv(self, path: str, argv: list[str]) -> None:
        self.execve(path, argv, self.kernel.current.environ)

    def execve(self, path: str, argv: Any, environ: Mapping[str, str]) -> None:
        self._fail(self.point("exec", os.path.basename(path)))
        process = self.kernel.current
        if os.path.basename(path).startswith("missing"):
            raise error(errno.ENOENT, path)
        for fd in sorted(fd for fd, (_, cloexec) in process.fds.items() if cloexec):
            self.kernel.close(process, fd)
        ignored = {number: how for number, how in process.handlers.items() if not callable(how) and how == 1}
        process.handlers, process.wakeup_fd = ignored, -1
        process.argv, process.environ = tuple(argv), dict(environ)
        process.comm = os.path.basename(path)[:15]
        process.executing = Executed(self._start(process))
        self.kernel.observer.executed(process)
        raise process.executing
