"""A program of its own: delivers one message, given as JSON on its standard input, by HTTP or Apprise.

Delivered: exit code 0. Otherwise why not stands on its standard output. Addresses are secrets of their own
(tokens in URLs): they are neither in its arguments nor in what it says. Who waits for it bounds its time.
"""

import importlib
import json
import os
import signal
import sys
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

_report = 1


def _fail(reason: str) -> NoReturn:
    os.write(_report, reason.encode(errors="replace"))
    sys.exit(1)


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its message, and count as delivered."""

    def redirect_request(
        self, _req: Request, _fp: IO[bytes], _code: int, _msg: str, _headers: HTTPMessage, _newurl: str
    ) -> None:
        return None


def post(url: str, headers: list[list[str]], body: bytes, timeout_s: float) -> None:
    """POST, with proxies as the environment has them. Only a status of 2xx is success."""
    if not url.startswith(("http://", "https://")):
        _fail("a webhook is http:// or https://")
    usual = {"Content-Type": "application/json", "User-Agent": "twinwatch"}
    try:
        request = Request(url, body, usual | dict(headers), method="POST")  # noqa: S310 - looked at above
        build_opener(_NoRedirect).open(request, timeout=timeout_s).close()
    except HTTPError as error:
        error.close()
        _fail(f"HTTP status {error.code}")
    except URLError as error:
        _fail(str(getattr(error.reason, "strerror", None) or error.reason))
    except (HTTPException, ValueError) as error:
        _fail(f"no HTTP: {type(error).__name__}")
    except OSError as error:  # any errno: it is told
        _fail(error.strerror or type(error).__name__)


def notify(url: str, message: dict[str, Any]) -> None:
    try:
        apprise = importlib.import_module("apprise")
    except ImportError:
        _fail("apprise is not installed: pip install 'twinwatch[alerts]'")
    messenger = apprise.Apprise()
    if not messenger.add(url):
        _fail("apprise does not know this kind of address")
    if not messenger.notify(title=message["subject"], body=message["text"]):
        _fail("apprise could not deliver it")


def main() -> None:
    global _report  # noqa: PLW0603 - whatever a library prints is no report
    _report = os.dup(1)
    os.dup2(2, 1)
    order = json.load(sys.stdin)
    signal.setitimer(signal.ITIMER_REAL, order["timeout_s"] + 1)  # also where nobody waits any more
    message = order["document"]
    if order["apprise"]:
        notify(order["apprise"], message)
    else:
        post(order["webhook"], order["headers"], json.dumps(message).encode(), order["timeout_s"])


if __name__ == "__main__":
    main()
