"""From what a kernel trace recorded of one kill to the moments that matter in it. Pure.

A *mark* is a name and a time; a window lies between two of them. A mark that did not come about is left out,
as `opened` where a reserve recorded itself, or `dead` where nobody slept who could have been woken.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from windows.ftrace import Event

from twinwatch.core import record
from twinwatch.linux.gate import ORDER_SIZE
from twinwatch.linux.lock import LOCK_BYTE

KILL = 9
WRITE_LOCK, UNLOCK = 1, 2
WAITS = ("epoll_wait", "epoll_pwait", "poll", "ppoll")
WANTED = {
    "signal/signal_generate": ("sig", "pid"),
    "sched/sched_waking": ("pid",),
    "sched/sched_process_fork": ("parent_pid", "child_pid"),
    "sched/sched_process_exec": ("pid",),
    "sched/sched_process_exit": ("pid",),
    "filelock/posix_lock_inode": ("type", "fl_start", "ret"),
    "syscalls/sys_enter_pwrite64": ("pos", "count"),
    "syscalls/sys_exit_pwrite64": (),
    "syscalls/sys_enter_write": ("count",),
    "syscalls/sys_exit_write": (),
    **{f"syscalls/sys_enter_{wait}": () for wait in WAITS},
    **{f"syscalls/sys_exit_{wait}": () for wait in WAITS},
}
BEGINS = frozenset(f"sys_enter_{wait}" for wait in WAITS)
ENDS = frozenset(f"sys_exit_{wait}" for wait in WAITS)

Marks = dict[str, int]


@dataclass(frozen=True)
class Before:
    """A whole pair, just before a kill: PIDs of watchers and their reserves, by slot of their role."""

    watchers: dict[int, int]
    reserves: dict[int, tuple[int, ...]]

    @property
    def guards(self) -> set[int]:
        return {*self.watchers.values(), *(pid for those in self.reserves.values() for pid in those)}


@dataclass
class Story:
    """The events of one kill, in the order of time."""

    events: list[Event]
    marks: Marks = field(default_factory=dict)

    def first(self, is_it: Callable[[Event], bool], since_ns: int = 0) -> Event | None:
        return next((event for event in self.events if event.at_ns >= since_ns and is_it(event)), None)

    def last(self, is_it: Callable[[Event], bool], until_ns: int) -> Event | None:
        return next((e for e in reversed(self.events) if e.at_ns <= until_ns and is_it(e)), None)

    def note(self, mark: str, event: Event | None) -> None:
        if event is not None:
            self.marks[mark] = event.at_ns

    def done(self, begun: Event | None) -> Event | None:
        """The end of a system call of which this is the beginning."""
        if begun is None:
            return None
        name = begun.name.replace("enter", "exit")
        return self.first(lambda event: event.pid == begun.pid and event.name == name, begun.at_ns)

    def changes(self, slot: int, since_ns: int) -> Iterator[Event]:
        """Each time that a record of a slot came into force: the end of the write of its selector."""
        for event in self.events:
            if event.at_ns >= since_ns and is_write(event, record.slot_at(slot), record.SELECTOR_SIZE):
                done = self.done(event)
                if done is not None:
                    yield done


def is_write(event: Event, at: int, size: int = 0) -> bool:
    """The beginning of a write there; `size` 0: of whatever size."""
    is_there = event.name == "sys_enter_pwrite64" and event.fields["pos"] == at
    return is_there and size in (0, event.fields["count"])


def is_waking(event: Event, waker: int, woken: Iterable[int]) -> bool:
    return event.name == "sched_waking" and event.pid == waker and event.fields["pid"] in woken


def is_lock(event: Event, pid: int, kind: int) -> bool:
    if event.name != "posix_lock_inode" or event.pid != pid:
        return False
    return (event.fields["fl_start"], event.fields["type"], event.fields["ret"]) == (LOCK_BYTE, kind, 0)


def is_kill(event: Event, victim: int) -> bool:
    return event.name == "signal_generate" and (event.fields["sig"], event.fields["pid"]) == (KILL, victim)


def note_sent(story: Story, victims: Iterable[int]) -> int:
    """When the first signal was sent; returns when the last was."""
    sent = [story.first(lambda event, victim=victim: is_kill(event, victim)) for victim in victims]
    times = [event.at_ns for event in sent if event]
    if len(times) < len(sent):
        raise LookupError("the signal is not in the trace")
    story.marks["sent"] = min(times)
    return max(times)


def note_claim(story: Story, slot: int) -> int:
    """From the death to the record of the next generation; who recorded it."""
    recorded = next(story.changes(slot, story.marks["sent"]), None)
    if recorded is None:
        raise LookupError("no claim is in the trace")
    claimer, since_ns = recorded.pid, story.marks.get("dead", story.marks["sent"])
    story.note("recorded", recorded)
    note_awake(story, claimer, since_ns, recorded)
    story.note("locked", story.last(lambda e: is_lock(e, claimer, WRITE_LOCK), recorded.at_ns))
    unlocked = story.first(lambda e: is_lock(e, claimer, UNLOCK), recorded.at_ns)
    story.note("unlocked", unlocked)
    story.note("through", unlocked)
    return claimer


def note_awake(story: Story, guard: int, since_ns: int, recorded: Event) -> None:
    """The guard's return from its wait, if it was waiting: it may have been at work on something else."""
    awake = story.first(lambda e: e.pid == guard and e.name in ENDS, since_ns)
    if awake is not None and awake.at_ns < recorded.at_ns:
        story.note("awake", awake)


def note_opened(story: Story, claimer: int) -> None:
    """The gate of the recorded child, which may go on from here; a reserve that recorded itself just does."""
    since_ns = story.marks["unlocked"]
    write = story.first(
        lambda e: e.pid == claimer and e.name == "sys_enter_write" and e.fields["count"] == ORDER_SIZE,
        since_ns,
    )
    story.note("opened", story.done(write))
    story.note("through", story.done(write))


def note_watcher(story: Story, slot: int, pid: int, reserves: int) -> None:
    """What a new watcher does until it has its reserves and has listed them."""
    changes = story.changes(slot, story.marks["recorded"] + 1)
    story.note("watching", next((event for event in changes if event.pid == pid), None))
    beats = record.HEARTBEAT_AT + slot * record.HEARTBEAT_SIZE
    story.note("beat", story.done(story.first(lambda e: e.pid == pid and is_write(e, beats))))
    forks = [e for e in story.events if e.name == "sched_process_fork" and e.fields["parent_pid"] == pid]
    forks = [e for e in forks if e.at_ns > story.marks["recorded"]][:reserves]
    ready = [
        story.first(lambda e, c=fork.fields["child_pid"]: e.pid == c and e.name in BEGINS) for fork in forks
    ]
    if len(ready) == reserves and all(ready):
        times = sorted(event.at_ns for event in ready if event)
        story.marks["reserve"], story.marks["reserves"] = times[0], times[-1]
        table = record.RESERVES_AT + slot * record.RESERVES_SIZE
        listed = story.first(lambda e: e.pid == pid and is_write(e, table), forks[-1].at_ns)
        story.note("listed", story.done(listed))


def of_one(events: list[Event], before: Before, slot: int, newborn: int, reserves: int) -> Story:
    """The watcher of this slot was killed. `newborn`: who holds its role afterwards."""
    victim, twin = before.watchers[slot], before.watchers[1 - slot]
    story = Story(events)
    sent_ns = note_sent(story, (victim,))
    story.note("piped", story.first(lambda e: is_waking(e, victim, before.reserves[slot]), sent_ns))
    story.note("dead", story.first(lambda e: is_waking(e, victim, (twin,)), sent_ns))
    claimer = note_claim(story, slot)
    if claimer != newborn:
        note_opened(story, claimer)
    note_watcher(story, slot, newborn, reserves)
    note_whole(story, before)
    return story


def of_both(events: list[Event], before: Before, reserves: int) -> Story:
    """Both watchers were killed in one burst: the role that is filled first."""
    victims = set(before.watchers.values())
    story = Story(events)
    last_ns = note_sent(story, victims)
    sent_ns = story.marks["sent"]
    firsts = {slot: next(story.changes(slot, sent_ns), None) for slot in before.watchers}
    slot, claim = min(
        ((slot, claim) for slot, claim in firsts.items() if claim), key=lambda found: found[1].at_ns
    )
    if claim.at_ns < last_ns or claim.pid in victims:
        raise LookupError("the second signal came after the first was answered: no burst")
    note_claim(story, slot)
    note_watcher(story, slot, claim.pid, reserves)
    note_whole(story, before)
    return story


def of_worker(events: list[Event], before: Before, slot: int, victim: int, newborn: int) -> Story:
    """The worker of this slot was killed; `newborn` is its next generation."""
    story = Story(events)
    sent_ns = note_sent(story, (victim,))
    changes = list(story.changes(slot, sent_ns))
    if not changes:
        raise LookupError("no change of the slot is in the trace")
    guard = changes[0].pid
    dead = story.first(lambda e: is_waking(e, victim, before.watchers.values()), sent_ns)
    story.note("dead", dead)
    note_awake(story, guard, dead.at_ns if dead else sent_ns, changes[0])
    story.note("told", changes[0])
    story.note("executed", story.first(lambda e: e.name == "sched_process_exec" and e.pid == newborn))
    return story


# ---------------------------------------------------------------- how many would have to be ended


def depth(events: list[Event], guards: set[int], marks: Marks) -> list[tuple[int, int]]:
    """(nanoseconds since the signal, guards that can each bring the pair back), at each change.

    Counted are watchers and reserves that wait behind their gates. One that was sent a signal counts no more;
    a recorded child counts again when its gate is open, since it leaves if it finds its parent dead before.
    """
    able, children, steps = set(guards), set(), [(0, len(guards))]
    for event in events:
        if event.at_ns < marks["sent"]:
            continue
        if event.name == "signal_generate" and event.fields["sig"] == KILL:
            able.discard(event.fields["pid"])
        elif event.name == "sched_process_exit":
            able.discard(event.pid)
        elif event.name == "sched_process_fork" and event.fields["parent_pid"] in able:
            children.add(event.fields["child_pid"])
        elif event.name in BEGINS and event.pid in children:
            children.discard(event.pid)
            able.add(event.pid)
        shut = marks.get("recorded", 0) <= event.at_ns < marks.get("opened", 0)
        if steps[-1][1] != len(able) - shut:
            steps.append((event.at_ns - marks["sent"], len(able) - shut))
    return steps


def note_whole(story: Story, before: Before) -> None:
    """As many as before, for good."""
    steps = depth(story.events, before.guards, story.marks)
    if steps[-1][1] >= len(before.guards):
        short = max((at for at, (_, count) in enumerate(steps) if count < len(before.guards)), default=-1)
        story.marks["whole"] = story.marks["sent"] + steps[min(short + 1, len(steps) - 1)][0]
