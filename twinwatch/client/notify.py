"""The sending side of sd_notify(3): says to whoever set `NOTIFY_SOCKET` how the program is.

Nothing is raised where nobody listens: a program does not fail because it is not watched.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

VARIABLE = "NOTIFY_SOCKET"
SEND_WAIT_S = 0.2  # for a place in a full queue: longer than that, the word is lost rather than the time


def notify(*lines: str, wait_s: float = SEND_WAIT_S) -> bool:
    """Send `READY=1`, `STATUS=...`, `WATCHDOG=1` and the like as one message.

    False: nobody listens, or did not take it within `wait_s` seconds.
    """
    return _send(lines, [], wait_s)


def barrier(timeout: float) -> bool:
    """Wait until all that was sent before has been read. False: not within `timeout` seconds."""
    import select

    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            is_sent = _send(("BARRIER=1",), [write], SEND_WAIT_S)
        finally:
            os.close(write)  # the receiver has the other one, and closes it when it gets there
        if not is_sent:
            return False
        poll = select.poll()
        poll.register(read, 0)  # the hang-up is reported always
        return bool(poll.poll(max(0, timeout) * 1000))
    finally:
        os.close(read)


def _send(lines: tuple[str, ...], fds: list[int], wait_s: float) -> bool:
    name = os.environ.get(VARIABLE, "")
    if name[:1] not in ("/", "@"):  # none, or of a kind that this machine's watchers do not use
        return False
    import socket

    message = "\n".join(lines).encode("utf-8", "replace")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        return _deliver(sender, _address(name), message, fds, wait_s)


def _deliver(sender: "socket.socket", address: bytes, message: bytes, fds: list[int], wait_s: float) -> bool:
    import socket

    try:
        sender.settimeout(wait_s)
        sender.connect(address)
        return socket.send_fds(sender, [message], fds) == len(message) if fds else sender.send(message) > 0
    except OSError:  # any errno: nobody there, nobody reading, too long: said by False
        return False


def _address(name: str) -> bytes:
    """An abstract name begins with a zero byte, written as `@`."""
    return os.fsencode(name) if name.startswith("/") else b"\0" + os.fsencode(name[1:])
