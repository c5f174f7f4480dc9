"""Rules for every test: it leaves no descriptor and no process behind, and CI skips nothing silently.

**Whose process is this?** Before each test the pytest process marks itself, and every descendant
inherits the mark, also one that was daemonised, reparented or `setsid`ed. Two marks, because each
alone has a hole:

- `TWINWATCH_TEST_ID` in the environment. `/proc/PID/environ` shows the environment of the last
  *exec*: a child that was only forked does not show it, nor one started with `env={}`, nor servers
  that write their title over it (redis, nginx).
- the soft limit RLIMIT_LOCKS, which Linux has not used since 2.4.25, as a number. It survives fork,
  exec and `env -i`, and anybody may read it in `/proc/PID/limits`, also of a process of another user.
  Absent where the hard limit is not infinite.

Between tests both say `SESSION.0`: what a module- or session-scoped fixture starts is looked for at
the end of the session. So ask for such a fixture in the test's signature, never by `getfixturevalue`.
"""

import gc
import os
import resource
import secrets
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

# --- skips -----------------------------------------------------------------------------------------

# What a machine may lack. Under TWINWATCH_CI=1 any other reason to skip fails the session, and so
# does 'not root' for root.
MACHINE_LACKS = ("kernel lacks", "not root", "interpreter absent")

settings.register_profile("twinwatch", deadline=None)  # a slow machine is no failure; pytest-timeout bounds
settings.load_profile("twinwatch")

UNIT = Path(__file__).parent / "unit"
FAILED = pytest.StashKey[bool]()
SKIPS: list[str] = []
SESSION_LEFTOVERS: list[str] = []


def is_allowed_skip(reason: str, euid: int) -> bool:
    return reason.startswith(MACHINE_LACKS) and not (euid == 0 and reason.startswith("not root"))


def note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("TWINWATCH_CI") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = text.removeprefix("Skipped: ")
    if not is_allowed_skip(reason, os.geteuid()):
        SKIPS.append(f"{report.nodeid}: {reason}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    note_skip(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    note_skip(report)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("TWINWATCH_TEST_LONG") != "1":
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="not root"))
        if item.path.is_relative_to(UNIT):
            item.add_marker("unit")


def pytest_sessionfinish(session: pytest.Session) -> None:
    SESSION_LEFTOVERS.extend(end_leftovers(SESSION_MARK.all_of_session()))
    if (SKIPS or SESSION_LEFTOVERS) and session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for title, lines in (
        ("skipped, but this machine could have run it: the session fails", SKIPS),
        ("processes left by the session: it fails", SESSION_LEFTOVERS),
    ):
        if lines:
            terminalreporter.section(title, red=True)
            for line in lines:
                terminalreporter.line(line)


# --- leftover processes ----------------------------------------------------------------------------

VARIABLE = "TWINWATCH_TEST_ID"
RLIMIT_LOCKS = 10  # asm-generic/resource.h; the `resource` module has no name for it
TESTS_MAX = 1 << 24  # in one session: low bits of the number that is the limit
GRACE_MS = 300  # for what was told to end when the test returned
ROUNDS_MAX = 50  # of stopping what a leftover forks meanwhile


class Mark:
    """`SESSION.NUMBER` for the environment, the same as one integer for the limit."""

    def __init__(self, session: int, number: int, outer: str) -> None:
        self.session, self.number, self.outer = session, number, outer
        self.id = f"{outer}{session:x}.{number}"
        # A test may run a pytest of its own, which may be killed: the outer test finds what it left.
        self.values = (self.id.encode(),)
        self.prefixes = (self.id.encode() + b"/",)
        self.limits = range(session * TESTS_MAX + number, session * TESTS_MAX + number + 1)

    def all_of_session(self) -> "Mark":
        mark = Mark(self.session, 0, self.outer)
        mark.prefixes = (f"{self.outer}{self.session:x}.".encode(),)
        mark.limits = range(self.session * TESTS_MAX, (self.session + 1) * TESTS_MAX)
        return mark

    def put(self) -> None:
        """Mark this process, and so all that it starts from now on."""
        os.environ[VARIABLE] = self.id
        hard = resource.getrlimit(RLIMIT_LOCKS)[1]
        if hard == resource.RLIM_INFINITY:
            resource.setrlimit(RLIMIT_LOCKS, (self.limits.start, hard))

    def is_on(self, pid: int) -> bool:
        value = read_environ(pid)
        return value in self.values or value.startswith(self.prefixes) or read_limit(pid) in self.limits


def read_proc(pid: int, name: str) -> bytes:
    # ENOENT, ESRCH: it is gone; EACCES, EPERM: of another user, so not started by a test
    with suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
    return b""


def read_environ(pid: int) -> bytes:
    _, _, rest = (b"\0" + read_proc(pid, "environ")).partition(f"\0{VARIABLE}=".encode())
    return rest.partition(b"\0")[0]


def read_limit(pid: int) -> int:
    """The soft RLIMIT_LOCKS; -1 when it is infinite or unknown."""
    _, _, rest = read_proc(pid, "limits").partition(b"Max file locks")
    soft = rest.split(maxsplit=1)[:1]
    return int(soft[0]) if soft and soft[0].isdigit() else -1


def read_state(pid: int) -> tuple[str, int]:
    """State letter and parent, ('', 0) when the process is gone."""
    fields = read_proc(pid, "stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1])) if fields else ("", 0)


def is_leftover(pid: int) -> bool:
    """It lives, or it is a zombie that only this process can reap."""
    state, parent = read_state(pid)
    return state not in ("", "X", "Z") or (state == "Z" and parent == os.getpid())


def find_leftovers(mark: Mark) -> dict[int, int]:
    """PID -> pidfd of every process that carries `mark`; looked at again after the pidfd was opened."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid() or not mark.is_on(int(name)):
            continue
        try:
            pidfd = os.pidfd_open(int(name))
        except ProcessLookupError:
            continue
        if mark.is_on(int(name)) and is_leftover(int(name)):
            found[int(name)] = pidfd
        else:
            os.close(pidfd)
    return found


def close_all(pidfds: dict[int, int]) -> None:
    for pidfd in pidfds.values():
        os.close(pidfd)


def wait_for_deaths(pidfds: dict[int, int], timeout_ms: int) -> None:
    poll = select.poll()  # no descriptor of its own
    for pidfd in pidfds.values():
        poll.register(pidfd, select.POLLIN)
    deadline_ns = time.monotonic_ns() + timeout_ms * 1_000_000
    waiting = set(pidfds.values())
    while waiting and (left_ms := (deadline_ns - time.monotonic_ns()) // 1_000_000) > 0:
        for pidfd, _ in poll.poll(left_ms):
            poll.unregister(pidfd)
            waiting.discard(pidfd)


def describe(pid: int) -> str:
    command = read_proc(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    state, parent = read_state(pid)
    if state == "Z":
        return f"{pid} zombie that the test never waited for"
    return f"{pid} {command or '?'} (state {state or 'gone'}, parent {parent})"


def send(pidfd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def end_leftovers(mark: Mark) -> list[str]:
    """End everything that carries `mark`; says what it was.

    Watchers revive each other, so all are stopped before the first is killed.
    """
    early = find_leftovers(mark) or find_leftovers(mark)  # one that forks and ends hides from one look
    if not early:
        return []
    wait_for_deaths(early, GRACE_MS)
    close_all(early)
    stopped: dict[int, int] = {}
    seen: dict[int, str] = {}
    for _ in range(ROUNDS_MAX):
        found = find_leftovers(mark)
        new = {pid: pidfd for pid, pidfd in found.items() if pid not in stopped}
        close_all({pid: pidfd for pid, pidfd in found.items() if pid in stopped})
        if not new:
            break
        for pid, pidfd in new.items():
            seen[pid] = describe(pid)
            send(pidfd, signal.SIGSTOP)
        stopped |= new
    for pidfd in stopped.values():
        send(pidfd, signal.SIGKILL)
    wait_for_deaths(stopped, 5000)
    for pidfd in stopped.values():
        with suppress(ChildProcessError):  # ours to reap, or not ours
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    close_all(stopped)
    return [seen[pid] for pid in sorted(seen)]


# --- leaked descriptors ----------------------------------------------------------------------------


def open_descriptors() -> dict[tuple[int, int, int], str]:
    """(descriptor, device, inode) -> what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # ENOENT, EBADF: the one that listed the folder
            status = os.fstat(int(name))
            found[int(name), status.st_dev, status.st_ino] = (
                f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}"
            )
    return found


def find_leaks(before: dict[tuple[int, int, int], str]) -> list[str]:
    after = open_descriptors()
    if after.keys() - before.keys():
        gc.collect()  # an object in a cycle has not leaked
        after = open_descriptors()
    return [after[key] for key in sorted(after.keys() - before.keys())]


# --- both, around every test -------------------------------------------------------------------------

OUTER = os.environ.get(VARIABLE, "")
SESSION_MARK = Mark(secrets.randbits(37) | 1 << 37, 0, f"{OUTER}/" if OUTER else "")
SESSION_MARK.put()
NUMBER = iter(range(1, TESTS_MAX))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails the test that leaks a descriptor or leaves a process, and ends the process."""
    mark = Mark(SESSION_MARK.session, next(NUMBER), SESSION_MARK.outer)
    mark.put()
    before = open_descriptors()
    yield
    SESSION_MARK.put()
    complaints = [f"left process {text}" for text in end_leftovers(mark)]
    if not request.node.stash.get(FAILED, False):  # a failed test's frames are kept, with what they hold
        complaints += [f"leaked descriptor {text}" for text in find_leaks(before)]
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)
