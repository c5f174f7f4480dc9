"""Runs of `twinwatch chaos`, as commands of their own: they change the namespaces of their process."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path

from live_pair import PATIENCE_S, LivePair

from twinwatch.core.values import Role

PATIENT = ("--patience", "60s")  # a busy machine breaks no promise

# A throw-away pair that ticks and judges sooner than one of a user's.
QUICK = """
import json, sys
from twinwatch.chaos import run, throwaway
from twinwatch.cli import chaos, parser
import argparse
args = argparse.Namespace()
parser.parse(["chaos", "--throw-away", *sys.argv[2:]], args)
own = throwaway.ThrowAway(watch={"interval": "100ms", "timeout": "1s"}, **json.loads(sys.argv[1]))
found = run.throw_away(chaos.options_of(args), lambda text: None, own)
print(json.dumps(found))
sys.exit(chaos.verdict(found))
"""


def call(
    *arguments: str, environ: dict[str, str] | None = None, timeout_s: float = 2 * PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """`twinwatch chaos ARGUMENTS`, to its end."""
    command = [sys.executable, "-m", "twinwatch", "chaos", *arguments]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def quick(
    tmp_path: Path, *arguments: str, **changes: object
) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """A run against a throw-away pair; what it said. `changes` are arguments of ThrowAway."""
    command = [sys.executable, "-c", QUICK, json.dumps(changes), *PATIENT, *arguments]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False
    )
    assert done.stdout, done.stderr
    return done, json.loads(done.stdout)


# Seed 60: it kills a after 0.94 s, and pauses for 3.76 s when the pair is whole again.
FIRST_KILL = ("--seed", "60", "--pause", "4s", "--duration", "60s", "--json")


def begun(pair: LivePair, *arguments: str) -> "subprocess.Popen[str]":
    """A run against a user's pair that has struck once, and now makes a pause of some seconds."""
    before = pair.role(Role.A).generation
    command = [sys.executable, "-m", "twinwatch", "chaos", "-p", pair.name, *FIRST_KILL, *arguments]
    run = subprocess.Popen(
        command, env=pair.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    pair.wait_whole({"a": before + 1})
    select.select([], [], [], 0.5)  # for the run to see it too: else it says what it sees in other words
    return run


def ended(run: "subprocess.Popen[str]") -> tuple[int, dict[str, object], str]:
    """(exit code, result, what it said to people)."""
    output, errors = run.communicate(timeout=2 * PATIENCE_S)
    return run.returncode, json.loads(output) if output else {}, errors


def what_broke(found: dict[str, object]) -> str:
    return "\n".join(f"{one['promise']} {one['what']}" for one in found["broken"])
