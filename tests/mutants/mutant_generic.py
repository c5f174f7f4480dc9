"""Mutants of a whole module: each condition turned round, each operand left out, each act left out.

For guards that carry no race id. An assignment to a local name is left alone, for without it the function
is no program; so is a `return`, which the condition before it stands for, and what `__init__` begins with.
"""

import ast
from collections.abc import Iterator

from mutant_rules import UNLOCKED, Mutant, flat, put
from mutant_sites import walk_statements

_CORE = "tests/unit/test_core_"
_SHORT = 60


def _races(*numbers: int) -> tuple[str, ...]:
    return tuple(f"tests/races/test_r{number:02}.py" for number in numbers)


# Which tests a module is asked with, quick ones first; of races only those that are played with the guard.
TESTS: dict[str, tuple[str, ...]] = {
    "twinwatch/core/fence.py": (f"{_CORE}fence.py", *_races(4, 8, 9)),
    "twinwatch/core/judge.py": (f"{_CORE}judge.py", *_races(17)),
    "twinwatch/core/record.py": (
        *(
            "tests/unit/test_docs_state_file.py",
            "tests/contract/test_statefile.py",
            f"{_CORE}record.py",
            "tests/unit/test_mutant_record.py",
        ),
        *_races(1, 19),
    ),
    "twinwatch/core/reconcile.py": (
        *("tests/unit/test_docs_architecture.py", f"{_CORE}reconcile.py", f"{_CORE}reconcile_life.py"),
        *(f"{_CORE}kinship.py", f"{_CORE}reconcile_world.py", f"{_CORE}group_world.py"),
        *_races(7, 23, 26, 27),
    ),
    "twinwatch/linux/statefile.py": ("tests/contract/test_statefile.py", *_races(1, 2, 3, 12, 19)),
    "twinwatch/linux/lock.py": (
        "tests/contract/test_lock.py",
        "tests/contract/test_lock_wait.py",
        *_races(5, 6),
    ),
    "twinwatch/linux/birth.py": ("tests/contract/test_birth.py", *_races(4, 8, 9, 12)),
    "twinwatch/linux/gate.py": (
        *("tests/contract/test_gate.py", "tests/contract/test_launch.py", "tests/contract/test_hook.py"),
        *_races(10, 11, 14),
    ),
    "twinwatch/watch/reserve.py": (
        *("tests/contract/test_takeover_spacing.py", *_races(2, 4, 14, 22, 26, 10, 13, 16)),
    ),
    "twinwatch/watch/twin.py": (
        "tests/contract/test_twin.py",
        "tests/contract/test_third.py",
        *_races(17, 21, 16),
    ),
}


def mutants_of(path: str, text: str) -> Iterator[tuple[int, Mutant]]:
    """(line, mutant) of everything that can be turned round or left out."""
    for scope, statement in walk_statements(ast.parse(text)):
        if not scope or scope.endswith(".__init__"):
            continue
        for node, new, words in _changes(text, statement):
            yield node.lineno, Mutant(path, put(text, node, new), f"{scope}: {words}")


Change = tuple[ast.expr | ast.stmt, str, str]


def _changes(text: str, statement: ast.stmt) -> Iterator[Change]:
    match statement:
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Constant):
            yield test, f"not ({flat(text, test)})", f"`{_short(text, test)}` turned round"
        case ast.With(items=[ast.withitem(context_expr=ast.Attribute(attr="lock"), optional_vars=None)]):
            lock = statement.items[0].context_expr
            yield (
                lock,
                UNLOCKED,
                f"without `{flat(text, lock)}`",
            )
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr() | ast.Raise() | ast.AugAssign() | ast.Delete():
            yield statement, "pass", f"`{_short(text, statement)}` left out"
        case ast.Assign(targets=[target]) if isinstance(target, ast.Attribute | ast.Subscript):
            yield statement, "pass", f"`{_short(text, statement)}` left out"
    for node in _own_expressions(statement):
        yield from _operands(text, node)


def _operands(text: str, node: ast.expr) -> Iterator[Change]:
    match node:
        case ast.IfExp(test=test):
            yield test, f"not ({flat(text, test)})", f"`{_short(text, test)}` turned round"
        case ast.BoolOp(op=op, values=values):
            neutral = "True" if isinstance(op, ast.And) else "False"
            for value in values:
                yield value, neutral, f"operand `{_short(text, value)}` of `{_short(text, node)}` left out"


def _own_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """Expressions of a statement that belong to none inside it."""
    waiting = list(ast.iter_child_nodes(statement))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            continue
        if isinstance(node, ast.expr):
            yield node
        waiting += ast.iter_child_nodes(node)


def _short(text: str, node: ast.AST) -> str:
    words = flat(text, node)
    return words if len(words) <= _SHORT else f"{words[:_SHORT]}…"
