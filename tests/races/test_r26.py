"""R26: a watcher is killed when it has let an `after_exit` hook begin."""

from dataclasses import replace

from scene import JOB, Scene, StubNursery, kill_self, taken_out

from twinwatch.core import reconcile
from twinwatch.core.reconcile import RunHook
from twinwatch.core.spec import Hook, Restart
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import NO_EXIT, Desired, ExitKind, HookState, Phase
from twinwatch.watch.hooks import Hooks


def hooks_run(scene: Scene) -> int:
    """How often the hook of one generation ran, whose first guard was killed and whose second goes on."""
    runs = scene.directory / "runs"
    hook = Hook(("/bin/sh", "-c", f"echo x >> {runs}"), 60 * SECOND_NS)
    scene.spec = scene.make_spec("exit 0", after_exit=hook, restart=Restart())
    over = replace(NO_EXIT, kind=ExitKind.CLEAN, generation=1)
    scene.record(JOB, generation=1, phase=Phase.STOPPING, desired=Desired.STOP, exit=over, birth_hash=1)
    begin = Hooks.begin

    def begin_and_die(hooks: Hooks, *how: object) -> None:
        begin(hooks, *how)
        kill_self()

    def guard_and_die(_say: object) -> None:
        Hooks.begin = begin_and_die
        with scene.guarding(nursery=StubNursery(scene.gated())) as pump:
            pump.until(lambda: False, "it is killed")

    scene.act(guard_and_die).status()
    with scene.guarding(nursery=StubNursery(scene.gated())) as pump:
        pump.until(lambda: scene.slot().phase is Phase.STOPPED, "the slot is done with")
    assert scene.slot().hook is HookState.DONE
    return len(runs.read_text().split())


def test_its_heir_waits_for_the_hook(scene):
    assert hooks_run(scene) == 1


def test_else_it_runs_twice(scene):
    again = []

    def begin_again(view: reconcile.View) -> reconcile.Action:
        if again:
            return hooked(view)
        again.append(view)
        return RunHook(replace(view.slot, until_ns=view.now_ns + 60 * SECOND_NS))

    hooked = reconcile._hooked
    with taken_out(reconcile, "_hooked", begin_again):
        assert hooks_run(scene) == 2
