"""What is measured or needed and no part of the project: compiled, or fetched into a cache, never installed.

The cache is `$TWINWATCH_BENCH_CACHE`, else twinwatch/bench in `$XDG_CACHE_HOME` or ~/.cache. A thing is made
under another name and renamed when it is whole.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "c"
FREESTANDING = ("-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-stack-protector")
PROGRAMS: dict[str, tuple[str, ...]] = {
    "stamp": FREESTANDING,
    "spawn_one": (),
    "spawn_many": (),
    "beat": (),
}
FETCH_S = 300


class Absent(Exception):
    """It cannot be had here; the message is the reason."""


def folder() -> Path:
    """Where it is all kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("TWINWATCH_BENCH_CACHE") or f"{base}/twinwatch/bench")


def run(argv: Sequence[str], directory: Path | None = None) -> str:
    """Output of a command.

    Raises:
        Absent: it failed, or is not there.
    """
    try:
        done = subprocess.run(
            argv, cwd=directory, capture_output=True, text=True, timeout=FETCH_S, check=False
        )
    except FileNotFoundError:
        raise Absent(f"no {argv[0]} here") from None
    except subprocess.TimeoutExpired:
        raise Absent(f"{argv[0]}: not done after {FETCH_S} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise Absent(f"{argv[0]}: {said[-1]}")
    return done.stdout


def keep(name: str, make: Callable[[Path], None], *, in_place: bool = False) -> Path:
    """The folder `name` of the cache, made by `make` where it is missing.

    `in_place`: it cannot be moved once it is made (a virtual environment); it has a mark when it is whole.
    """
    target = folder() / name
    mark = target / ".whole"
    if mark.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    if in_place:
        shutil.rmtree(target, ignore_errors=True)
        make(target)
        mark.touch()
        return target
    scratch = Path(tempfile.mkdtemp(prefix=".new.", dir=target.parent))
    try:
        made = scratch / "made"
        made.mkdir()
        make(made)
        (made / ".whole").touch()
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def programs() -> dict[str, str]:
    """Name -> path of the C programs, compiled where they are not there yet.

    Raises:
        Absent: no C compiler.
    """
    text = b"".join((SOURCES / f"{name}.c").read_bytes() for name in PROGRAMS)
    digest = hashlib.sha256(text + repr(PROGRAMS).encode()).hexdigest()[:12]

    def make(made: Path) -> None:
        for name, options in PROGRAMS.items():
            source = str(SOURCES / f"{name}.c")
            run(["cc", "-O2", "-Wall", "-Wextra", "-static", *options, "-o", str(made / name), source])

    made = keep(f"programs-{digest}", make)
    return {name: str(made / name) for name in PROGRAMS}


def debian(package: str) -> Path:
    """Tree of a Debian package, unpacked."""

    def make(made: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="twinwatch-deb.") as scratch:
            try:
                run(["apt-get", "-qq", "download", package], Path(scratch))
            except Absent:
                if os.geteuid() != 0:
                    raise
                run(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60", "update"])
                run(["apt-get", "-qq", "download", package], Path(scratch))
            (deb,) = Path(scratch).glob("*.deb")
            run(["dpkg", "-x", str(deb), str(made)])
            (made / "version").write_text(run(["dpkg-deb", "-f", str(deb), "Version"]))

    return keep(f"debian/{package}", make)


def pypi(requirement: str) -> Path:
    """A virtual environment with one package in it; its interpreter is `bin/python`."""

    def make(made: Path) -> None:
        run([sys.executable, "-m", "venv", str(made)])
        run([str(made / "bin/python"), "-m", "pip", "install", "-q", requirement])

    return keep(f"pypi/{requirement}", make, in_place=True)


def npm(requirement: str) -> Path:
    """A folder with one package in its node_modules."""
    if shutil.which("node") is None:
        raise Absent("no node here")

    def make(made: Path) -> None:
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(made), requirement])

    return keep(f"npm/{requirement}", make)
