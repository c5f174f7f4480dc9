"""What a datagram of a worker says, in the protocol of sd_notify(3).

Anybody who reaches the socket may send anything, so `parse` never raises and what it returns is bounded.
Lines are `NAME=VALUE`; of a name that comes twice the first one counts; what is malformed or out of
bounds counts as not said, and takes nothing else with it. Only three faults spoil a whole datagram: it is
too long, it holds a NUL, or it mixes BARRIER with something else.
"""

from dataclasses import dataclass

DATAGRAM_MAX = 4096
STATUS_MAX = 512  # characters
PID_MAX = (1 << 31) - 1
SPAN_MAX_NS = 1 << 62  # longer than any machine runs; a clock plus this is still a signed 64-bit number
_FOREVER_USEC = (1 << 64) - 1  # how the protocol writes "no limit"
_ERRNO_MAX = 4095
_UNKNOWN_MAX = 16  # names
_NAME_MAX = 64  # characters
_USED = frozenset(
    {
        *("READY", "RELOADING", "STOPPING", "STATUS", "ERRNO", "MAINPID", "FDSTORE", "BARRIER"),
        *("WATCHDOG", "WATCHDOG_USEC", "EXTEND_TIMEOUT_USEC"),
    }
)


@dataclass(frozen=True, slots=True)
class Notice:
    """`watchdog`: a sign of life. `watchdog_trigger`: it knows itself that it is unwell.

    `watchdog_ns`: from now on a sign of life is due so often; 0: none is due any more.
    `extend_ns`: so long from now its present step may still take. `fdstore`: it wants descriptors kept.
    `status`: one printable line. `unknown`: names of assignments that mean nothing here.
    `fault`: why nothing of the datagram counts.
    """

    ready: bool = False
    reloading: bool = False
    stopping: bool = False
    watchdog: bool = False
    watchdog_trigger: bool = False
    watchdog_ns: int | None = None
    extend_ns: int | None = None
    main_pid: int | None = None
    status: str | None = None
    barrier: bool = False
    fdstore: bool = False
    errno: int | None = None
    unknown: tuple[str, ...] = ()
    fault: str = ""


def parse(data: bytes) -> Notice:
    """All that the datagram says; never raises."""
    if len(data) > DATAGRAM_MAX:
        return Notice(fault=f"longer than {DATAGRAM_MAX} bytes")
    data = data.removesuffix(b"\0")
    if b"\0" in data:
        return Notice(fault="a NUL in it")
    said = _assignments(data)
    if said.get("BARRIER") == b"1":
        return Notice(barrier=True) if len(said) == 1 else Notice(fault="BARRIER=1 with other assignments")
    return Notice(
        ready=said.get("READY") == b"1",
        reloading=said.get("RELOADING") == b"1",
        stopping=said.get("STOPPING") == b"1",
        watchdog=said.get("WATCHDOG") == b"1",
        watchdog_trigger=said.get("WATCHDOG") == b"trigger",
        watchdog_ns=_every(said.get("WATCHDOG_USEC")),
        extend_ns=_every(said.get("EXTEND_TIMEOUT_USEC")) or None,
        main_pid=_number(said.get("MAINPID"), 1, PID_MAX),
        status=_line(said.get("STATUS")),
        fdstore=said.get("FDSTORE") == b"1",
        errno=_number(said.get("ERRNO"), 0, _ERRNO_MAX),
        unknown=tuple(name[:_NAME_MAX] for name in said if name not in _USED)[:_UNKNOWN_MAX],
    )


def _assignments(data: bytes) -> dict[str, bytes]:
    """Value by name, in their order; only names that can be shown."""
    said: dict[str, bytes] = {}
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        name, equals, value = line.partition(b"=")
        if equals and name and name.isascii() and _is_name(name.decode("ascii")):
            said.setdefault(name.decode("ascii"), value)
    return said


def _is_name(text: str) -> bool:
    return text.replace("_", "a").isalnum()


def _number(value: bytes | None, least: int, most: int) -> int | None:
    """A plain decimal number within these bounds."""
    if value is None or not value.isdigit() or len(value) > len(str(most)):
        return None
    number = int(value)
    return number if least <= number <= most else None


def _every(value: bytes | None) -> int | None:
    """Microseconds as nanoseconds; 0 for "no limit"."""
    usec = _number(value, 0, _FOREVER_USEC)
    if usec is None:
        return None
    return 0 if usec == _FOREVER_USEC else min(usec * 1000, SPAN_MAX_NS)


def _line(value: bytes | None) -> str | None:
    """A text that may be shown on any terminal and put into any log."""
    if value is None:
        return None
    text = value.decode("utf-8", errors="replace")[:STATUS_MAX]
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
