"""A worker whose program cannot be started says at which step and why, waits, and runs when it is mended."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from worker_kit import LivePair, changes, entry, shown, wait_phase, wait_running

from twinwatch.core.values import ExitKind, Phase, Stage

SCRIPT = "#!/bin/sh\nexec sleep 100000\n"
BACKOFF = {"backoff": {"initial": "100ms", "max": "200ms", "jitter": 0, "burst": 50}}


class Broken:
    """One worker in a folder of its own, a way to break it, and what its slot must say then."""

    def __init__(self, home: Path, harm: Callable[["Broken"], object], stage: Stage, number: int) -> None:
        self.home, self.harm, self.stage, self.number = home, harm, stage, number
        self.script, self.room, self.log = home / "script", home / "room", home / "logs" / "out"
        for folder in (home, self.room, self.log.parent):
            folder.mkdir()
        self.write(SCRIPT)

    def write(self, text: str, mode: int = 0o755) -> None:
        self.script.write_text(text)
        self.script.chmod(mode)

    def entry(self, name: str) -> str:
        return entry(
            name, [str(self.script)], directory=str(self.room), log={"file": str(self.log)}, restart=BACKOFF
        )

    def block_log(self) -> None:
        self.log.unlink()
        self.log.mkdir()

    def mend(self) -> None:
        self.room.mkdir(exist_ok=True)
        if self.log.is_dir():
            self.log.rmdir()
        self.write(SCRIPT)


CASES: dict[str, tuple[Callable[[Broken], object], Stage, int]] = {
    "missing": (lambda broken: broken.script.unlink(), Stage.EXEC, errno.ENOENT),
    "forbidden": (lambda broken: broken.script.chmod(0o644), Stage.EXEC, errno.EACCES),
    "interpreter": (lambda broken: broken.write("#!/no/such/interpreter\n"), Stage.EXEC, errno.ENOENT),
    "nonsense": (lambda broken: broken.write("\0\0\0"), Stage.EXEC, errno.ENOEXEC),
    "folder": (lambda broken: broken.room.rmdir(), Stage.DIRECTORY, errno.ENOENT),
    "output": (Broken.block_log, Stage.OUTPUT, errno.EISDIR),
}


def test_failed_start_is_told_with_stage_and_errno_until_it_is_mended(pair: LivePair):
    broken = {name: Broken(pair.directory / name, *case) for name, case in CASES.items()}
    pair.configure("".join(case.entry(name) for name, case in broken.items()))
    pair.up()  # the check has passed
    for name, case in broken.items():
        slot = pair.worker(name)
        case.harm(case)
        pair.kill(slot.identity)
    failed = {name: wait_phase(pair, name, Phase.BACKOFF, generation=3) for name in broken}
    for name, case in broken.items():
        end = failed[name].exit
        assert (end.kind, end.stage, end.code) == (ExitKind.EXEC_FAILED, case.stage, case.number), name
        assert failed[name].failures > 50, "the burst is for programs that at least began"
        last = shown(pair, name)["last_exit"]
        assert last["kind"] == "exec-failed"
        assert (last["code"], last["signal"]) == (None, None)
        assert last["reason"] == f"{case.stage.name.lower()}: {os.strerror(case.number)}"
        told = [event for event in changes(pair, name) if event["generation"] == 2 and "exit" in event]
        assert [event["exit"] for event in told] == [last], f"{name}: told once"
        waited = [
            event for event in changes(pair, name) if event["generation"] == 2 and event["new"] == "backoff"
        ]
        assert [event["reason"] for event in waited] == ["again in 0.1 s"], name
    for case in broken.values():
        case.mend()
    for slot in wait_running(pair, *broken, generation=4):
        assert slot.exit.kind is ExitKind.EXEC_FAILED, "the last exit stays to be seen"
    assert pair.call("status", "-p", pair.name).returncode == 0


def test_policy_never_holds_for_a_program_that_is_not_there(pair: LivePair):
    script = pair.directory / "script"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    pair.configure(entry("w", [str(script)], restart="never"))
    pair.up()
    script.unlink()
    pair.call("stop", "-p", pair.name, "w")
    pair.call("start", "-p", pair.name, "w")
    slot = wait_phase(pair, "w", Phase.STOPPED, generation=2)
    assert (slot.exit.kind, slot.exit.stage) == (ExitKind.EXEC_FAILED, Stage.EXEC)
