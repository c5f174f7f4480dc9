"""`alerts`: whom to tell of what, and how."""

import importlib.util
import os
import re
from dataclasses import dataclass
from functools import partial

from twinwatch.config.address import plain_url, read_headers
from twinwatch.config.command import check_executable, read_command
from twinwatch.config.fields import (
    DAY_NS,
    Fields,
    RefusedError,
    duration,
    full_text,
    integer,
    mapping,
    text,
    unknown,
)
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Node, Scalar, Sequence
from twinwatch.core.news import KINDS
from twinwatch.core.spec import Alert
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

INTERVAL_MIN_NS = 100 * MILLISECOND_NS
TIMEOUT_MAX_NS = 600 * SECOND_NS
RETRIES_MAX = 20

_WAYS = ("exec", "webhook", "apprise")
_APPRISE = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sender:
    """What alerts are read against: they are sent by the pair, not by a worker."""

    folder: str  # the configuration file's
    search_path: str
    names: tuple[str, ...]  # of all workers


def read_alerts(sender: Sender, fields: Fields) -> tuple[Alert, ...]:
    """The alerts that could be read."""
    found = fields.items("alerts", lambda node: Fields(mapping(node), fields.report))
    alerts = (alert.read(partial(_read_alert, sender), None) for alert in found)
    return tuple(alert for alert in alerts if alert is not None)


def _read_alert(sender: Sender, fields: Fields) -> Alert:
    usual = Alert(())
    given = [key for key in _WAYS if key in fields.node.entries]
    alert = Alert(
        on=_read_kinds(fields),
        workers=_distinct(fields.items("workers", partial(_worker, sender.names))),
        command=_read_exec(sender, fields),
        webhook=fields.get("webhook", plain_url, ""),
        headers=fields.section("headers", read_headers, ()),
        apprise=fields.get("apprise", _apprise, ""),
        interval_ns=fields.get("interval", duration(INTERVAL_MIN_NS, DAY_NS), usual.interval_ns),
        timeout_ns=fields.get("timeout", duration(INTERVAL_MIN_NS, TIMEOUT_MAX_NS), usual.timeout_ns),
        retries=fields.get("retries", integer(0, RETRIES_MAX), usual.retries),
    )
    if len(given) != 1:
        node = fields.at(given[1]) if given else fields.node
        raise RefusedError(node, f"an alert has exactly one of {', '.join(_WAYS)}", node.label)
    if "headers" in fields.node.entries and "webhook" not in given:
        raise RefusedError(fields.at("headers"), "only a `webhook` has headers", fields.at("headers").label)
    return alert


def _read_kinds(fields: Fields) -> tuple[str, ...]:
    """One kind of news or a list of them."""
    if isinstance(fields.node.entries.get("on"), Scalar):
        return fields.get("on", lambda node: (_kind(node),), ())
    fields.require("on", _not_empty, None)
    return _distinct(fields.items("on", _kind))


def _not_empty(node: Node) -> None:
    if isinstance(node, Sequence) and not node.items:
        raise RefusedError(node, f"is empty; known: {', '.join(KINDS)}")


def _kind(node: Node) -> str:
    kind = text(node)
    if kind not in KINDS:
        raise RefusedError(node, unknown("kind of news", kind, KINDS))
    return kind


def _worker(names: tuple[str, ...], node: Node) -> str:
    name = text(node)
    if name not in names:
        raise RefusedError(node, unknown("worker", name, names))
    return name


def _distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _read_exec(sender: Sender, fields: Fields) -> tuple[str, ...]:
    """A command of the pair: it starts in `/`, so its program is made absolute where it has a slash."""
    if "exec" not in fields.node.entries:
        return fields.get("exec", lambda _: (), ())
    words = read_command(fields, "exec")
    if not words:
        return ()
    with fields.refusals():
        check_executable(fields.at("exec"), words[0], sender.folder, sender.search_path)
    program = os.path.join(sender.folder, words[0]) if "/" in words[0] else words[0]
    return (program, *words[1:])


def _apprise(node: Node) -> str:
    address = full_text(node)
    if not _APPRISE.fullmatch(address):
        raise RefusedError(node, f"{quoted(address)} is no address of Apprise, such as mailto://…")
    if importlib.util.find_spec("apprise") is None:
        message = "Apprise is not installed: pip install twinwatch[alerts], or tell by `webhook` or `exec`"
        raise RefusedError(node, message)
    return address
