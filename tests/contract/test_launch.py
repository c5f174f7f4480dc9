"""How a gated child becomes its program: what it gets, and at which stage it fails."""

import json
import os
import resource
import signal
import sys

import pytest
from scene import Scene, act, rest, until

from twinwatch.core.spec import Account
from twinwatch.core.values import Stage
from twinwatch.linux import process
from twinwatch.linux import token as token_lock

SELF_PORTRAIT = """
import json, os, resource, sys
status = open("/proc/self/status").read()
json.dump({
    "argv": sys.argv[1:], "cwd": os.getcwd(), "umask": os.umask(0), "environ": dict(os.environ),
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": os.getgroups(),
    "session": os.getsid(0) == os.getpid(),
    "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "fds": [os.readlink(f) for n in range(256) if os.path.exists(f := f"/proc/self/fd/{n}")],
    "ignored": int(status.partition("SigIgn:")[2].split()[0], 16),
    "blocked": int(status.partition("SigBlk:")[2].split()[0], 16),
}, open(sys.argv[1], "w"))
"""


def portrait(scene: Scene, **changes: object) -> dict[str, object]:
    """What a program that was started through its gate sees of itself."""
    path = scene.directory / "portrait"
    command = (sys.executable, "-I", "-S", "-c", SELF_PORTRAIT, str(path), "{instance}", "{other}")
    scene.spec = scene.make_spec("", command=command, **changes)
    child = scene.gated()
    scene.bear(child)
    assert process.wait_dead(child.pidfd, 30_000)
    assert process.child_status(child.pidfd, reap=False) == 0, (
        scene.directory / "lib/shop/log/job.log"
    ).read_text()
    return json.loads(path.read_text())


def test_what_a_program_gets(scene):
    seen = portrait(
        scene,
        directory=str(scene.directory),
        umask=0o027,
        environment=(("COLOUR", "blue"), ("N", "n{instance}")),
        rlimits=((resource.RLIMIT_NOFILE, 128, 256),),
    )
    assert seen["argv"][1:] == ["0", "{other}"]
    assert seen["cwd"] == str(scene.directory)
    assert seen["umask"] == 0o027
    assert seen["session"]
    assert seen["nofile"] == [128, 256]
    environ = seen["environ"]
    assert (environ["COLOUR"], environ["N"], environ["PATH"]) == ("blue", "n0", os.environ["PATH"])
    assert {name: text for name, text in environ.items() if name.startswith("TWINWATCH_")} == {
        "TWINWATCH_PAIR": "shop",
        "TWINWATCH_WORKER": "job",
        "TWINWATCH_HEARTBEAT": scene.paths.heartbeat("job", 0),
        "TWINWATCH_INSTANCE": "0",
        "TWINWATCH_GENERATION": "1",
    }


def test_what_a_program_has_open(scene):
    """Input from nowhere, output to its log, and its token: nothing else of twinwatch."""
    seen = portrait(scene)
    log = f"{scene.paths.logs}/job.log"
    assert seen["fds"][:3] == ["/dev/null", log, log]
    assert set(seen["fds"][3:]) <= {scene.paths.token("job", 0), str(scene.directory / "portrait")}


def test_a_program_is_disturbed_by_no_signal_setting(scene):
    seen = portrait(scene)
    python_ignores = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1  # at its own start
    assert seen["ignored"] & ~python_ignores == 0
    assert seen["blocked"] == 0


@pytest.mark.root
def test_a_program_of_another_user(scene):
    """Its user, groups and home are the account's; its log was opened before, as the watcher's user."""
    account = Account(65534, 65534, (65534, 4), "nobody", "/nowhere", "/bin/sh")
    command = ("/bin/sh", "-c", "id -u; id -g; id -G; echo $USER $HOME")
    scene.spec = scene.make_spec("", command=command, account=account)
    child = scene.gated()
    scene.bear(child)
    assert process.wait_dead(child.pidfd, 30_000)
    with open(f"{scene.paths.logs}/job.log") as file:
        assert file.read().split() == ["65534", "65534", "65534", "4", "nobody", "/nowhere"]


FAILURES = {
    Stage.OUTPUT: ({"log": "/no/such/folder/x.log"}, 2),
    Stage.LIMITS: ({"rlimits": ((resource.RLIMIT_NOFILE, 10, 5),)}, 22),
    Stage.DIRECTORY: ({"directory": "/no/such/folder"}, 2),
    Stage.EXEC: ({"command": ("/no/such/program",)}, 2),
}


def failure(scene: Scene, **changes: object) -> tuple[Stage, int] | None:
    scene.spec = scene.make_spec("exit 0", **changes)
    child = scene.gated()
    scene.bear(child)
    assert process.wait_dead(child.pidfd, 30_000)
    assert process.child_status(child.pidfd, reap=False) == 127 << 8
    return child.read_report()


@pytest.mark.parametrize("stage", FAILURES)
def test_each_stage_that_fails_is_named(scene, stage):
    changes, number = FAILURES[stage]
    assert failure(scene, **changes) == (stage, number)


def test_a_program_that_is_no_program(scene):
    path = scene.directory / "text"
    path.write_text("no program")
    path.chmod(0o755)
    assert failure(scene, command=(str(path),)) == (Stage.EXEC, 8)
    path.chmod(0o644)
    assert failure(scene, command=(str(path),)) == (Stage.EXEC, 13)


def test_a_held_token(scene):
    def take(say):
        token_lock.take(scene.paths.token("job", 0))
        say("taken")
        rest()

    holder = scene.act(take)
    assert holder.hear() == "taken"
    assert failure(scene) == (Stage.TOKEN, 16)


def test_a_zero_byte_in_the_command(scene):
    assert failure(scene, command=("/bin/sh", "a\0b")) == (Stage.EXEC, 22)


def test_a_token_without_high_descriptors(scene):
    """A limit below 64 still gives a token."""

    def take(say):
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        token_lock.take(scene.paths.token("job", 0))
        say("taken")
        rest()

    holder = act(take)
    assert holder.hear() == "taken"
    from twinwatch.linux import remains

    assert remains.token_holders(scene.paths.token("job", 0)) == [holder.pid]
    until(lambda: token_lock.is_held(scene.paths.token("job", 0)))
    holder.kill()
    holder.close()
