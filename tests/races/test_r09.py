"""R09: a configuration is published while a watcher is about to give birth by the old one."""

from dataclasses import replace

from scene import Scene, taken_out, until

from twinwatch.core import fence
from twinwatch.core.values import Role
from twinwatch.linux.birth import Seat

OLD = Seat(Role.GUEST, config_generation=1)


def publish_and_bear(scene: Scene) -> object:
    child = scene.gated()
    scene.record_header(config_generation=2)  # what `reload` does last
    return scene.bear(child, replace(OLD))


def test_a_birth_by_the_old_configuration_is_lost(scene):
    assert publish_and_bear(scene) == "the configuration has changed"
    assert scene.slot().generation == 0


def test_else_the_old_command_runs_after_the_reload(scene):
    whole = fence.objection

    def blind(claim, header, own, slot):
        return whole(claim, replace(header, config_generation=claim.config_generation), own, slot)

    with taken_out(fence, "objection", blind):
        publish_and_bear(scene)
    until(scene.births, "the old command runs")
    assert scene.slot().config_generation == 1
    assert scene.state.header().config_generation == 2
