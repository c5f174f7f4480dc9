"""The guards of races in the code: each comment that begins with a race id, and the statement that it marks."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "twinwatch"
_GUARD = re.compile(r"#\s*R\d\d\b")
_RACE = re.compile(r"\bR\d\d\b")
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Site:
    """One guard. `where` outlives an edit elsewhere in the file, as a line number would not."""

    race: str
    path: str  # below the checkout
    function: str  # qualified; the second guard of its race there has `#2` behind it
    statement: ast.stmt = field(compare=False, repr=False)

    @property
    def where(self) -> str:
        return f"{self.path.removeprefix(f'{PACKAGE}/')}:{self.function}"

    @property
    def key(self) -> tuple[str, str]:
        return self.race, self.where

    @property
    def test(self) -> str:
        return f"tests/races/test_{self.race.lower()}.py"


def read_code(root: Path = ROOT) -> dict[str, str]:
    """Path below `root` -> text of every module of the package."""
    return {
        str(path.relative_to(root)): path.read_text("utf-8")
        for path in sorted((root / PACKAGE).rglob("*.py"))
    }


def find_sites(path: str, text: str) -> list[Site]:
    """In the order of the file."""
    statements = list(walk_statements(ast.parse(text)))
    found: list[Site] = []
    for comment in _comments(text):
        scope, statement = _marked(statements, comment)
        for race in dict.fromkeys(_RACE.findall(comment.string)):
            before = [s for s in found if s.race == race and s.function.partition("#")[0] == scope]
            number = f"#{len(before) + 1}" if before else ""
            found.append(Site(race, path, scope + number, statement))
    return found


def find_all(code: dict[str, str]) -> list[Site]:
    """In the order of race ids."""
    found = [site for path, text in code.items() for site in find_sites(path, text)]
    return sorted(found, key=lambda site: site.key)


def walk_statements(node: ast.AST, scope: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """(qualified name of the function or class around it, statement), outer ones first."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield scope, child
        inner = f"{scope}.{child.name}".lstrip(".") if isinstance(child, _SCOPES) else scope
        yield from walk_statements(child, inner)


def _comments(text: str) -> Iterator[tokenize.TokenInfo]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and _GUARD.match(token.string):
            yield token


def _marked(statements: list[tuple[str, ast.stmt]], comment: tokenize.TokenInfo) -> tuple[str, ast.stmt]:
    """What a comment marks: the statement in whose head it stands, or the next one when it stands alone."""
    line, column = comment.start
    if not comment.line[:column].strip():
        following = [found for found in statements if found[1].lineno > line]
        return min(following, key=lambda found: found[1].lineno)
    around = [found for found in statements if found[1].lineno <= line <= _head_end(found[1])]
    return max(around, key=lambda found: found[1].lineno)


def _head_end(statement: ast.stmt) -> int:
    """Last line of a simple statement, or of what a compound one says before its body."""
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if body else statement.end_lineno
    return max(statement.lineno, end or 0)
