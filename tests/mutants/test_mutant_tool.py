"""The tool that removes guards: what it finds, what it makes of it, and what it calls noticed."""

import ast
from collections.abc import Iterator

import mutant_rules
import pytest
from mutant_bench import Bench, Verdict
from mutant_generic import TESTS, mutants_of
from mutant_rules import Mutant, Rewrite, StaleRuleError, complaints, mutate
from mutant_sites import ROOT, find_sites

SOURCE = """\
class Lock:
    def take(self):
        if self.ours:  # R01
            return
        # R02: first of all
        self.call()
        with self.lock:  # R03: under it
            x = 1
        if x:
            pass
        elif (
            self.é or
            y
        ):  # R01
            z = "# R04"  # see R05
"""


def test_each_marked_statement_is_found():
    found = find_sites("twinwatch/a.py", SOURCE)
    assert [(*site.key, site.statement.lineno) for site in found] == [
        ("R01", "a.py:Lock.take", 3),
        ("R02", "a.py:Lock.take", 6),
        ("R03", "a.py:Lock.take", 7),
        ("R01", "a.py:Lock.take#2", 11),
    ]


def test_syntax_says_what_takes_a_guard_away():
    mutants = [mutate(site, SOURCE) for site in find_sites("twinwatch/a.py", SOURCE)]
    assert [mutant.words for mutant in mutants] == [
        "`if self.ours`: never",
        "`self.call()`: left out",
        "`with self.lock`: without",
        "`if self.é or y`: never",
    ]
    lines = [set(mutant.text.splitlines()) - set(SOURCE.splitlines()) for mutant in mutants]
    assert lines == [
        {"        if False:  # R01"},
        {"        pass"},
        {"        with __import__('contextlib').nullcontext():  # R03: under it"},
        {"            False"},
    ]


def test_a_guard_without_a_mutation_is_an_error():
    text = "def f():\n    return 1  # R01\n"
    (site,) = find_sites("twinwatch/a.py", text)
    with pytest.raises(StaleRuleError, match="what takes this guard away"):
        mutate(site, text)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (("return 2", ""), "exactly once"),
        (("    ", "  "), "exactly once"),
        (("return 1", "return 1  "), "changes nothing"),
        (("return 1", "return ("), "no Python"),
    ],
)
def test_a_rule_that_does_not_fit_is_an_error(monkeypatch, edit, complaint):
    text = "def f():\n    return 1  # R01\n\ndef g():\n    return 3\n"
    sites = find_sites("twinwatch/a.py", text)
    monkeypatch.setattr(mutant_rules, "RULES", {("R01", "a.py:f"): Rewrite("other", edit)})
    assert complaint in complaints(sites, {"twinwatch/a.py": text})[0]
    (vanished,) = complaints([], {})
    assert "a rule without its guard" in vanished


FENCE = "twinwatch/core/fence.py"
RACE = ("tests/races/test_r09.py",)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as begun:
        yield begun


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ("# R09", "# it is as it was", Verdict.SURVIVED),
        ("header.config_generation != claim.config_generation", "False", Verdict.KILLED),
        ("header.config_generation != claim.config_generation", "nobody", Verdict.NONSENSE),
        ("from dataclasses", "from nowhere", Verdict.NONSENSE),
    ],
)
def test_what_counts_as_noticed(bench, old, new, verdict):
    text = (ROOT / FENCE).read_text("utf-8")
    outcome = bench.run(RACE, Mutant(FENCE, text.replace(old, new), ""), guarded_only=True)
    assert outcome.verdict is verdict, outcome
    assert (bench.tree / FENCE).read_text("utf-8") == text


def test_a_run_without_a_test_says_nothing(bench):
    assert bench.run(("tests/mutants/mutant_sites.py",), guarded_only=True).verdict is Verdict.UNFIT


def test_a_module_is_taken_apart():
    text = '''
def f(a):
    """What it does."""
    with a.lock:
        a.n += 1
    if a and not b:
        raise E
    c = 1 if a else 2
    a.x = c
    return a or c
'''
    found = list(mutants_of("a.py", text))
    for _, mutant in found:
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse(text))
    assert [(line, mutant.words) for line, mutant in found] == [
        (4, "f: without `a.lock`"),
        (5, "f: `a.n += 1` left out"),
        (6, "f: `a and not b` turned round"),
        (6, "f: operand `a` of `a and not b` left out"),
        (6, "f: operand `not b` of `a and not b` left out"),
        (7, "f: `raise E` left out"),
        (8, "f: `a` turned round"),
        (9, "f: `a.x = c` left out"),
        (10, "f: operand `a` of `a or c` left out"),
        (10, "f: operand `c` of `a or c` left out"),
    ]


def test_what_is_asked_exists():
    for path, tests in TESTS.items():
        assert (ROOT / path).is_file()
        assert [test for test in tests if not (ROOT / test).exists()] == []
