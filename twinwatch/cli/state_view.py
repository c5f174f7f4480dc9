"""Any dump as aligned text: a section for each of its parts, a table where a part has rows.

It is as wide as it must be, and the same on a terminal and in a pipe.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from twinwatch.cli.human import NOTHING, clean
from twinwatch.cli.table import Block, Cell, Table, line, plain

_EMPTY: tuple[object, ...] = (None, "", [], 0)


def text(dump: Mapping[str, Any]) -> str:
    """The dump, its sections apart by an empty line."""
    return "\n".join(plain(_section(title, part)) for title, part in dump.items())


def _section(title: str, part: object) -> list[Block]:
    match part:
        case [Mapping(), *_]:
            return [line(f"{title}:"), _table([row for row in part if isinstance(row, Mapping)])]
        case Mapping() if part and all(isinstance(value, Mapping) for value in part.values()):
            return [line(f"{title}:"), _table([{"of": key, **value} for key, value in part.items()])]
        case Mapping():
            rows = tuple((Cell(name), Cell(_value(value))) for name, value in flat(part).items())
            return [line(f"{title}:"), Table(("FIELD", "VALUE"), rows)]
        case _:
            return [line(f"{title}: {_value(part)}")]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    flats = [row for row in map(flat, rows) if _says_something(row)]
    names = dict.fromkeys(name for row in flats for name in row)
    used = [name for name in names if any(row.get(name) not in _EMPTY for row in flats)]
    cells = tuple(tuple(Cell(_value(row.get(name))) for name in used) for row in flats)
    return Table(tuple(name.upper() for name in used), cells)


def _says_something(row: Mapping[str, Any]) -> bool:
    """Whether there is more in it than which row it is."""
    return any(value not in _EMPTY for value in [*row.values()][1:])


def flat(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as `outer.inner`."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _value(value: object) -> str:
    match value:
        case None | "" | []:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case list():
            return ",".join(map(_value, value))
        case Mapping():
            return " ".join(f"{name}={_value(inner)}" for name, inner in flat(value).items())
        case _:
            return clean(str(value))
