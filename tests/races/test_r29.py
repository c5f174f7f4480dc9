"""R29: `down` removes the runtime directory, and the anchor takes it for one that was lost."""

import os

from scene import Scene, closing_loop, taken_out

from twinwatch.anchor.third import Third
from twinwatch.core.values import Desired
from twinwatch.linux.birth import Fenced
from twinwatch.watch.tenure import Tenure


def tick_after_down(scene: Scene) -> bool:
    """An anchor's tick when `down` is done. True: it let go of the pair."""
    own = os.pidfd_open(os.getpid())
    with closing_loop() as loop:
        third = Third(scene.paths, loop, own, lambda _event, _details: None)
        scene.record_header(desired=Desired.STOP)
        os.unlink(f"{scene.paths.runtime}/state")
        os.rmdir(scene.paths.runtime)
        try:
            third.tick(scene.slot(2).born_ns)
        except Fenced:
            return True
        finally:
            third.close()
            os.close(own)
    return False


def test_it_lets_go(scene):
    assert tick_after_down(scene)
    assert not os.path.exists(scene.paths.runtime)


def test_else_the_pair_has_a_file_again(scene):
    with taken_out(Third, "_keep_path", lambda third: Tenure.recover_path(third._tenure)):
        tick_after_down(scene)
    assert os.path.exists(f"{scene.paths.runtime}/state")
