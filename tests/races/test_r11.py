"""R11: a child that is forked ahead of need keeps what its parent had open."""

import os

from scene import Scene, taken_out

from twinwatch.linux import gate


def is_end_seen(scene: Scene) -> bool:
    """The parent lets go of a pipe's only write end. Whether its reader sees the end of the pipe."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    child = scene.gated()
    expected = {0, 1, 2} | {int(fd) for fd in os.listdir(f"/proc/{child.pid}/fd")}
    assert expected
    os.close(writer)
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False
    finally:
        os.close(reader)
