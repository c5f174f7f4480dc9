"""The PID of a registered process belongs to somebody else now: it is not signalled (P6)."""

import subprocess
import sys
from pathlib import Path

import pytest
from live_pair import ROOM
from test_pair_pid_reuse import NS_LAST_PID


@pytest.mark.root
@pytest.mark.skipif(not NS_LAST_PID.exists(), reason="kernel lacks ns_last_pid (CONFIG_CHECKPOINT_RESTORE)")
@pytest.mark.parametrize("scene", ["watched", "unwatched", "unregistered"])
def test_a_pid_is_used_again(tmp_path: Path, scene: str):
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    command = [sys.executable, str(ROOM / "register_scene.py"), scene, str(tmp_path)]
    done = subprocess.run(namespace + command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
