"""A watcher as its twin sees it: whom it takes for living, when it gives the role a new holder, whom it ends."""

import errno
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from scene import Actor, Scene, StubNursery, closing_loop, rest, taken_out

from twinwatch.core import spacing
from twinwatch.core.values import NO_EXIT, Desired, Ending, ExitKind, Phase, Role
from twinwatch.linux import process
from twinwatch.linux.birth import Seat
from twinwatch.linux.identity import IdentityUnknown, is_dead
from twinwatch.linux.lock import LockWedged
from twinwatch.linux.loop import WAKE_SIGNAL, Loop
from twinwatch.linux.statefile import Read
from twinwatch.watch import twin as module
from twinwatch.watch.pair import Pair
from twinwatch.watch.twin import Twin

B = Role.B.slot


class Seen:
    """`b` as `a` sees it, and what that tells."""

    def __init__(self, scene: Scene, loop: Loop) -> None:
        self.nursery = StubNursery(scene.gated(Role.A))
        self.told: list[str] = []
        self.loop = loop
        self.pair = Pair(scene.paths, scene.spec, scene.state, Seat(Role.A, 1, 1), None)
        self.pair.on_tell = lambda event, _details: self.told.append(event)
        self.twin = Twin(self.pair, loop, self.nursery, Role.B)
        self.now_ns = 0

    def die(self, actor: Actor) -> None:
        actor.kill()
        self.twin.died()

    def tick(self, *, judge: bool = True) -> None:
        self.now_ns += self.pair.spec.watch.interval_ns
        self.twin.observe(self.now_ns)
        if judge:
            self.twin.judge(self.now_ns)

    def judge_until_told(self, count: int) -> None:
        while len(self.told) < count:
            self.tick()

    @property
    def has_deadline(self) -> bool:
        return bool(self.loop._due)


@contextmanager
def seeing(scene: Scene) -> Iterator[Seen]:
    scene.hold(Role.A, lambda _say: rest())
    with closing_loop() as loop:
        seen = Seen(scene, loop)
        try:
            yield seen
        finally:
            seen.twin.close()


@pytest.fixture
def seen(scene) -> Iterator[Seen]:
    with seeing(scene) as one:
        yield one


def hold_b(scene: Scene, generation: int = 1) -> Actor:
    return scene.hold(Role.B, lambda _say: rest(), generation)


# ---------------------------------------------------------------- who lives


def test_it_lives_until_its_pidfd_says_otherwise(scene, seen):
    holder = hold_b(scene, generation=3)
    born = scene.record(B, born_ns=77)
    seen.twin.look()
    assert (seen.twin.is_live(), seen.twin.living_generation(), seen.twin.born_ns()) == (True, 3, 77)
    assert seen.twin._read == born
    seen.die(holder)
    assert (seen.twin.is_live(), seen.twin.living_generation()) == (False, 0)
    assert seen.loop.wait(block=False) == [], "its pidfd is listened to no more"


def test_it_is_woken_while_it_lives(scene, seen):
    seen.twin.wake()  # nobody is known yet

    def listen(say):
        signal.signal(WAKE_SIGNAL, lambda *_: say("woken"))
        say("listens")
        rest()

    holder = scene.hold(Role.B, listen)
    assert holder.hear() == "listens"
    seen.twin.look()
    seen.twin.wake()
    assert holder.hear() == "woken"
    seen.die(holder)
    seen.twin.wake()


def test_its_successor_is_met(scene, seen):
    first = hold_b(scene)
    seen.twin.look()
    while not seen.twin.is_still():
        seen.tick(judge=False)
    seen.die(first)
    hold_b(scene, generation=2)
    seen.twin.look()
    assert (seen.twin.is_live(), seen.twin.living_generation(), seen.twin.is_still()) == (True, 2, False)


def test_one_that_died_unseen_is_dead(scene, seen):
    hold_b(scene).kill()
    process.reap(scene._actors[-1].pidfd)
    seen.twin.look()
    assert not seen.twin.is_live()
    seen.twin.died()  # of nobody
    seen.tick()


def test_one_whose_identity_is_unknown_keeps_its_role(scene, seen):
    def unknown(_identity):
        raise IdentityUnknown

    hold_b(scene)
    with taken_out(module, "open_process", unknown):
        seen.twin.look()
    assert seen.twin.is_live()
    seen.tick()
    seen.twin.work()
    assert (scene.slot(B).generation, len(seen.nursery.ready)) == (1, 1)


def flip_a_bit(scene: Scene) -> None:
    """In the current copy of its slot."""
    from twinwatch.core import record

    at = record.slot_at(B) + record.COPY_AT[scene.state.read(B).version & 1] + 40
    with open(scene.state.path, "r+b", buffering=0) as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_its_damaged_slot_is_mended_by_who_knows_it(scene, seen):
    hold_b(scene)
    seen.twin.look()
    before = scene.slot(B)
    flip_a_bit(scene)
    seen.twin._read = Read(seen.twin._read.slot, seen.twin._read.version)
    with taken_out(type(scene.state), "is_current", lambda *_: False):
        seen.twin.look()
    assert (seen.told, scene.slot(B)) == (["repaired"], before)


def test_a_slot_that_nobody_knows_stays_damaged(scene, seen):
    hold_b(scene)
    flip_a_bit(scene)
    seen.twin.look()
    assert seen.told == ["damaged"]
    assert not seen.twin.is_live()
    seen.twin.work()
    assert len(seen.nursery.ready) == 1, "what was never read is not claimed"


# ---------------------------------------------------------------- a new holder


def test_a_dead_one_gets_a_successor(scene, seen):
    scene.record(B, desired=Desired.RUN)
    holder = hold_b(scene)
    seen.twin.look()
    seen.die(holder)
    seen.twin.work()
    slot = scene.slot(B)
    assert (slot.generation, slot.phase, slot.desired, slot.restarts) == (2, Phase.STARTING, Desired.RUN, 1)
    assert (slot.exit.kind, slot.exit.signal, slot.exit.generation) == (ExitKind.SIGNAL, signal.SIGKILL, 1)
    assert (seen.twin.is_live(), seen.twin.living_generation()) == (True, 2)
    assert (seen.told, seen.nursery.ready) == (["phase"], [])
    assert not is_dead(seen.twin._pidfd)
    seen.twin.work()
    assert scene.slot(B).generation == 2


def test_the_first_one_is_no_restart(scene, seen):
    seen.twin.look()
    seen.twin.work()
    slot = scene.slot(B)
    assert (slot.generation, slot.restarts, slot.name, slot.exit) == (1, 0, "b", NO_EXIT)


def test_the_first_generation_after_a_thaw_is_watched_anew(scene, seen):
    holder = hold_b(scene)
    seen.twin.look()
    while not seen.twin.is_still():
        seen.tick(judge=False)
    seen.die(holder)
    seen.twin.work()
    assert not seen.twin.is_still()
    assert [key for key in seen.loop._keys.values() if key[0] == module.TWIN] == [(module.TWIN, B)]


def burst_of_births() -> tuple[int, ...]:
    return (time.monotonic_ns() + spacing.WITHIN_NS,) * spacing.BURST  # recent, however slow this test is


@pytest.mark.parametrize("why", ["down", "configuration", "too soon", "no child"])
def test_none_is_born(scene, seen, why):
    holder = hold_b(scene)
    if why == "too soon":
        scene.record(B, births_ns=burst_of_births())
    seen.twin.look()
    seen.die(holder)
    if why == "down":
        scene.record_header(desired=Desired.STOP)
    if why == "configuration":
        scene.record_header(config_generation=2)
    spare = seen.nursery.ready.pop() if why == "no child" else None
    seen.twin.work()
    assert scene.slot(B).generation == 1
    assert seen.has_deadline is (why in ("too soon", "no child")), "tried again later"
    assert len(seen.nursery.ready) == (spare is None)


@pytest.mark.parametrize("why", ["lost", "disk", "wedged", "bad"])
def test_a_child_whose_claim_fails_waits_on(scene, seen, why):
    failures = {
        "disk": OSError(errno.ENOSPC, "no space"),
        "wedged": LockWedged(1, "D"),
        "bad": OSError(errno.EBADF, "bad descriptor"),
    }

    def fail(*_how: object) -> str:
        if why in failures:
            raise failures[why]
        return "the slot has moved on"

    holder = hold_b(scene)
    seen.twin.look()
    seen.die(holder)
    with taken_out(module, "respawn", fail):
        if why in ("wedged", "bad"):
            with pytest.raises(type(failures[why])):
                seen.twin.work()
        else:
            seen.twin.work()
            assert seen.has_deadline, "tried again later"
    assert seen.told == (["claim-failed"] if why == "disk" else [])
    assert len(seen.nursery.ready) == (why != "bad")
    assert not seen.twin.is_live()


def test_a_claim_that_another_one_won_is_not_tried_again(scene, seen):
    holder = hold_b(scene)
    seen.twin.look()
    seen.die(holder)

    def lose(*_how: object) -> str:
        hold_b(scene, generation=2)
        return "the slot has moved on"

    with taken_out(module, "respawn", lose):
        seen.twin.work()
    assert not seen.has_deadline
    assert (seen.twin.is_live(), seen.twin.living_generation()) == (True, 2)


# ---------------------------------------------------------------- standing still


def test_who_beats_is_not_still(scene, seen):
    hold_b(scene)
    seen.twin.look()
    for sequence in range(20):
        beat = replace(scene.state.heartbeat(Role.B), generation=1, sequence=sequence)
        scene.state.beat(Role.B, beat)
        seen.tick()
    assert (seen.twin.is_still(), seen.twin.is_hung(), seen.told) == (False, False, [])


def test_one_that_stands_still_is_ended(scene, seen):
    holder = hold_b(scene)
    seen.twin.look()
    seen.judge_until_told(1)
    assert holder.status() == signal.SIGKILL
    slot = scene.slot(B)
    assert (slot.phase, slot.ending, slot.killed) == (Phase.STOPPING, Ending.HUNG, True)
    seen.twin.died()
    assert not seen.twin.is_hung(), "the dead are not judged"
    seen.twin.work()
    assert scene.slot(B).exit.ending is Ending.HUNG


def test_the_dead_are_not_observed(scene, seen):
    holder = hold_b(scene)
    seen.twin.look()
    seen.die(holder)
    for _ in range(20):
        seen.tick()
    assert (seen.twin.is_still(), seen.told) == (False, [])


def test_it_is_ended_by_a_record_that_is_still_so(scene, seen):
    holder = hold_b(scene)
    seen.twin.look()
    while not seen.twin.is_hung():
        seen.tick(judge=False)
    newer = scene.record(B, ready=True)
    seen.twin.judge(seen.now_ns)
    assert (seen.told, scene.state.read(B)) == ([], newer)
    assert not holder.is_dead
    seen.twin.judge(seen.now_ns)
    assert holder.status() == signal.SIGKILL


def test_what_does_not_die_is_told_again_now_and_then(scene, seen):
    hold_b(scene)
    seen.twin.look()
    sent = []
    with taken_out(process, "send", lambda _pidfd, number: sent.append(number)):
        seen.judge_until_told(1)
        first_ns = seen.now_ns
        seen.judge_until_told(2)
    assert sent == [signal.SIGKILL] * 2
    assert seen.now_ns - first_ns >= module._KILL_AGAIN_NS
    assert "does not die" in str(seen.pair._queue[1])
    assert "does not die" not in str(seen.pair._queue[0])
