"""Where somebody is asked or told: URLs, HOST:PORT, Unix sockets, HTTP headers, and patterns of answers.

Decides only what the text itself shows. Names are not resolved and nobody is asked.
"""

import os
import re
import warnings
from collections.abc import Callable
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import SplitResult, urlsplit

from twinwatch.config.fields import Fields, RefusedError, expected, full_text, text
from twinwatch.config.problem import quoted
from twinwatch.config.tree import Kind, Node, Scalar
from twinwatch.config.workplace import Workplace, path_from
from twinwatch.core.expand import expand

PORT_MAX = 65535
SOCKET_PATH_MAX = 107  # bytes, without the NUL that ends it in sockaddr_un

_PRINTABLE = re.compile(r"[!-~]+")
_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,10}))?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t -~\xa0-\xff]*")


def url(place: Workplace) -> Callable[[Node], str]:
    """An http or https URL, right for every instance."""

    def read(node: Node) -> str:
        place.each_instance(node, full_text(node), check_url)
        return text(node)

    return read


def plain_url(node: Node) -> str:
    """An http or https URL as it is written."""
    check_url(node, full_text(node))
    return text(node)


def host_and_port(place: Workplace) -> Callable[[Node], str]:
    """`HOST:PORT`, right for every instance."""

    def read(node: Node) -> str:
        place.each_instance(node, text(node), _check_address)
        return text(node)

    return read


def unix_socket(place: Workplace) -> Callable[[Node], str]:
    """The path of a Unix socket, absolute or from the worker's directory."""

    def read(node: Node) -> str:
        path = path_from(place.directory)(node)
        place.each_instance(node, path, _check_socket)
        return path

    return read


def check_url(node: Node, value: str) -> None:
    """Refuse what is no URL that can be asked."""
    if not _PRINTABLE.fullmatch(value):
        raise RefusedError(node, "a URL holds no spaces and nothing but ASCII: write such characters as %XX")
    parts = _split(node, value)
    if parts.scheme not in {"http", "https"} or not value.lower().startswith(f"{parts.scheme}://"):
        raise expected("a URL that begins with http:// or https://", node)
    if "@" in parts.netloc:
        raise RefusedError(node, "a URL holds no user and password here: put `Authorization` into `headers`")
    _check_host(node, parts.netloc, "a host, and a port if any, after the ://")


def _split(node: Node, value: str) -> SplitResult:
    try:
        return urlsplit(value)
    except ValueError as error:
        raise RefusedError(node, f"is no URL: {error}") from None


def _check_address(node: Node, value: str) -> None:
    _check_host(node, value, "HOST:PORT, such as localhost:5432 or [::1]:5432", needs_port=True)


def _check_host(node: Node, value: str, what: str, *, needs_port: bool = False) -> None:
    match = _HOST_PORT.fullmatch(value)
    if match is None or (needs_port and match["port"] is None):
        raise expected(what, node)
    if match["port"] is not None and not 1 <= int(match["port"]) <= PORT_MAX:
        raise RefusedError(node, f"a port is 1 to {PORT_MAX}, found {int(match['port'])}")
    if match["host"].startswith("["):
        _check_v6(node, match["host"][1:-1])


def _check_v6(node: Node, value: str) -> None:
    try:
        IPv6Address(value)
    except AddressValueError:
        raise RefusedError(node, f"{quoted(value)} is no IPv6 address") from None


def _check_socket(node: Node, path: str) -> None:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_MAX:
        message = f"the path of a Unix socket has at most {SOCKET_PATH_MAX} bytes, this one has {length}"
        raise RefusedError(node, message)


def pattern(node: Node) -> str:
    """A regular expression of Python's `re`."""
    value = full_text(node)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(expand(value, 0))
    except (re.error, OverflowError, RecursionError) as error:
        raise RefusedError(node, f"is no regular expression: {error}") from None
    return value


def read_headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    """HTTP headers, in the order of the file."""
    return fields.each(_header)


def _header(name: str, node: Node) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise RefusedError(node, f"{quoted(name)} cannot name a header", node.label)
    is_number = isinstance(node, Scalar) and node.kind in {Kind.INTEGER, Kind.NUMBER}
    value = node.text if is_number and isinstance(node, Scalar) else text(node)
    if not _HEADER_VALUE.fullmatch(value):
        raise RefusedError(node, "a header's value is one line of Latin-1")
    return value
