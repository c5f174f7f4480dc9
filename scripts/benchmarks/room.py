"""Holds everything that one measurement starts, and ends all of it. Executed, not imported, by `site.py`.

A subreaper: whatever is started here, daemons included, is and stays a descendant of it. One line of JSON on
standard input starts a process; its PID is the answer. The end of standard input, which comes with the
death of the one that measures too, ends everything: all are stopped first, so that nobody revives anybody.
"""

import ctypes
import json
import os
import resource
import select
import signal
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36
LINE_MAX = 1 << 20


def parents() -> dict[int, int]:
    """PID -> parent, of everything that lives."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{name}/stat", "rb") as file:
                found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    return found


def descendants(root: int) -> set[int]:
    """All below `root`, zombies included."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    ahead = [root]
    while ahead:
        new = children.get(ahead.pop(), [])
        found.update(new)
        ahead.extend(new)
    return found


def start(order: dict) -> int:
    """Fork and execute; 127 where it cannot be executed."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.chdir(order["directory"])
            null = os.open(os.devnull, os.O_RDONLY)
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            for old, new in ((null, 0), (log, 1), (log, 2)):
                os.dup2(old, new)
            os.closerange(3, 64)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            os.execvpe(order["argv"][0], order["argv"], order["environ"])
        finally:
            os._exit(127)
    return pid


def collect() -> None:
    """Orphans come to the subreaper; an init collects as promptly."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def end_all() -> None:
    """Again until nobody is left: a fork that a stop signal met halfway is finished after the last look."""
    while descendants(os.getpid()):
        end_those_seen()


def end_those_seen() -> None:
    """None is signalled that is not below this process at the moment when its pidfd is open."""
    me = os.getpid()
    held: dict[int, int] = {}
    while new := descendants(me) - held.keys():
        for pid in new:
            with suppress(ProcessLookupError):
                held[pid] = os.pidfd_open(pid)
        below = descendants(me)
        for pid in new & held.keys():
            if pid in below:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(held[pid], signal.SIGSTOP)
            else:
                os.close(held.pop(pid))
        if not new & held.keys():
            break
    for pidfd in held.values():
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    for pidfd in held.values():
        dead = select.poll()
        dead.register(pidfd, select.POLLIN)
        dead.poll()
        os.close(pidfd)
    collect()


def main() -> None:
    """Serve until the end of standard input."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the one that measures ends this
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(woken, select.POLLIN)
    pending = b""
    while True:
        for fd, _ in poll.poll():
            if fd == woken:
                os.read(woken, 4096)
                collect()
                continue
            data = os.read(0, LINE_MAX)
            if not data:
                end_all()
                return
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                os.write(1, b"%d\n" % start(json.loads(line)))


if __name__ == "__main__":
    main()
