"""What a killed maker of a file leaves, the next one removes; a living one's draft stays."""

import os
import subprocess
from pathlib import Path

from twinwatch.linux import draft


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_only_drafts_of_the_dead_are_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "state")
    dead = dead_pid()
    stays = [
        draft.path_of(path),
        draft.path_of(path, os.getppid()),
        f"{path}.json",
        f"{path}.{dead}.old",
        path,
    ]
    goes = draft.path_of(path, dead)
    for name in (*stays, goes):
        Path(name).touch()
    draft.sweep(path)
    assert sorted(map(str, tmp_path.iterdir())) == sorted(stays)


def test_the_draft_of_one(tmp_path: Path) -> None:
    path = str(tmp_path / "beat")
    for pid in (7, 8):
        Path(draft.path_of(path, pid)).touch()
    draft.remove(path, 7)
    draft.remove(path, 7)
    draft.remove(str(tmp_path / "lost" / "beat"), 7)
    assert [entry.name for entry in tmp_path.iterdir()] == ["beat.8"]
