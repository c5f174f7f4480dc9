"""R11: a child that was forked ahead of need keeps what its parent had open."""

import os
from pathlib import Path

from scene import Scene, taken_out, until

from twinwatch.linux import gate


def is_end_seen(scene: Scene) -> bool:
    """The parent lets go of the only write end of a pipe. Whether the pipe's reader sees its end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    child = scene.gated()
    comm = Path(f"/proc/{child.pid}/comm")
    until(lambda: comm.read_text().strip() == gate.COMM_RESERVE, "the child's first acts are done")
    os.close(writer)
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False
    finally:
        os.close(reader)


def test_a_gated_child_holds_nothing_of_its_parent(scene):
    assert is_end_seen(scene)


def test_else_a_dead_watchers_pipe_never_ends(scene):
    with taken_out(gate, "close_all_but", lambda _kept: None):
        assert not is_end_seen(scene)
