"""The page of a chaos run: the verdict first, self-contained, whatever the result holds."""

import re
from html.parser import HTMLParser

import pytest

from twinwatch.chaos import report

VOID = {"meta"}
SPREAD = {"median": 4.0, "p95": 5.25, "max": 7.0}


def event(at_s, fault="kill-a", targets=("a",), outcome="recovered", **more):
    times = (
        {"again_ms": 4.0, "whole_ms": 9.5} if outcome == "recovered" else {"again_ms": None, "whole_ms": None}
    )
    base = {"at_s": at_s, "fault": fault, "targets": list(targets), "gap_ms": None, "detail": {}}
    return base | times | {"outcome": outcome, "revived": False} | more


def result_of(*events, broken=(), faults=()):
    return {
        "schema": 1,
        "pair": "shop<1>",
        "seed": 7,
        "command": "twinwatch chaos --throw-away --seed 7 --fault 'kill-a' && true",
        "duration_s": 60.0,
        "machine": {"kernel": "6.18.5", "python": "3.11.2", "cpus": 2, "model": "A & B"},
        "settings": {"interval_s": 0.5, "timeout_s": 2.0, "reserve": 2},
        "faults": list(faults),
        "events": list(events),
        "broken": list(broken),
        "summary": {
            fault: {"count": 1, "again_ms": SPREAD, "whole_ms": None}
            for fault in {e["fault"] for e in events}
        },
    }


class Page(HTMLParser):
    """Text of a page; complains about tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.links = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, _tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


WHOLE = result_of(
    event(1.0),
    event(2.0, "kill-both", ("a", "b"), gap_ms=0.1),
    event(3.0, "kill-both", ("a", "b"), gap_ms=0.2),
    event(4.0, "kill-both", ("a", "b"), "extinct", gap_ms=7.0, revived=True),
    faults=[
        {"name": "kill-a", "available": True, "why": None},
        {"name": "oom", "available": False, "why": "kernel lacks a memory cgroup that <root> may write"},
    ],
)
BROKEN = result_of(
    event(1.0, outcome="broken"),
    broken=[
        {"at_s": 1.25, "promise": "P3", "what": "not whole again 10 s after kill-a"},
        {"at_s": 1.5, "promise": "P1", "what": "two of web"},
    ],
)


@pytest.mark.parametrize("result", [WHOLE, BROKEN, result_of()])
def test_a_page_is_closed_in_order_and_needs_nothing_else(result):
    text = report.render(result)
    page = Page(text)
    assert all(link.startswith("#") for link in page.links)
    assert "<script" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "prefers-color-scheme:dark" in text


def test_the_verdict_comes_first():
    assert Page(report.render(WHOLE)).text.partition("To repeat it")[0].count("Every promise held") == 1
    head = Page(report.render(BROKEN)).text.partition("To repeat it")[0]
    assert "Broke" in head and "P1 exactly once, P3 recovery: 2 times, in 1 fault" in head
    assert "not whole again 10 s after kill-a" in head


def test_extinction_is_told_beside_a_kept_verdict():
    assert report.verdict(WHOLE)[1].endswith(
        "After 1 of them no guard was left; the run started the pair again."
    )


def test_no_fault_shows_nothing_and_says_so():
    word, sentence = report.verdict(result_of())
    assert word == "Nothing shown" and "No fault was injected" in sentence
    assert "No fault was injected." in report.render(result_of())


def test_what_broke_without_any_fault_broke():
    assert report.verdict(result_of(broken=BROKEN["broken"]))[0] == "Broke"


def test_command_and_names_are_escaped():
    text = report.render(WHOLE)
    assert (
        "<code>twinwatch chaos --throw-away --seed 7 --fault &#x27;kill-a&#x27; &amp;&amp; true</code>"
        in text
    )
    assert "shop<1>" not in text and "A & B" not in text


def test_unavailable_faults_are_listed_with_their_reason():
    text = Page(report.render(WHOLE)).text
    assert "What this machine could not do" in text
    assert "kernel lacks a memory cgroup that <root> may write" in text
    assert "What this machine could not do" not in Page(report.render(BROKEN)).text


def test_each_fault_has_a_row():
    text = report.render(WHOLE)
    row = next(line for line in text.splitlines() if ">kill-both</td>" in line)
    assert re.findall(r">([^<>]*)</td>", row)[:8] == ["kill-both", "3", "2", "1", "–", "4.0", "5.2", "7.0"]


def test_additions_of_later_schemas_are_shown_and_may_be_absent():
    more = {"crashes": ["OSError: <24>"], "evidence": {"events": ["role a", "role b"]}}
    text = report.render(BROKEN | more)
    assert "<li><code>OSError: &lt;24&gt;</code></li>" in text and "role a\nrole b" in text
    assert "crashed" not in report.render(BROKEN)


def test_a_gap_between_kills_of_one_worker_is_no_point_of_the_curve():
    assert report.survival_document([event(1.0, "kill-session", ("web",), gap_ms=0.1)])["curves"] == []


def test_gaps_are_put_into_buckets_and_what_was_revived_did_not_survive():
    (curve,) = report.survival_document(WHOLE["events"])["curves"]
    assert curve["id"] == "kill-both"
    near, far = curve["points"]
    assert (near["trials"], near["survived"]) == (2, 2) and near["gap_ms"] == pytest.approx(0.15)
    assert far == {"gap_ms": 7.0, "trials": 1, "survived": 0}


def test_without_gaps_there_is_no_curve():
    assert "the gap between them" not in report.render(BROKEN)
    assert "came back by itself: kill-both 2 of 3." in report.render(WHOLE)


def test_write_says_where(tmp_path):
    path = report.write(WHOLE, str(tmp_path))
    assert path == str(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == report.render(WHOLE)
