"""R22: both watchers send their old reserves away at the same moment, and are killed in it."""

import os

from scene import Actor, Scene, children, kill_self, rest, taken_out, until

from twinwatch.core.values import Role
from twinwatch.linux.birth import Seat
from twinwatch.linux.events import EventLog
from twinwatch.linux.identity import is_alive
from twinwatch.linux.loop import Loop
from twinwatch.watch import reserve
from twinwatch.watch.nursery import Nursery
from twinwatch.watch.pair import Pair
from twinwatch.watch.reserve import BehindGate


def renew_and_die(scene: Scene) -> Actor:
    """A watcher that is killed as soon as its old reserve was told to leave. Says who that was."""
    dismiss = Nursery._dismiss

    def dismiss_and_die(nursery: Nursery, old: dict) -> None:
        dismiss(nursery, old)
        kill_self()

    def watch(say):
        pair = Pair(
            scene.paths,
            scene.spec,
            scene.open(),
            Seat(Role.A, 1, 1),
            EventLog(scene.paths.events, "shop", "test"),
        )
        nursery = Nursery(pair, Loop(), os.pidfd_open(os.getpid()))
        try:
            nursery.refill()
            say(next(iter(nursery._ready.values())).pid)
            Nursery._dismiss = dismiss_and_die
            nursery.renew()
        except BehindGate as behind:
            Nursery._dismiss = dismiss
            reserve.live(behind.gate, behind.duty)
            rest()

    return scene.hold(Role.A, watch)


def is_nobody_left(watcher: Actor) -> bool:
    """The watcher and its old reserve are gone, and so is whoever it has forked since."""
    return watcher.is_dead and not [pid for pid in children() if os.path.exists(f"/proc/{pid}/exe")]


def test_a_new_reserve_takes_over(scene):
    watcher = renew_and_die(scene)
    old = int(watcher.hear())
    until(lambda: scene.slot(Role.A.slot).generation == 2 or is_nobody_left(watcher), "it is decided")
    assert not is_nobody_left(watcher)
    assert scene.slot(Role.A.slot).identity.pid not in (old, watcher.pid)


def test_else_nobody_is_left(scene):
    with taken_out(Nursery, "renew", Nursery.retire):
        watcher = renew_and_die(scene)
        old = int(watcher.hear())
    until(lambda: watcher.is_dead and not os.path.exists(f"/proc/{old}/exe"), "both are gone")
    assert scene.slot(Role.A.slot).generation == 1
    assert not is_alive(scene.slot(Role.A.slot).identity)
