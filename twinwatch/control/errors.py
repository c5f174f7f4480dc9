"""The user's errors: one line that says what to do, and an exit status as LSB init scripts have them."""

FAILED = 1
USAGE = 2
NOT_ALLOWED = 4
NOT_INSTALLED = 5
NOT_CONFIGURED = 6
NOT_RUNNING = 7


class ControlError(Exception):
    """A command that cannot be carried out."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
