"""What a watcher that crashes leaves of its error, without the half MiB that `traceback` would take."""

import sys

_FRAMES = 3


def brief(error: BaseException | None) -> str:
    """Where it was raised, innermost last, and the error."""
    if error is None:
        return ""
    at, lines = error.__traceback__, []
    while at is not None:
        code = at.tb_frame.f_code
        lines.append(f"{code.co_filename}:{at.tb_lineno} in {code.co_name}")
        at = at.tb_next
    return "\n".join([*lines[-_FRAMES:], f"{type(error).__name__}: {error}"])


def tell(error: BaseException) -> None:
    """All of it, on standard error, as Python does at its own end."""
    sys.__excepthook__(type(error), error, error.__traceback__)
    sys.stderr.flush()
