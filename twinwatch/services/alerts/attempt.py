"""One attempt to deliver one message: a child process in a session of its own, and its end.

The child holds the service's slot token, as all that a worker starts does: where the service is killed, the
watchers end the child before the next service begins. Nobody waits for it but by its pidfd; what it leaves
in its group is ended with it.
"""

import json
import os
import subprocess
import sys

from twinwatch.core.spec import Alert
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS
from twinwatch.linux import process, remains
from twinwatch.linux.identity import identify, is_dead
from twinwatch.services.alerts import message
from twinwatch.services.alerts.message import Document

_DELIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deliver.py")
_NOT_INHERITED = ("TWINWATCH_HEARTBEAT", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")  # the service's
_REPORT_MAX = 300  # bytes


class Attempt:
    """Raises OSError where the child cannot be started."""

    def __init__(self, alert: Alert, document: Document, token: str, now_ns: int) -> None:
        self.deadline_ns = now_ns + alert.timeout_ns
        self.is_ended = False
        self._timeout_ns = alert.timeout_ns
        self._token = token
        self._report = os.memfd_create("report", os.MFD_CLOEXEC)
        try:
            self._child = self._start(alert, document)
        except OSError:  # any errno: told by who asked for it
            os.close(self._report)
            raise
        self.pidfd = os.pidfd_open(self._child.pid)
        self._identity = identify(self._child.pid, self.pidfd)

    def _start(self, alert: Alert, document: Document) -> "subprocess.Popen[bytes]":
        paper = os.memfd_create("message", os.MFD_CLOEXEC)
        try:
            with open(paper, "w", encoding="utf-8", closefd=False) as file:
                json.dump(document if alert.command else _order(alert, document), file)
            os.lseek(paper, 0, os.SEEK_SET)
            return subprocess.Popen(
                alert.command or [sys.executable, "-P", _DELIVER],
                stdin=paper,
                stdout=None if alert.command else self._report,
                env=_environment(document),
                start_new_session=True,
                close_fds=False,  # the token
            )
        finally:
            os.close(paper)

    @property
    def is_over(self) -> bool:
        return is_dead(self.pidfd)

    def end(self) -> None:
        """KILL it, and all of its group."""
        self.is_ended = True
        self._end_group()
        process.send(self.pidfd, 9)

    def wait_over(self, timeout_ns: int) -> bool:
        return process.wait_dead(self.pidfd, timeout_ns // MILLISECOND_NS)

    def close(self) -> str:
        """Collect it, and end what it left. Why it did not deliver; '' if it did."""
        self._end_group()
        code = self._child.wait()
        os.close(self.pidfd)
        report = os.pread(self._report, _REPORT_MAX, 0).decode(errors="replace")
        os.close(self._report)
        if self.is_ended:
            return f"not done within {self._timeout_ns / SECOND_NS:g} s"
        if code < 0:
            return f"signal {-code}"
        return (report or f"exit code {code}") if code else ""

    def _end_group(self) -> None:
        remains.end_group(self._identity, self.pidfd, self._token)


def _order(alert: Alert, document: Document) -> dict[str, object]:
    return {
        "webhook": alert.webhook,
        "headers": alert.headers,
        "apprise": alert.apprise,
        "timeout_s": alert.timeout_ns / SECOND_NS,
        "document": document,
    }


def _environment(document: Document) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return own | message.environment(document)


def target_of(alert: Alert) -> str:
    """Whom an alert tells, without what is secret in an address."""
    if alert.command:
        return f"command {alert.command[0]}"
    if alert.webhook:
        return f"webhook {alert.webhook.partition('://')[2].partition('/')[0].rpartition('@')[2]}"
    return f"apprise {alert.apprise.partition(':')[0]}"
