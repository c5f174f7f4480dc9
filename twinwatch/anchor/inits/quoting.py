"""Words of a command line as a shell or systemd reads them back, and what neither can be given."""

import re

from twinwatch.anchor.inits.recipe import Unfit

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_SYSTEMD_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+", re.ASCII)
_NOT_IN_PROGRAMS = dict.fromkeys("$'\"\\").keys()


def check(what: str, word: str) -> str:
    """The same word. Raises Unfit for one that no line of text holds."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Unfit(f"{what} is not UTF-8: {word!r}: no init's file can hold it") from None
    if any(character < " " or character == "\x7f" for character in word):
        raise Unfit(f"{what} has a control character: {word!r}: no init's file can hold it")
    return word


def shell(word: str) -> str:
    """One word for sh."""
    if _PLAIN.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


def shell_line(words: tuple[str, ...]) -> str:
    return " ".join(map(shell, words))


def systemd(word: str) -> str:
    """One item of a list, such as an assignment of Environment=: `%` begins a specifier."""
    if _SYSTEMD_PLAIN.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def systemd_line(words: tuple[str, ...]) -> str:
    """A command of ExecStart=. In all words but the first, `$` begins a variable.

    Raises:
        Unfit: the first word has a `$`, which cannot be escaped there, or what systemd takes in no program.
    """
    program, *arguments = words
    if set(program) & _NOT_IN_PROGRAMS:
        raise Unfit(
            f"systemd starts no program whose path has one of {' '.join(_NOT_IN_PROGRAMS)}: {program}"
        )
    return " ".join((systemd(program), *(systemd(word).replace("$", "$$") for word in arguments)))
