"""`ready` and `health`: what tells that a worker may be depended on, and what convicts it.

`ready` is a mapping, all of which must be so; `health` is a list, each item of which convicts by itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from twinwatch.config.address import host_and_port, pattern, read_headers, unix_socket, url
from twinwatch.config.fields import (
    DAY_NS,
    Fields,
    RefusedError,
    choice,
    duration,
    expected,
    flag,
    full_text,
    integer,
    mapping,
)
from twinwatch.config.tree import Kind, Node, Scalar, Sequence
from twinwatch.config.workplace import Workplace
from twinwatch.core.checks import Beat, Health, Probe, ProbeKind, Ready
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

INTERVAL_MIN_NS = 100 * MILLISECOND_NS
PROBE_TIMEOUT_MIN_NS = 10 * MILLISECOND_NS
PROBE_TIMEOUT_MAX_NS = 3600 * SECOND_NS
IN_A_ROW_MAX = 255

_KINDS = ("notify", "heartbeat", *ProbeKind)
_STATUSES = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?", re.ASCII)
_interval = duration(INTERVAL_MIN_NS, DAY_NS)
_in_a_row = integer(1, IN_A_ROW_MAX)


class _Method(StrEnum):
    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    OPTIONS = "OPTIONS"


@dataclass(frozen=True, slots=True)
class _Watchdog:
    timeout_ns: int


_Check = _Watchdog | Beat | Probe


def read_ready(place: Workplace, fields: Fields) -> Ready:
    """When a worker may be depended on. A job has all the time it needs, if it is not told otherwise."""
    entries = fields.node.entries
    # What is there and was refused counts as wanted, so that nothing more is said of it.
    notify, heartbeat, is_job = (
        fields.get(key, flag, key in entries) for key in ("notify", "heartbeat", "exit")
    )
    probes = _read_probes(place, fields)
    timeout_ns = fields.get("timeout", duration(), 0 if is_job else Ready().timeout_ns)
    others = notify or heartbeat or bool(entries.keys() & set(ProbeKind))
    if is_job and others:
        raise RefusedError(fields.at("exit"), "goes with nothing else: who has ended gives no other sign")
    if is_job and "timeout" in entries:
        raise RefusedError(fields.at("timeout"), "does not go with `exit`: a job has all the time it needs")
    if not (is_job or others) and entries.keys() <= {*_KINDS, "exit", "timeout"}:
        raise RefusedError(fields.node, f"needs one of {', '.join(_KINDS)}, exit", fields.node.label)
    return Ready(notify, heartbeat, is_job, probes, timeout_ns)


def read_health(place: Workplace, fields: Fields) -> Health:
    """What convicts a running worker."""
    found = fields.items("health", partial(_read_item, place, fields))
    _refuse_second(fields, _Watchdog, found)
    _refuse_second(fields, Beat, found)
    checks = [check for check, _ in found]
    return Health(
        heartbeat=next((check for check in checks if isinstance(check, Beat)), None),
        notify_ns=next((check.timeout_ns for check in checks if isinstance(check, _Watchdog)), 0),
        probes=tuple(check for check in checks if isinstance(check, Probe)),
    )


def _refuse_second(fields: Fields, kind: type[_Check], found: Iterable[tuple[_Check | None, Node]]) -> None:
    nodes = [node for check, node in found if isinstance(check, kind)]
    for node in nodes[1:]:
        word = "notify" if kind is _Watchdog else "heartbeat"
        fields.refuse(RefusedError(node, f"a second `{word}`: there is one of it for each worker"))


def _read_item(place: Workplace, outer: Fields, node: Node) -> tuple[_Check | None, Node]:
    item = Fields(mapping(node), outer.report)
    return item.read(partial(_read_check, place), None), node


def _read_check(place: Workplace, fields: Fields) -> _Check | None:
    checks: list[_Check | None] = [
        fields.section("notify", _read_watchdog, None, short="timeout"),
        fields.section("heartbeat", _read_beat, None, short="timeout"),
        *_read_probes(place, fields),
    ]
    keys = fields.node.entries.keys()
    if len(keys & set(_KINDS)) != 1 and keys <= set(_KINDS):
        raise RefusedError(fields.node, f"an item has exactly one of {', '.join(_KINDS)}")
    return next((check for check in checks if check is not None), None)


def _read_watchdog(fields: Fields) -> _Watchdog:
    return _Watchdog(fields.require("timeout", _interval, 0))


def _read_beat(fields: Fields) -> Beat:
    return Beat(
        timeout_ns=fields.require("timeout", _interval, INTERVAL_MIN_NS),
        misses=fields.get("misses", _in_a_row, Beat(0).misses),
        progress_ns=fields.get("progress", _interval, 0),
    )


def _read_probes(place: Workplace, fields: Fields) -> tuple[Probe, ...]:
    probes = (
        fields.section("http", partial(_read_http, place), None, short="url"),
        fields.section("tcp", partial(_read_tcp, place), None, short="address"),
        fields.section("exec", partial(_read_exec, place), None, short="command"),
    )
    return tuple(probe for probe in probes if probe is not None)


def _read_http(place: Workplace, fields: Fields) -> Probe:
    usual = Probe(ProbeKind.HTTP)
    probe = Probe(
        ProbeKind.HTTP,
        target=fields.require("url", url(place), ""),
        socket=fields.get("socket", unix_socket(place), ""),
        method=fields.get("method", choice(_Method), usual.method),
        headers=fields.section("headers", read_headers, ()),
        statuses=_read_statuses(fields),
        body=fields.get("body", pattern, ""),
    )
    probe = _timed(fields, probe)
    if probe.body and probe.method == _Method.HEAD:
        raise RefusedError(fields.at("body"), "the answer to HEAD has no body")
    return probe


def _read_tcp(place: Workplace, fields: Fields) -> Probe:
    probe = Probe(
        ProbeKind.TCP,
        target=fields.get("address", host_and_port(place), ""),
        socket=fields.get("socket", unix_socket(place), ""),
        send=fields.get("send", full_text, ""),
        body=fields.get("expect", pattern, ""),
    )
    probe = _timed(fields, probe)
    _need_one(fields, "address", "socket")
    return probe


def _read_exec(place: Workplace, fields: Fields) -> Probe:
    return _timed(fields, Probe(ProbeKind.EXEC, command=place.command(fields)))


def _timed(fields: Fields, probe: Probe) -> Probe:
    timeout = duration(PROBE_TIMEOUT_MIN_NS, PROBE_TIMEOUT_MAX_NS)
    return replace(
        probe,
        interval_ns=fields.get("interval", _interval, probe.interval_ns),
        timeout_ns=fields.get("timeout", timeout, probe.timeout_ns),
        delay_ns=fields.get("delay", duration(0, DAY_NS), probe.delay_ns),
        failures=fields.get("failures", _in_a_row, probe.failures),
        successes=fields.get("successes", _in_a_row, probe.successes),
    )


def _need_one(fields: Fields, *keys: str) -> None:
    given = [key for key in keys if key in fields.node.entries]
    if len(given) != 1:
        node = fields.at(given[1]) if given else fields.node
        raise RefusedError(node, f"needs {' or '.join(f'`{key}`' for key in keys)}, and not both", node.label)


def _read_statuses(fields: Fields) -> tuple[tuple[int, int], ...]:
    """`200`, `200-299` or a list of such; an empty list is refused."""
    node = fields.node.entries.get("status")
    if not isinstance(node, Sequence):
        return fields.get("status", lambda node: (_statuses(node),), Probe(ProbeKind.HTTP).statuses)
    fields.get("status", _not_empty, ())
    return tuple(dict.fromkeys(fields.items("status", _statuses)))


def _not_empty(node: Node) -> tuple[()]:
    if isinstance(node, Sequence) and not node.items:
        raise RefusedError(node, "is empty: no answer would be good")
    return ()


def _statuses(node: Node) -> tuple[int, int]:
    is_word = isinstance(node, Scalar) and node.kind in {Kind.INTEGER, Kind.TEXT}
    match = _STATUSES.fullmatch(node.text) if is_word and isinstance(node, Scalar) else None
    if match is None:
        raise expected("an HTTP status such as 200, or a range such as 200-299", node)
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high:
        raise RefusedError(node, f"a range begins with the lower one: {high}-{low}")
    return low, high
