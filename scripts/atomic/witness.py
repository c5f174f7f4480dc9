"""How somebody survived one write of cgroup.kill, as the kernel's own trace tells it."""

import subprocess
from dataclasses import asdict, dataclass

from windows.ftrace import Event, Trace

KILL = 9
SURVIVED = 1
BUFFER_KB = 32768  # for each processor: some thousand forks lie between two looks
DRAIN_EVERY = 50  # trials
WANTED = {
    "signal/signal_generate": ("sig", "pid"),
    "sched/sched_process_fork": ("parent_pid", "child_pid"),
    "syscalls/sys_enter_write": ("count",),
    "syscalls/sys_exit_write": (),
}


@dataclass(frozen=True)
class Testimony:
    """Of one survivor, microseconds after the write began: its birth, the only signal, the write's end.

    `signals`: how many were sent within the write. `to_parent`: the only one was for the survivor's parent.
    """

    born_us: float
    signal_us: float
    wrote_us: float
    signals: int
    to_parent: bool


def testify(events: list[Event]) -> Testimony | None:
    """The last write in which KILL was sent; None: it saw no birth."""
    kills = [event for event in events if event.name == "signal_generate" and event.fields["sig"] == KILL]
    for kill in reversed(kills):
        own = [event for event in events if event.pid == kill.pid]
        begun = [e for e in own if e.name == "sys_enter_write" and e.at_ns <= kill.at_ns][-1:]
        done = [e for e in own if e.name == "sys_exit_write" and e.at_ns >= kill.at_ns][:1]
        if not begun or not done or not begun[0].at_ns <= kill.at_ns <= done[0].at_ns:
            continue
        inside = [event for event in events if begun[0].at_ns <= event.at_ns <= done[0].at_ns]
        sent = [event for event in inside if event in kills and event.pid == kill.pid]
        births = [event for event in inside if event.name == "sched_process_fork"]
        if not births:
            return None
        born = births[-1]

        def after_us(event: Event, since_ns: int = begun[0].at_ns) -> float:
            return (event.at_ns - since_ns) / 1000

        to_parent = [event.fields["pid"] for event in sent] == [born.fields["parent_pid"]]
        return Testimony(after_us(born), after_us(kill), after_us(done[0]), len(sent), to_parent)
    return None


def hunt(command: list[str]) -> tuple[int, list[dict[str, object]]]:
    """Run the experiment under a trace: the number of trials, and what is told of each survivor.

    Raises:
        NoTraceError: this machine does not let this process trace.
    """
    trials, told = 0, []
    with (
        Trace(WANTED, BUFFER_KB) as trace,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run,
    ):
        for line in run.stdout or ():
            trials += 1
            if line.startswith(str(SURVIVED)):
                testimony = testify(trace.drain())
                told.append(asdict(testimony) if testimony else {})
            elif trials % DRAIN_EVERY == 0:
                trace.drain()
    return trials, told
