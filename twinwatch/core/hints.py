"""What a watcher's code needs of `typing`: only type checkers load that, which costs each pair half a MiB."""

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Never, NoReturn, Self, TypeVar
else:
    Any = Never = NoReturn = Self = object

    def TypeVar(_name: str) -> type:  # noqa: N802 - as it is called there
        """Anything, as far as an annotation goes that nobody reads."""
        return object


__all__ = ["Any", "Never", "NoReturn", "Self", "TypeVar", "unforeseen"]


def unforeseen(value: Never) -> AssertionError:
    """To be raised where no case is left: the type checker proves that none is."""
    return AssertionError(f"not foreseen: {value!r}")
