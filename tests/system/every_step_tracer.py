"""Strikes a process at its N-th system call: SIGKILL before it is made, SIGSTOP when it has been made.

    every_step_tracer.py SIGNAL NTH all|changes -p PID...
    every_step_tracer.py SIGNAL NTH all|changes COMMAND...

All calls of one process are counted together, whatever they are. (The `when=N` of strace counts each kind of
call by itself: its N = 75 is the 75th `fcntl`, or the 75th `read`.) `changes`: only calls that change something
outside the process are counted. Of several processes the first one that comes to N calls is struck.

It says one JSON object a line. `held`: every process stands still, nothing was counted yet, and a line of input
lets them go. `struck`: the signal has come. `through`: the process has ended, has executed its program, or was
let go (SIGTERM to the tracer), before it came so far. `ended`: how a COMMAND has ended.
"""

import ctypes
import json
import os
import platform
import signal
import struct
import sys
from contextlib import suppress

CONT, DETACH, SYSCALL = 7, 17, 24
GET_SYSCALL_INFO, SEIZE, INTERRUPT, LISTEN = 0x420E, 0x4206, 0x4207, 0x4208
O_TRACESYSGOOD, O_TRACEEXEC = 1, 1 << 4
EVENT_EXEC, EVENT_STOP = 4, 128
SYSCALL_STOP = signal.SIGTRAP | 0x80
WALL = 0x40000000
INFO = struct.Struct("<B3xIQQQ6Q")  # op, arch, instruction and stack pointer, number, arguments
ENTRY, EXIT = 1, 2
WATCHED = {signal.SIGCHLD, signal.SIGTERM}
TRAIL = 5
DIES_WITH_PARENT = 1  # prctl: PR_SET_PDEATHSIG

# Calls that change something outside of their process, by machine: a few numbers of the kernel's tables.
CHANGES = {
    "x86_64": """
        write 1 open 2 pwrite64 18 writev 20 sendto 44 sendmsg 46 bind 49 clone 56 fork 57 vfork 58 execve
        59 wait4 61 kill 62 fcntl 72 flock 73 fsync 74 fdatasync 75 truncate 76 ftruncate 77 rename 82 mkdir
        83 rmdir 84 creat 85 link 86 unlink 87 symlink 88 chmod 90 fchmod 91 chown 92 fchown 93 setsid 112
        mknod 133 exit_group 231 tgkill 234 waitid 247 openat 257 mkdirat 258 fchownat 260 unlinkat 263
        renameat 264 linkat 265 fchmodat 268 fallocate 285 renameat2 316 pidfd_send_signal 424 clone3 435
    """,
    "aarch64": """
        fcntl 25 flock 32 mknodat 33 mkdirat 34 unlinkat 35 symlinkat 36 linkat 37 renameat 38 truncate 45
        ftruncate 46 fallocate 47 fchmod 52 fchmodat 53 fchownat 54 fchown 55 openat 56 write 64 writev 66
        pwrite64 68 fsync 82 fdatasync 83 exit_group 94 waitid 95 kill 129 tgkill 131 setsid 157 bind 200
        sendto 206 sendmsg 211 clone 220 execve 221 wait4 260 renameat2 276 pidfd_send_signal 424 clone3 435
    """,
}
WORDS = CHANGES.get(platform.machine(), "").split()
NAMES = {int(number): name for name, number in zip(WORDS[::2], WORDS[1::2], strict=True)}
SETS_LOCK = {6, 7, 37, 38}  # of fcntl: F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
MAY_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> int:
    result = libc.ptrace(request, pid, address, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {pid}")
    return result


def resume(pid: int, number: int = 0) -> None:
    """Up to its next stop. One that somebody kills in a stop is no tracee any more; its end is told like any."""
    with suppress(ProcessLookupError):
        ptrace(SYSCALL, pid, 0, number)


def say(what: str, **details: object) -> None:
    os.write(1, json.dumps({"is": what} | details).encode() + b"\n")


def is_change(number: int, arguments: tuple[int, ...]) -> bool:
    name = NAMES.get(number, "")
    if name in ("openat", "open"):
        return bool(arguments[2 if name == "openat" else 1] & MAY_WRITE)
    return arguments[1] in SETS_LOCK if name == "fcntl" else bool(name)


class Tracer:
    """`tracees`: how many calls each has begun."""

    def __init__(self, number: signal.Signals, nth: int, *, only_changes: bool, child: int) -> None:
        self.number, self.nth, self.only_changes, self.child = number, nth, only_changes, child
        self.tracees: dict[int, int] = {}
        self.due: set[int] = set()  # its N-th call has begun; SIGSTOP comes at its end
        self.trail: list[str] = []
        self.counted = 0
        self.is_counting = not child  # a command: from its program's first instruction on

    def hold(self, pids: list[int]) -> None:
        for pid in pids:
            try:
                ptrace(SEIZE, pid, 0, O_TRACESYSGOOD | O_TRACEEXEC)
                ptrace(INTERRUPT, pid)
                while os.WIFSTOPPED(status := os.waitpid(pid, WALL)[1]) and status >> 16 != EVENT_STOP:
                    ptrace(CONT, pid)
            except ProcessLookupError:  # ended by somebody else
                continue
            if os.WIFSTOPPED(status):
                self.tracees[pid] = 0
        say("held")

    def follow(self) -> None:
        for pid in self.tracees:
            resume(pid)
        if not self.tracees:
            self.say_through()
        while self.tracees or self.child:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | WALL)
            except ChildProcessError:
                break
            if pid:
                self.changed(pid, status)
            elif signal.sigwait(WATCHED) == signal.SIGTERM:
                self.let_go()
                self.say_through()
                break

    def say_through(self) -> None:
        say("through", calls=self.counted, trail=self.trail)

    def changed(self, pid: int, status: int) -> None:
        stop, event = os.WSTOPSIG(status), status >> 16
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if self.tracees.pop(pid, None) is not None:
                self.say_through()
            if pid == self.child:
                self.child = 0
                say("ended", code=os.waitstatus_to_exitcode(status))
        elif pid not in self.tracees:
            return
        elif stop == SYSCALL_STOP:
            self.called(pid)
        elif event == EVENT_EXEC and self.is_counting:
            self.drop(pid)
            self.let_go()
            self.say_through()
        elif event == EVENT_STOP and stop != signal.SIGTRAP:
            ptrace(LISTEN, pid)
        else:
            self.is_counting |= event == EVENT_EXEC
            resume(pid, 0 if event else stop)

    def called(self, pid: int) -> None:
        buffer = ctypes.create_string_buffer(INFO.size)
        try:
            ptrace(GET_SYSCALL_INFO, pid, INFO.size, ctypes.addressof(buffer))
        except ProcessLookupError:  # killed in this stop
            return
        kind, _, _, _, call, *arguments = INFO.unpack(buffer.raw)
        is_counted = self.is_counting and (not self.only_changes or is_change(call, tuple(arguments)))
        if kind == ENTRY and is_counted:
            self.tracees[pid] += 1
            self.counted = max(self.tracees.values())
            self.trail = [*self.trail[1 - TRAIL :], NAMES.get(call, str(call))]
            if self.tracees[pid] == self.nth:
                self.due.add(pid)
                if self.number == signal.SIGKILL:
                    self.strike(pid)
                    return
        elif kind == EXIT and pid in self.due:
            self.strike(pid)
            return
        resume(pid)

    def strike(self, pid: int) -> None:
        """In a stop at a call: no PID that is traced can be another's."""
        os.kill(pid, self.number)
        code = None
        if self.number == signal.SIGKILL:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, WALL)[1])
            del self.tracees[pid]
        else:
            self.drop(pid)
        self.let_go()
        say("struck", pid=pid, calls=self.nth, trail=self.trail)
        if code is not None and pid == self.child:
            self.child = 0
            say("ended", code=code)

    def drop(self, pid: int) -> None:
        """Trace it no longer; it stands in a stop."""
        with suppress(ProcessLookupError):  # killed in this stop
            ptrace(DETACH, pid)
        del self.tracees[pid]

    def let_go(self) -> None:
        for pid in list(self.tracees):
            try:
                ptrace(INTERRUPT, pid)
                _, status = os.waitpid(pid, WALL)
                stop = os.WSTOPSIG(status)
                is_signal = os.WIFSTOPPED(status) and not status >> 16 and stop != SYSCALL_STOP
                if os.WIFSTOPPED(status):
                    ptrace(DETACH, pid, 0, stop if is_signal else 0)
            except ProcessLookupError:
                pass
            del self.tracees[pid]


def begin(command: list[str]) -> tuple[int, int]:
    """A child that executes a command when the pipe's end is closed: (PID, that end)."""
    hold, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.read(hold, 1)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        os.execvp(command[0], command)
    os.close(hold)
    return child, release


def main() -> None:
    name, nth, which, *rest = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    libc.prctl(DIES_WITH_PARENT, signal.SIGKILL)  # the kernel lets go of what it traced
    child, release = (0, -1) if rest[0] == "-p" else begin(rest)
    tracer = Tracer(signal.Signals[name], int(nth), only_changes=which == "changes", child=child)
    tracer.hold([child] if child else [int(pid) for pid in rest[1:]])
    if sys.stdin.readline():
        if child:
            os.close(release)
        tracer.follow()
    elif child:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
