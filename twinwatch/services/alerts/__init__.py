"""Telling people what the pair has seen, by a command, a webhook or Apprise: an internal worker.

Each alert (`core.spec.Alert`) is told on its own, so a slow target delays no other one. What was read,
collected and not delivered yet is in `alerts.json` before it is sent: killed at any moment, the service loses
nothing, and repeats at most what it had sent and not yet ticked off (such a repetition has the same `id`).
"""

from twinwatch.services.alerts.telling import main

__all__ = ["main"]
