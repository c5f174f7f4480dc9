"""Every race has a row in docs/race-analysis.md, a guard in the code and a test: none misses another."""

import io
import re
import tokenize

from tidy_source import ROOT, committed_files, python_files, read

DOCUMENT = "docs/race-analysis.md"
ROW = re.compile(r"^\|\s*[*`\[]*(R\d\d)\b", re.MULTILINE)  # first column of a table
ID = re.compile(r"\bR\d\d\b")
GUARD = re.compile(r"#\s*R\d\d\b")  # a comment that begins with a race
TEST_FILE = re.compile(r"tests/races/test_(r\d\d)\.py")


def guards_in(text: str) -> set[str]:
    """Races named by the comments that begin with one."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = (token.string for token in tokens if token.type == tokenize.COMMENT)
    return {race for comment in comments if GUARD.match(comment) for race in ID.findall(comment)}


def complaints(document: str, code: dict[str, str], tests: dict[str, str]) -> list[str]:
    """What misses what; `tests` are the files of tests/races by path."""
    rows = ROW.findall(document)
    if not rows:
        return [f"{DOCUMENT}: no row of a race"]
    known = set(rows)
    guards = {race: path for path, text in code.items() for race in guards_in(text)}
    tested = {found[1].upper(): path for path in tests if (found := TEST_FILE.fullmatch(path))}
    expected = [f"R{number:02}" for number in range(1, len(known) + 1)]
    return [
        *(f"{DOCUMENT}: {race} has two rows" for race in sorted(known) if rows.count(race) > 1),
        *(
            f"{DOCUMENT}: {race} is named, but has no row"
            for race in sorted(set(ID.findall(document)) - known)
        ),
        *(
            f"{DOCUMENT}: ids are not consecutive: {race} is missing"
            for race in sorted(set(expected) - known)
        ),
        *(f"{race}: no guard comment `# {race}` in twinwatch/" for race in sorted(known - guards.keys())),
        *(f"{race}: no test tests/races/test_{race.lower()}.py" for race in sorted(known - tested.keys())),
        *(f"{guards[race]}: guards {race}, which has no row" for race in sorted(guards.keys() - known)),
        *(f"{tested[race]}: tests {race}, which has no row" for race in sorted(tested.keys() - known)),
        *(f"{path}: no test in it" for path in sorted(tested.values()) if "def test_" not in tests[path]),
    ]


def test_no_race_misses_its_row_guard_or_test():
    document = read(DOCUMENT) if (ROOT / DOCUMENT).exists() else ""
    tests = {path: read(path) for path in committed_files() if path.startswith("tests/races/")}
    found = complaints(document, python_files("twinwatch"), tests)
    assert not found, "\n".join(found)


GOOD_DOCUMENT = "| id | race |\n|---|---|\n| R01 | a |\n| **R02** | b, see R01 |\n"
GOOD_CODE = {"twinwatch/x.py": "a = 1  # R01\n# R02, R01: why\n"}
GOOD_TESTS = {f"tests/races/test_r0{n}.py": "def test_it(): pass" for n in (1, 2)}


def test_whole_races_are_fine():
    assert complaints(GOOD_DOCUMENT, GOOD_CODE, GOOD_TESTS) == []


def test_what_is_missing_is_found():
    assert complaints("", {}, {}) == [f"{DOCUMENT}: no row of a race"]
    assert complaints(GOOD_DOCUMENT, {"x.py": "# R01\n'# R02'\n# see R02\n"}, GOOD_TESTS) == [
        "R02: no guard comment `# R02` in twinwatch/"
    ]
    assert complaints(GOOD_DOCUMENT, GOOD_CODE, {"tests/races/test_r01.py": "def test_it(): pass"}) == [
        "R02: no test tests/races/test_r02.py"
    ]
    assert complaints(GOOD_DOCUMENT, GOOD_CODE, GOOD_TESTS | {"tests/races/test_r01.py": ""}) == [
        "tests/races/test_r01.py: no test in it"
    ]


def test_what_has_no_row_is_found():
    assert complaints(GOOD_DOCUMENT, GOOD_CODE | {"y.py": "# R03\n"}, GOOD_TESTS) == [
        "y.py: guards R03, which has no row"
    ]
    assert complaints(GOOD_DOCUMENT, GOOD_CODE, GOOD_TESTS | {"tests/races/test_r09.py": "def test_it"}) == [
        "tests/races/test_r09.py: tests R09, which has no row"
    ]
    assert complaints(f"{GOOD_DOCUMENT}\nSee R07.", GOOD_CODE, GOOD_TESTS) == [
        f"{DOCUMENT}: R07 is named, but has no row"
    ]


def test_a_double_row_and_a_gap_are_found():
    assert complaints(f"{GOOD_DOCUMENT}| R02 | again |\n", GOOD_CODE, GOOD_TESTS) == [
        f"{DOCUMENT}: R02 has two rows"
    ]
    gap = complaints(GOOD_DOCUMENT.replace("R02", "R03"), GOOD_CODE, GOOD_TESTS)
    assert f"{DOCUMENT}: ids are not consecutive: R02 is missing" in gap
