"""The protocol in docs/model/pair.pml keeps its promises, and does not where a guard is taken out."""

import re

import check_model
import pytest
from model_kit import MODEL, Result, Run, Search, absent, check, read
from model_runs import LIMITS, LONG, MUTANTS, SECOND_LINES, SHORT

NAMED = [*SHORT, *MUTANTS, *SECOND_LINES, *LIMITS, *LONG]
TAKEN_OUT = re.compile(r"(?:NO_\w+|OPEN_FIRST|KEEP_LOCK|BLIND_TAKEOVER|EOF_IS_DEATH|ACK_ONLY)=1")


def name_of(run: Run) -> str:
    return run.name.replace(" ", "-").replace(",", "")


@pytest.fixture
def checked(tmp_path):
    def check_here(run: Run) -> Result:
        if lacking := absent():
            pytest.skip(f"interpreter absent: {lacking}")
        result = check(run, tmp_path)
        print(result)
        return result

    return check_here


@pytest.mark.parametrize("run", SHORT, ids=name_of)
def test_every_promise_holds(checked, run):
    result = checked(run)
    assert result.broken == ""
    assert result.is_exhaustive, result.why_not


@pytest.mark.parametrize("run", MUTANTS, ids=name_of)
def test_a_guard_taken_out_is_found(checked, run):
    assert checked(run).broken == run.finds


@pytest.mark.parametrize("run", SECOND_LINES, ids=name_of)
def test_a_second_line_alone_is_not_missed(checked, run):
    result = checked(run)
    assert result.broken == ""
    assert result.is_exhaustive, result.why_not


@pytest.mark.parametrize("run", LIMITS, ids=name_of)
def test_how_many_kills_are_survived(checked, run):
    assert checked(run).broken == run.finds


# ------------------------------------------------------------------ the tables themselves


def without_mutation(run: Run) -> frozenset[str]:
    kept = {switch for switch in run.bounds if not TAKEN_OUT.fullmatch(switch)}
    if "ONE_ACTS=1" not in kept:
        kept.discard("CLAIM_ON_KILL=1")
    return frozenset(kept)


@pytest.mark.parametrize("run", MUTANTS, ids=name_of)
def test_the_same_bounds_are_checked_unmutated(run):
    assert any(without_mutation(run) == whole.bounds and run.search is whole.search for whole in SHORT)


def test_names_are_unique():
    for runs in (SHORT, MUTANTS, SECOND_LINES, LIMITS, LONG):
        names = [run.name for run in runs]
        assert len(set(names)) == len(names)


def test_every_switch_is_one_of_the_model():
    known = set(re.findall(r"^#ifndef (\w+)", MODEL.read_text(), re.MULTILINE))
    used = {switch.partition("=")[0] for run in NAMED for switch in run.bounds}
    assert used <= known


def test_every_expected_promise_is_one_of_the_model():
    known = set(re.findall(r"^bit (P\w+) = 1;", MODEL.read_text(), re.MULTILINE))
    assert {run.finds for run in NAMED} - {"", "cycle"} <= known


# ------------------------------------------------------------------ the checker's report

REPORT = """
State-vector 228 byte, depth reached 41, errors: 0
    49755 states, stored
  146.237	total actual memory usage
"""


@pytest.mark.parametrize(
    ("text", "broken", "why_not"),
    [
        (REPORT, "", ""),
        (REPORT + "out of time", "", "out of time"),
        ("error: max search depth too small" + REPORT, "", "too deep"),
        ("pan: reached -DMEMLIM bound" + REPORT, "", "out of memory"),
        (
            "pan:1: assertion violated P1_x (at depth 3)" + REPORT.replace("errors: 0", "errors: 1"),
            "P1_x",
            "",
        ),
        ("pan:1: acceptance cycle (at depth 3)" + REPORT.replace("errors: 0", "errors: 1"), "cycle", ""),
    ],
)
def test_a_report_is_understood(text, broken, why_not):
    result = read(Run("x"), text, 1.0)
    assert (result.broken, result.why_not) == (broken, why_not)
    assert result.is_exhaustive is (not broken and not why_not)
    assert (result.states, result.depth, result.memory_mb) == (49755, 41, 146)


def test_bitstate_is_never_exhaustive():
    assert not read(Run("x", search=Search.BITSTATE), REPORT, 1.0).is_exhaustive


def test_a_report_without_figures_is_an_error():
    with pytest.raises(RuntimeError):
        read(Run("x"), "pan: something else", 1.0)


# ------------------------------------------------------------------ scripts/check-model


def result_of(run: Run, states: int) -> Result:
    return Result(run, run.finds, not run.finds, "", states, 5, 1.0, 100)


def test_tables_keep_the_rows_that_were_not_made_now(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- runs -->\n<!-- /runs -->\nbelow\n")
    monkeypatch.setattr(check_model, "README", readme)
    check_model.write("runs", [result_of(SHORT[1], 1), result_of(SHORT[0], 2)])
    check_model.write("runs", [result_of(SHORT[1], 3)])
    lines = readme.read_text().splitlines()
    assert [lines[0], lines[-1]] == ["above", "below"]
    assert [line.split(" | ")[2] for line in lines[4:-2]] == ["2", "3"]
    with pytest.raises(RuntimeError):
        check_model.write("mutants", [])


def test_an_interleaving_is_shown(checked, tmp_path):
    run = next(run for run in MUTANTS if run.name == "names not looked at")
    checked(run)
    shown = list(check_model.steps(run, tmp_path))
    assert any("= TAKES_RECORD" in line for line in shown)
    assert shown[-1].endswith("P1_one_slot_a_process = 0")


def test_the_readme_shows_every_run():
    text = check_model.README.read_text()
    for name, runs in check_model.TABLES.items():
        table = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
        shown = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[3:]]
        assert shown == [run.name for run in runs], name
