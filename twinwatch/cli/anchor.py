"""`anchor`: the third guard in the foreground; and what an init needs to respawn it."""

import argparse
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from twinwatch.anchor.inits import NAMES
from twinwatch.cli.check import configuration
from twinwatch.cli.options import Commands, add_command, duration, find_target

if TYPE_CHECKING:
    from twinwatch.cli.output import Output
    from twinwatch.control.install import Outcome
    from twinwatch.control.site import Site

_VERBS = ("install", "uninstall", "print")
_USAGE = """\
%(prog)s [CONFIG] [--watchdog-device DEV] [--ready-fd N] [--pause DURATION]
       %(prog)s install|uninstall|print --init NAME [CONFIG] [--root DIR] [--scan-dir DIR] [--force]
                        [--watchdog-device DEV]"""
_EPILOG = f"""\
Without install, uninstall or print it is the anchor itself, in the foreground, for an init to respawn.

inits:
  {", ".join(NAMES[:7])},
  {", ".join(NAMES[7:])}

examples:
  twinwatch anchor print --init systemd shop.yaml       what would be written
  twinwatch anchor install --init systemd shop.yaml     write it, and say how it is started
  twinwatch -p shop anchor uninstall --init systemd     after `twinwatch -p shop down`
"""


def add(commands: Commands) -> None:
    """`anchor`."""
    command = add_command(commands, "anchor", "be the third guard of a pair, for an init to respawn", _EPILOG)
    command.usage = _USAGE
    command.add_argument(
        "words",
        metavar="[install|uninstall|print] [CONFIG]",
        nargs="*",
        help="the file (default: as the pair is found)",
    )
    command.add_argument("--watchdog-device", metavar="DEV", help="feed it while both twins beat")
    command.add_argument(
        "--ready-fd", type=_descriptor, metavar="N", help="write a newline to it when all is ready"
    )
    command.add_argument(
        "--pause",
        type=duration,
        metavar="DURATION",
        help="if it cannot start, wait so long before it leaves: for an init that tries again at once",
    )
    init = command.add_argument_group("with install, uninstall and print")
    init.add_argument("--init", choices=NAMES, metavar="NAME", help="for which init")
    init.add_argument("--root", metavar="DIR", help="below DIR, as for an image; no command is run")
    init.add_argument(
        "--scan-dir", metavar="DIR", help="where runit, s6 or daemontools scans (its usual place)"
    )
    init.add_argument(
        "--force", action="store_true", help="over a file that is not ours; uninstall while the pair is up"
    )
    _let_words_follow_options(command)
    command.set_defaults(run=partial(_anchor, command), file=None)


def _let_words_follow_options(command: argparse.ArgumentParser) -> None:
    """Without it words behind an option would be too many: argparse takes them all from one place."""
    plain = command.parse_known_args

    def parse(args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # noqa: ANN401 - argparse's own
        found, rest = plain(args, namespace)
        if not any(word.startswith("-") for word in rest):
            found.words, rest = [*found.words, *rest], []
        return found, rest

    command.parse_known_args = parse  # type: ignore[method-assign, assignment]


def _descriptor(text: str) -> int:
    if not text.isdecimal() or int(text) < 3:
        raise argparse.ArgumentTypeError("must be 3 or more")
    return int(text)


def _anchor(command: argparse.ArgumentParser, args: argparse.Namespace, output: "Output") -> int:
    verb = args.words.pop(0) if args.words[:1] and args.words[0] in _VERBS else ""
    if len(args.words) > 1:
        command.error(f"one CONFIG, not {len(args.words)}: {' '.join(args.words)}")
    args.file = args.words[0] if args.words else None
    if not verb:
        _refuse(command, args, "goes with install, uninstall or print", "init", "root", "scan_dir", "force")
        return _guard(args)
    if args.init is None:
        command.error(f"{verb} needs --init NAME: one of {', '.join(NAMES)}")
    _refuse(command, args, f"does not go with {verb}", "ready_fd", "pause")
    if verb == "print":
        return _print(args, output)
    return _tell(_install(args) if verb == "install" else _uninstall(args), output)


def _refuse(command: argparse.ArgumentParser, args: argparse.Namespace, why: str, *names: str) -> None:
    for name in names:
        if getattr(args, name) not in (None, False):
            command.error(f"--{name.replace('_', '-')} {why}")


def _guard(args: argparse.Namespace) -> int:
    """During the pause signals are blocked, as `control.anchor` left them: init waits that long at most."""
    from twinwatch.config.problem import ConfigError
    from twinwatch.control.anchor import anchor
    from twinwatch.control.errors import ControlError
    from twinwatch.linux.paths import PathError

    try:
        anchor(configuration(args), os.environ, watchdog_device=args.watchdog_device, ready_fd=args.ready_fd)
    except (ConfigError, ControlError, PathError):
        time.sleep(args.pause or 0)
        raise


def _site(args: argparse.Namespace) -> "Site":
    from twinwatch.control.errors import USAGE, ControlError
    from twinwatch.control.site import Site

    if args.root is not None and not os.path.isdir(args.root):
        raise ControlError(f"--root: {args.root} is no directory", USAGE)
    return Site(args.init, "" if args.root is None else os.path.abspath(args.root), args.force)


def _print(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.control.install import duty_of, pages

    site = _site(args)
    duty = duty_of(
        configuration(args), os.environ, site, scan_dir=args.scan_dir, watchdog_device=args.watchdog_device
    )
    output.raw("\n".join(pages(duty, site)).encode("utf-8", "surrogateescape"))
    return 0


def _install(args: argparse.Namespace) -> "Outcome":
    from twinwatch.control.install import duty_of, install

    site = _site(args)
    duty = duty_of(
        configuration(args), os.environ, site, scan_dir=args.scan_dir, watchdog_device=args.watchdog_device
    )
    return install(duty, site)


def _uninstall(args: argparse.Namespace) -> "Outcome":
    """The pair's name is enough: a configuration that is wrong by now must not be in the way."""
    from twinwatch.control.install import uninstall

    if args.file is not None:
        args.config = args.file
    return uninstall(find_target(args).paths, os.environ, _site(args), scan_dir=args.scan_dir)


def _tell(outcome: "Outcome", output: "Output") -> int:
    for line in outcome.lines:
        output.line(line)
    return 0 if outcome.is_whole else 1
