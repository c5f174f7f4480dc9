"""R23: a process registers, and a watcher that has not read the new configuration yet sees its record."""

import json
from dataclasses import replace
from pathlib import Path

from scene import Actor, Pump, Scene, rest, taken_out

from twinwatch.control import register, registry, up
from twinwatch.core import reconcile
from twinwatch.core.record import Slot
from twinwatch.core.spec import PairSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Phase, Role
from twinwatch.linux.birth import Seat

ROUNDS = 3  # a watcher decides in the first one


def publish(scene: Scene, applicant: Actor) -> PairSpec:
    """What `twinwatch register` does in its one critical section."""
    own = registry.worker("applicant", ("/bin/true",), "/", SECOND_NS, 3)
    return up.publish(
        scene.paths,
        scene.state,
        scene.spec,
        scene.spec,
        record=lambda spec: register._record(scene.state, spec, own, applicant.identity),
        registered={own.name: own},
    )


def begin(scene: Scene) -> Actor:
    """The configuration in force has no worker at all."""
    scene.spec = replace(scene.spec, workers=(), places=())
    scene.record(3, **{name: getattr(Slot(), name) for name in ("name", "phase", "desired")})
    return scene.act(lambda _say: rest())


def look(pump: Pump) -> None:
    for _ in range(ROUNDS):
        pump.round()


def test_it_is_left_alone_until_its_configuration_was_read(scene):
    applicant = begin(scene)
    with scene.guarding() as pump:
        spec = publish(scene, applicant)
        look(pump)
        assert (applicant.is_dead, scene.slot().phase) == (False, Phase.RUNNING)
        pump.pair.spec, pump.pair.seat.config_generation = spec, spec.generation
        pump.guard.adopt(spec)
        look(pump)
        assert (applicant.is_dead, scene.slot().phase) == (False, Phase.RUNNING)
        applicant.kill()
        pump.until(lambda: scene.slot().is_over, "its death was seen: it is guarded now")


def test_its_place_is_not_filled_again_when_it_leaves(scene):
    """The same the other way round: a watcher that still knows its configuration finds its place free."""
    applicant = begin(scene)
    old = publish(scene, applicant)
    with scene.guarding(Seat(Role.GUEST, config_generation=old.generation)) as pump:
        pump.guard.adopt(old)
        up.publish(
            scene.paths,
            scene.state,
            old,
            old,
            record=lambda spec: register._release(scene.state, spec, old, "applicant"),
            registered={},
        )
        look(pump)
        assert (applicant.is_dead, scene.slot().phase) == (False, Phase.FREE)


def test_else_it_is_ended_as_one_that_was_removed(scene):
    applicant = begin(scene)
    whole = reconcile.decide
    with (
        taken_out(reconcile, "decide", lambda view: whole(replace(view, is_newer=False))),
        scene.guarding() as pump,
    ):
        publish(scene, applicant)
        pump.until(lambda: applicant.is_dead, "it was ended")
    reasons = [json.loads(line).get("reason") for line in Path(scene.paths.events).read_text().splitlines()]
    assert "removed" in reasons
