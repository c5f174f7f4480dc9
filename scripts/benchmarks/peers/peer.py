"""What every adapter says of its peer: how to have it, how to configure it, whom it consists of."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.site import Room, Site, program_of
from benchmarks.stamps import Stamps

SHIPPED, FAST = "shipped", "fast"


@dataclass(frozen=True, slots=True)
class Plan:
    """One guard to be started.

    `run`: a new folder on tmpfs, for what is in /run on a machine of its own. `keep`: a new folder on disk.
    `programs`: name -> path of the C programs.
    """

    count: int
    variant: str
    run: Path
    keep: Path
    programs: Mapping[str, str]

    @property
    def stamps(self) -> Path:
        return self.run / "stamps"

    def argument(self, label: str) -> str:
        """What the worker of that label is given."""
        return f"{label}:{self.stamps}"

    def worker(self, label: str) -> list[str]:
        return [self.programs["stamp"], self.argument(label)]

    @property
    def labels(self) -> list[str]:
        return [f"w{number}" for number in range(self.count)]

    @property
    def is_fast(self) -> bool:
        return self.variant == FAST


class Peer:
    """One supervisor.

    `variants`: what is said of each configuration. `most`: workers that it can guard, and why no more.
    `settle_s`: how old a worker is to be before it is killed: more than what each peer here calls a start.
    """

    key = ""
    title = ""
    kind = "one process"
    variants: ClassVar[Mapping[str, str]] = {SHIPPED: ""}
    most = 5000
    most_why = ""
    settle_s = 1.2
    patience_s = 60.0
    slow: tuple[str, ...] = ()  # variants that take a second and more for a restart
    unmeasured: ClassVar[Mapping[str, str]] = {}  # variant -> why nothing but H and D is measured of it

    def __init__(self) -> None:
        self.version = ""

    def obtain(self) -> None:
        """Have it on this machine, and know its version.

        Raises:
            Absent: with the reason.
        """

    def lay(self, plan: Plan) -> None:
        """Write its configuration."""

    def argv(self, plan: Plan) -> Sequence[str]:
        """What is executed to start it, in the foreground or not."""
        raise NotImplementedError

    def environ(self, plan: Plan) -> Mapping[str, str]:  # noqa: ARG002 - most need none
        """Variables of its own."""
        return {}

    def open_site(self, plan: Plan) -> Site:
        """Where it is to run, before it does."""
        return Room(plan.keep / "guard.log", [plan.programs["stamp"], plan.programs["beat"]])

    def start(self, site: Site, plan: Plan) -> None:
        """Start it, with all its workers."""
        site.start(self.argv(plan), {**os.environ, **self.environ(plan)}, str(plan.keep))

    # ------------------------------------------------------------ the guard killed

    returns_by_itself = False  # its parent, which is part of it, starts it again

    def victims(self, site: Site, stamps: Stamps) -> list[int]:
        """Whose death is the guard's: by default the parents of the workers."""
        parents = {parent_of(site.outer(stamp.pid)) for stamp in stamps.latest.values()}
        return sorted(parents & set(site.guards()))


def parent_of(pid: int) -> int:
    """0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """With the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def is_program(pid: int, name: str) -> bool:
    """Whether it executes a file of that name."""
    return program_of(pid).rpartition("/")[2] == name
