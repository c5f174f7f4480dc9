"""One row for each guard: what removed it, who noticed, how long that took; and the table in the docs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from mutant_bench import Bench, Outcome, Verdict
from mutant_rules import mutate, mutate_first
from mutant_sites import Site

DOCUMENT = "docs/mutants.md"
BEGIN, END = "<!-- written by scripts/mutate-guards -->", "<!-- end of written -->"
_SLOWER = 10  # than the longest test without the mutant: so long may a scene wait in vain, ...
_PATIENCE_S = 3.0  # ... and at least this long


@dataclass(frozen=True, slots=True)
class Row:
    site: Site
    words: str
    outcome: Outcome | None


def known_of(site: Site, code: dict[str, str]) -> str:
    return mutate(site, code[site.path]).words


class Trial:
    """Asks the tests of races, first all that will be asked without a mutant. Use as a context manager."""

    def __init__(self, sites: list[Site], code: dict[str, str]) -> None:
        self._code = code
        self._bench = Bench()
        self._whole = self._bench.run(tuple(sorted({site.test for site in sites})), guarded_only=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bench.__exit__()

    def ask(self, site: Site) -> Row:
        """Remove one guard. A test that fails without that as well has noticed nothing."""
        text = self._code[site.path]
        mutant = mutate(site, text)
        if self._whole.verdict is not Verdict.SURVIVED:
            return self._unfit(site, mutant.words, "without a mutant", self._whole)
        first = mutate_first(site, text)
        alone = self._bench.run((site.test,), first, guarded_only=True) if first else self._whole
        if alone.verdict is not Verdict.SURVIVED:
            return self._unfit(site, mutant.words, "its first edit alone, said to harm nobody", alone)
        patience_s = max(_PATIENCE_S, _SLOWER * self._whole.longest[site.test])
        outcome = self._bench.run((site.test,), mutant, guarded_only=True, patience_s=patience_s)
        return Row(site, mutant.words, outcome)

    def _unfit(self, site: Site, words: str, when: str, found: Outcome) -> Row:
        return Row(site, words, replace(found, verdict=Verdict.UNFIT, why=f"{when}: {found.why}"))


def ask_all(sites: list[Site], code: dict[str, str], tell: Callable[[Row], None]) -> list[Row]:
    rows = []
    with Trial(sites, code) as trial:
        for site in sites:
            rows.append(trial.ask(site))
            tell(rows[-1])
    return rows


def line_of(row: Row) -> str:
    """For a terminal."""
    head = f"{row.site.race} {row.site.where}: {row.words}"
    if row.outcome is None:
        return head
    found = row.outcome
    tail = f"by {found.test}" if found.verdict is Verdict.KILLED else f"{found.test} {found.why}".strip()
    return f"{head}\n    {found.verdict.value} {tail} ({found.seconds:.1f} s)"


def cells_of(site: Site, words: str) -> tuple[str, str, str]:
    """First cells of a guard's row in the docs: race, guard, what removed it."""
    return site.race, f"`{site.where}`", words.replace("|", "\\|")


def table_of(rows: list[Row]) -> str:
    """For the docs."""
    lines = ["| race | guard | removed | noticed by |", "|---|---|---|---|"]
    for row in rows:
        noticed = f"`{row.outcome.test}`" if row.outcome else ""
        lines.append("| " + " | ".join((*cells_of(row.site, row.words), noticed)) + " |")
    return "\n".join(lines)


def put_table(document: Path, rows: list[Row]) -> None:
    head, _, rest = document.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    summary = f"{len(rows)} guards, each removed in turn, each noticed."
    document.write_text(f"{head}{BEGIN}\n\n{summary}\n\n{table_of(rows)}\n\n{END}{tail}", "utf-8")
