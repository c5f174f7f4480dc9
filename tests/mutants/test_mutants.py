"""Each guard of a race is removed from the code in turn: the race's own tests have to notice."""

import re
from collections.abc import Iterator

import pytest
from mutant_bench import Verdict
from mutant_rules import complaints, mutate
from mutant_sites import ROOT, Site, find_all, read_code
from mutant_table import BEGIN, DOCUMENT, END, Trial, cells_of, line_of

pytestmark = pytest.mark.timeout(600)  # one test runs another, and the first one all of them

CODE = read_code()
SITES = find_all(CODE)


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with Trial(SITES, CODE) as begun:
        yield begun


@pytest.mark.parametrize("site", SITES, ids=lambda site: f"{site.race}-{site.where}")
def test_a_removed_guard_is_noticed(site: Site, trial: Trial):
    row = trial.ask(site)
    assert row.outcome.verdict is Verdict.KILLED, line_of(row)


def test_every_guard_has_one_mutant():
    found = complaints(SITES, CODE)
    assert not found, "\n".join(found)


def test_the_docs_list_these_guards():
    _, _, rest = (ROOT / DOCUMENT).read_text("utf-8").partition(BEGIN)
    rows = re.findall(r"^\| (R\d\d) \| (`[^`]+`) \| (.*) \| `\S+` \|$", rest.partition(END)[0], re.MULTILINE)
    expected = [cells_of(site, mutate(site, CODE[site.path]).words) for site in SITES]
    assert rows == expected, "make the table anew: scripts/mutate-guards --write"
