"""`state`: what the state file says, record by record."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twinwatch.cli.options import Commands, add_command, find_target

if TYPE_CHECKING:
    from twinwatch.cli.output import Output

Rows = Sequence[Mapping[str, Any]]

_EMPTY = (None, "", [], {}, 0, False)


def add(commands: Commands) -> None:
    epilog = "A column that is empty in all rows is left out; --json prints everything."
    command = add_command(commands, "state", "print the state file", epilog, json=True)
    command.set_defaults(run=_state)


def _state(args: argparse.Namespace, output: "Output") -> int:
    from twinwatch.cli.table import plain
    from twinwatch.control.dump import dump

    found = dump(find_target(args))
    if args.json:
        output.json(found)
    else:
        output.stream.write("\n".join(plain(section) for section in sections(found)))
    return 0


def sections(dump: Mapping[str, Any]) -> "Iterator[list[Any]]":
    """One list of blocks for each part of the dump, whatever it holds."""
    from twinwatch.cli.table import Cell, Table, line

    for title, part in dump.items():
        if _is_rows(part):
            yield [line(f"{title}:"), _table(part)]
        elif isinstance(part, Mapping) and _is_rows(list(part.values())):
            yield [line(f"{title}:"), _table([{"": key, **value} for key, value in part.items()])]
        elif isinstance(part, Mapping):
            pairs = flat(part).items()
            yield [line(f"{title}:"), Table(("FIELD", "VALUE"), tuple((Cell(k), Cell(text(v))) for k, v in pairs))]
        else:
            yield [line(f"{title}: {text(part)}")]


def _is_rows(part: object) -> bool:
    return isinstance(part, list) and bool(part) and all(isinstance(row, Mapping) for row in part)


def _table(rows: Rows) -> Any:  # noqa: ANN401 - a Table, which is imported late
    from twinwatch.cli.table import Cell, Table

    flats = [flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flats for name in row))
    used = [name for name in names if any(row.get(name) not in _EMPTY for row in flats)]
    cells = tuple(tuple(Cell(text(row.get(name))) for name in used) for row in flats)
    return Table(tuple(name.upper() for name in used), cells)


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as `outer.inner`."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def text(value: object) -> str:
    """A value in a column: no blank inside a list, a dash for nothing."""
    from twinwatch.cli.human import NOTHING, clean

    match value:
        case None | "" | []:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case list():
            return ",".join(map(text, value))
        case _:
            return clean(str(value))
