"""What an init is to keep running, and what it needs for that: files, links, a block in its inittab.

Invariants: a file has a line that says whose it is (`marker`), or stands beside one that has. No text depends
on anything but the `Duty`, so doing it twice changes nothing, and undoing it finds what was done.
"""

import re
import textwrap
from dataclasses import dataclass
from enum import StrEnum

MARK = "# twinwatch anchor install:"
SCRIPT, TEXT = 0o755, 0o644
FOLDER = "/etc/twinwatch"
_WIDTH = 100
STOP_MARGIN_S = 15  # for the anchor, after its own limit, before its init kills it
PAUSE = ("--pause", "1s")  # for inits that try again at once
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unfit(Exception):
    """What the format of an init cannot hold; the message is for the user."""


class Live(StrEnum):
    """On what it depends that a command can be run here; what is said where it cannot."""

    SYSTEMD = "systemd is not running"
    SYSTEMD_USER = "no systemd of this user is running"
    SYSVINIT = "PID 1 is not sysvinit"
    BUSYBOX = "PID 1 is not the init of busybox"
    PROGRAM = "there is no such program"


@dataclass(frozen=True, slots=True)
class Duty:
    """The anchor of one pair, as it is to be started.

    `config` and `python` are absolute. `silence_s`: after so long without both twins' beats the anchor may be
    restarted. `environ`: what finds the pair's directories. `units`: where a user's units are (absolute).
    """

    pair: str
    config: str = "/"
    python: str = "/"
    stop_timeout_s: int = 60
    silence_s: int = 30
    keep_workers: bool = False
    has_cgroups: bool = False
    environ: tuple[tuple[str, str], ...] = ()
    watchdog_device: str = ""
    scan_dir: str = ""
    units: str = "/"

    @property
    def service(self) -> str:
        return f"twinwatch-{self.pair}"

    @property
    def patience_s(self) -> int:
        """How long init waits for the anchor's end."""
        return self.stop_timeout_s + STOP_MARGIN_S

    def command(self, *more: str) -> tuple[str, ...]:
        """The anchor's command line."""
        device = ("--watchdog-device", self.watchdog_device) if self.watchdog_device else ()
        return (*self.twinwatch("anchor"), self.config, *device, *more)

    def twinwatch(self, *words: str) -> tuple[str, ...]:
        return (self.python, "-P", "-m", "twinwatch", *words)


@dataclass(frozen=True, slots=True)
class File:
    """`beside`: path of a marked file, which vouches for this one that can have no mark.

    `only_in`: written only where this directory exists. `shared`: a pattern of files that need this one.
    """

    path: str
    text: str
    mode: int = TEXT
    beside: str = ""
    only_in: str = ""
    shared: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """`only_in`: as with `File`."""

    path: str
    target: str
    only_in: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of ours in somebody else's file. `{id}` in them is replaced by an id that is free there."""

    path: str
    pair: str
    init: str
    lines: tuple[str, ...]
    at_top: bool = False


Item = File | Link | Block
Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and on what it depends."""

    command: Command
    live: Live = Live.PROGRAM


@dataclass(frozen=True, slots=True)
class Recipe:
    """`items` in the order of writing.

    `installed`: the init looks again. `before_removal`, `unlinked`, `removed`: before anything is removed,
    after links are, after all is. `start`, `stop`, `look`: what a person types; `start` is empty where the
    init does it by itself. `folders`: removed with the last file in them.
    """

    init: str
    items: tuple[Item, ...]
    start: str
    stop: str
    look: str
    installed: Step | None = None
    before_removal: Step | None = None
    unlinked: Step | None = None
    removed: Step | None = None
    folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def marker(pair: str, init: str) -> str:
    """The line by which a file is known to be ours."""
    return f"{MARK} pair {pair}, init {init}"


def heading(duty: Duty, init: str, remarks: str = "") -> str:
    """The first lines of a file: whose it is, and what its reader has to know, in paragraphs."""
    undo = f"`twinwatch -p {duty.pair} anchor uninstall --init {init}` removes it, install writes over it."
    paragraphs = (f"#\n{comment(text)}" for text in remarks.split("\n\n") if text)
    return f"{marker(duty.pair, init)}\n{comment(undo)}{''.join(paragraphs)}"


def comment(text: str) -> str:
    """Lines that begin with `#`. What stands between backticks stays on one line."""
    kept = re.sub("`[^`]*`", lambda found: " ".join(found[0].split()).replace(" ", "\0"), text)
    wrapped = textwrap.wrap(kept, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in wrapped).replace("\0", " ")
