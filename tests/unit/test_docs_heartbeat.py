"""docs/heartbeat.md says what the client does, and its programs beat as they stand there."""

import inspect
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import twinwatch
from twinwatch.client import heartbeat, notify
from twinwatch.client.heartbeat import LAYOUT, SIZE, VARIABLE, Heartbeat
from twinwatch.core import beatfile

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/heartbeat.md").read_text("utf-8")
FLAT = " ".join(TEXT.split())
BLOCK = re.compile(r"^<!-- (.+?) -->\n```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = {name: text for name, _, text in BLOCK.findall(TEXT)}
PROGRAMS = sorted(name for name in BLOCKS if name.startswith("examples/"))
SIZES = {8: "Q", 4: "I"}
PIECES = 2


def section(title):
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)[1]


def rows(title):
    table = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def read(path):
    return struct.unpack(LAYOUT, path.read_bytes())


# ------------------------------------------------------------ what it says


def test_layout():
    at, letters = 0, ""
    for offset, size, field, _ in rows("The file"):
        assert int(offset) == at
        at += int(size)
        letters += f"{size}x" if field == "reserved" else SIZES[int(size)]
    assert at == SIZE == beatfile.SIZE == struct.calcsize(LAYOUT)
    assert f"<{letters}" == LAYOUT
    fields = [field for _, _, field, _ in rows("The file")]
    words = [heartbeat.SEQUENCE, heartbeat.TIME, heartbeat.PROGRESS, heartbeat.STATE]
    assert words == [fields.index(field) for field in ("sequence", "time", "progress", "state")]


def test_the_judge_reads_what_the_client_writes(tmp_path):
    path = tmp_path / "heartbeat"
    path.write_bytes(bytes(SIZE))
    with Heartbeat(path) as beating:
        beating.beat(7)
        seen = beatfile.unpack(path.read_bytes())
        assert (seen.sequence, seen.progress, seen.state) == (1, 7, beatfile.ACTIVE)
        assert seen.at_ns == read(path)[1]
        beating.sign_off()
        assert beatfile.unpack(path.read_bytes()).is_signed_off


def test_states():
    said = next(what for _, _, field, what in rows("The file") if field == "state")
    assert said == (
        f"{heartbeat.NOT_BEGUN} not begun, {heartbeat.ACTIVE} active, {heartbeat.SIGNED_OFF} signed off"
    )


def test_methods_of_python():
    said = {row[0].strip("`") for row in rows("Python")}
    public = {name for name in vars(Heartbeat) if not name.startswith("_")}
    assert {name.partition("(")[0] for name in said} == public | {"Heartbeat"}
    for call in said - {"is_watched"}:
        name, _, arguments = call.partition("(")
        target = Heartbeat if name == "Heartbeat" else getattr(Heartbeat, name)
        assert arguments == bare(target)[1:]


def bare(target):
    """A signature without types and self."""
    signature = inspect.signature(target)
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    return str(inspect.Signature(kept))


def test_registration():
    assert f"`register{bare(twinwatch.register)}`" in FLAT
    call = BLOCKS["not run"].splitlines()[0]
    names = re.findall(r"(\w+)=", call)
    assert set(names) <= set(inspect.signature(twinwatch.register).parameters)


def test_figures():
    assert f"within {notify.SEND_WAIT_S:g} s" in FLAT
    assert f"every `every` seconds ({heartbeat.EVERY_S:g})" in FLAT
    assert heartbeat._LOOK_NS == 10**9 and "looks once a second" in FLAT


# ------------------------------------------------------------ its programs


def test_each_example_stands_in_it_word_for_word():
    files = {
        f"examples/heartbeat/{path.name}"
        for path in (ROOT / "examples/heartbeat").iterdir()
        if path.is_file()
    }
    assert set(PROGRAMS) == files
    for name in PROGRAMS:
        assert BLOCKS[name] == (ROOT / name).read_text("utf-8"), f"{name} and docs/heartbeat.md differ"


def test_no_code_is_left_out():
    fences = re.findall(r"^```(\w+)$", TEXT, re.MULTILINE)
    assert fences.count("yaml") == 1 and len(fences) == len(BLOCKS) + 1


def tool(name):
    return shutil.which(name) or pytest.skip(f"interpreter absent: {name}")


def prepare(name, directory):
    """The command that runs a block of the document."""
    source = directory / Path(name).name
    source.write_text(BLOCKS[name])
    match source.suffix:
        case ".py":
            return [sys.executable, str(source)]
        case ".sh":
            return ["/bin/sh", str(source)]
        case ".c":
            program = str(directory / "worker")
            strict = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
            subprocess.run([tool("gcc"), *strict, "-o", program, str(source)], check=True)
            return [program]
        case ".go":
            program = str(directory / "worker")
            environ = {"GO111MODULE": "off", "GOCACHE": str(directory / "cache"), "GOFLAGS": "", **os.environ}
            subprocess.run([tool("go"), "build", "-o", program, str(source)], check=True, env=environ)
            return [program]
    raise AssertionError(f"{name}: how is it run?")


def run(command, path, directory):
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if path is not None:
        environ[VARIABLE] = str(path)
    command = [*command, str(PIECES)]
    return subprocess.run(command, env=environ, cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_beats(name, tmp_path):
    command = prepare(name, tmp_path)
    path = tmp_path / "heartbeat"
    path.write_bytes(bytes(SIZE))
    os.utime(path, ns=(1, 1))
    before_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    done = run(command, path, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    if name.endswith(".sh"):
        assert path.stat().st_mtime_ns != 1
        assert path.read_bytes() == bytes(SIZE)
        return
    sequence, at_ns, progress, state = read(path)
    assert sequence >= PIECES and progress == PIECES and state == heartbeat.ACTIVE
    assert before_ns < at_ns < time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert path.read_bytes()[28:] == bytes(36)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_unwatched(name, tmp_path):
    command = prepare(name, tmp_path)
    before = set(tmp_path.iterdir())
    for path in (None, "", tmp_path / "absent", tmp_path / "absent/heartbeat"):
        done = run(command, path, tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", [name for name in PROGRAMS if not name.endswith(".sh")])
def test_a_program_leaves_a_file_alone_that_is_no_heartbeat(name, tmp_path):
    command = prepare(name, tmp_path)
    path = tmp_path / "precious"
    path.write_bytes(b"precious " * 20)
    done = run(command, path, tmp_path)
    assert (done.returncode, path.read_bytes()) == (0, b"precious " * 20)
