"""A connection to whoever is asked: names looked up, sockets connected, and errors in words.

Nothing here waits for longer than the caller's timeout, and no descriptor outlives a failure or a
cancellation. What fails for want of this process's own means is `Unable`: it says nothing about the other.
"""

import asyncio
import errno
import os
import socket
import ssl
from ipaddress import ip_address
from typing import Self

from twinwatch.core.timing import SECOND_NS
from twinwatch.linux.clock import monotonic_ns
from twinwatch.services.checks.aside import aside

READ_MAX = 64 << 10

_RETRY_S = 0.02
_CONTEXT_KEPT_NS = 600 * SECOND_NS  # certificates of the system may be replaced
_OWN_SHORTAGE = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL}
)

_Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


class Unable(Exception):
    """The question could not be asked; the text says what was lacking here."""


class Failed(Exception):
    """A bad answer; the text says why."""


def explain(error: OSError) -> str:
    """An error of a connection in words.

    Raises:
        Unable: it is an error of this side.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return f"name: {(error.strerror or 'unknown').lower()}"
    if error.errno in _OWN_SHORTAGE:
        raise Unable(os.strerror(error.errno).lower())
    return os.strerror(error.errno).lower() if error.errno else str(error) or "connection lost"


class Names:
    """Names are looked up once at a time, so a resolver that hangs has one thread for each name."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[list[_Address]]] = {}

    async def look_up(self, host: str, port: int) -> list[_Address]:
        """Raises OSError (socket.gaierror) or Unable."""
        numeric = _numeric(host, port)
        if numeric is not None:
            return [numeric]
        future = self._asked.get((host, port))
        if future is None:
            future = self._ask(host, port)
        return await asyncio.shield(future)

    def _ask(self, host: str, port: int) -> "asyncio.Future[list[_Address]]":
        try:
            future = aside(lambda: _resolve(host, port))
        except RuntimeError:
            raise Unable("no thread for a name") from None
        self._asked[host, port] = future
        future.add_done_callback(lambda done: self._answered(host, port, done))
        return future

    def _answered(self, host: str, port: int, done: "asyncio.Future[list[_Address]]") -> None:
        del self._asked[host, port]
        if not done.cancelled():
            done.exception()  # whoever asked may be gone


def _numeric(host: str, port: int) -> _Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (socket.AF_INET if address.version == 4 else socket.AF_INET6), (host, port)


def _resolve(host: str, port: int) -> list[_Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


async def connect(names: Names, host: str, port: int, path: str) -> socket.socket:
    """A connected socket, to the Unix socket at `path` if there is one.

    Raises:
        OSError: what the last address said.
        Unable: no name can be looked up for want of means.
    """
    if path:
        return await _connect_unix(path)
    addresses = await names.look_up(host, port)
    for number, (family, address) in enumerate(addresses, 1):
        try:
            return await _connect_ip(family, address)
        except OSError as error:  # any errno: the next address may do
            if number == len(addresses):
                raise
            if error.errno in _OWN_SHORTAGE:
                raise
    raise socket.gaierror(socket.EAI_NODATA, "no address")


async def _connect_ip(
    family: socket.AddressFamily, address: tuple[str, int] | tuple[str, int, int, int]
) -> socket.socket:
    loop = asyncio.get_running_loop()
    link = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await loop.sock_connect(link, address)
        _refuse_itself(link)
    except BaseException:
        link.close()
        raise
    return link


def _refuse_itself(link: socket.socket) -> None:
    """Where nobody listens, the kernel may choose the very port that is asked for the one that asks."""
    if link.getsockname() == link.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")


async def _connect_unix(path: str) -> socket.socket:
    """With a full backlog the kernel says EAGAIN instead of going on by itself: then it is tried again."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        while True:
            try:
                link.connect(path)
            except BlockingIOError:
                await asyncio.sleep(_RETRY_S)
            else:
                return link
    except BaseException:
        link.close()
        raise


class Stream:
    """A connection that is read up to a bound and closed at once. Use it as a context manager."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def open_stream(link: socket.socket, tls_name: str = "") -> Stream:
    """Takes the socket over. `tls_name`: speak TLS, and believe nobody but who is called this.

    Raises OSError; ssl.SSLError is one.
    """
    try:
        context = _tls_context() if tls_name else None
        reader, writer = await asyncio.open_connection(
            sock=link, ssl=context, server_hostname=tls_name or None, limit=READ_MAX
        )
    except BaseException:
        link.close()
        raise
    return Stream(reader, writer)


_context: tuple[int, ssl.SSLContext] | None = None


def _tls_context() -> ssl.SSLContext:
    global _context  # noqa: PLW0603 - it is slow to make
    now_ns = monotonic_ns()
    if _context is None or now_ns - _context[0] > _CONTEXT_KEPT_NS:
        _context = now_ns, ssl.create_default_context()
    return _context[1]
