"""`restart` and `stop`: when a worker comes back, how fast, and how it is ended."""

import signal

from twinwatch.config.fields import (
    DURATION_MAX_NS,
    Fields,
    RefusedError,
    choice,
    duration,
    expected,
    integer,
    number,
    show_duration,
    unknown,
)
from twinwatch.config.tree import Kind, Node, Scalar
from twinwatch.core.spec import RESTART_LIMIT_MAX, Backoff, Limit, OnUnknown, Policy, Restart, Stop
from twinwatch.core.timing import MILLISECOND_NS

FACTOR_MAX = 100.0
BURST_MAX = 1000

_SIGNALS = {member.name.removeprefix("SIG"): int(member) for member in signal.Signals}
_HARMLESS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT})


def read_restart(fields: Fields) -> Restart:
    """When a worker comes back; without keys: always, with the usual back-off, without a limit."""
    usual = Restart()
    return Restart(
        policy=fields.get("policy", choice(Policy), usual.policy),
        success_codes=_read_success_codes(fields),
        on_unknown=fields.get("on_unknown", choice(OnUnknown), usual.on_unknown),
        backoff=fields.section("backoff", _read_backoff, usual.backoff),
        limit=fields.section("limit", read_limit, None),
    )


def read_stop(fields: Fields) -> Stop:
    """The signal that asks a worker to end, and how long it may take."""
    usual = Stop()
    return Stop(
        signal=fields.get("signal", _signal, usual.signal),
        timeout_ns=fields.get("timeout", duration(), usual.timeout_ns),
    )


def _read_success_codes(fields: Fields) -> tuple[int, ...]:
    if "success_codes" not in fields.node.entries:
        fields.get("success_codes", lambda _: None, None)
        return Restart().success_codes
    return tuple(sorted(set(fields.items("success_codes", integer(0, 255)))))


def _read_backoff(fields: Fields) -> Backoff:
    usual = Backoff()
    backoff = Backoff(
        initial_ns=fields.get("initial", duration(), usual.initial_ns),
        max_ns=fields.get("max", duration(), usual.max_ns),
        factor=fields.get("factor", number(1.0, FACTOR_MAX), usual.factor),
        jitter=fields.get("jitter", number(0.0, 1.0), usual.jitter),
        reset_ns=fields.get("reset", duration(), usual.reset_ns),
        burst=fields.get("burst", integer(0, BURST_MAX), usual.burst),
    )
    if backoff.max_ns < backoff.initial_ns:
        smaller, larger = show_duration(backoff.max_ns), show_duration(backoff.initial_ns)
        raise RefusedError(fields.at("max", "initial"), f"max {smaller} is below initial {larger}")
    return backoff


def read_limit(fields: Fields) -> Limit:
    """So many restarts in so much time."""
    restarts = fields.require("restarts", integer(1, RESTART_LIMIT_MAX), 1)
    within_ns = fields.require("within", duration(MILLISECOND_NS, DURATION_MAX_NS), MILLISECOND_NS)
    return Limit(restarts, within_ns)


def _signal(node: Node) -> int:
    number = _signal_number(node)
    if number in _HARMLESS:
        raise RefusedError(node, f"{signal.Signals(number).name} ends no process")
    return number


def _signal_number(node: Node) -> int:
    match node:
        case Scalar(kind=Kind.INTEGER):
            return integer(1, signal.NSIG - 1)(node)
        case Scalar(kind=Kind.TEXT, text=name):
            bare = name.removeprefix("SIG")
            if bare in _SIGNALS:
                return _SIGNALS[bare]
            raise RefusedError(node, unknown("signal", bare, _SIGNALS))
        case _:
            raise expected("a signal such as TERM, SIGTERM or 15", node)
