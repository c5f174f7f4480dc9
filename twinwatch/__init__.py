"""A pair of watchers that guard each other, and your processes.

Watchers load this package too, so the names below are loaded when a guarded program asks for them.
"""

__version__ = "0.1.0"
__all__ = ["Heartbeat", "RegistrationError", "notify", "register"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from twinwatch.client.heartbeat import Heartbeat
    from twinwatch.client.notify import notify
    from twinwatch.client.registration import RegistrationError, register


def __getattr__(name: str) -> object:
    """What a guarded program uses (PEP 562)."""
    match name:
        case "Heartbeat":
            from twinwatch.client.heartbeat import Heartbeat

            return Heartbeat
        case "notify":
            from twinwatch.client.notify import notify

            return notify
        case "register" | "RegistrationError":
            from twinwatch.client import registration

            return registration.register if name == "register" else registration.RegistrationError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
