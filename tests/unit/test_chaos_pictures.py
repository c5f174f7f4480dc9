"""Pictures: well-formed, the same for the same data, and they say what the document says."""

import random
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.chaos import canvas, measures, pictures

SVG = "{http://www.w3.org/2000/svg}"


def event(at_s, fault="kill-a", targets=("a",), outcome="recovered", **times):
    return {
        "at_s": at_s,
        "fault": fault,
        "targets": list(targets),
        "detail": {},
        "outcome": outcome,
        "revived": outcome == "extinct",
        "gap_ms": None,
        "again_ms": 4.0,
        "whole_ms": 9.0,
        **times,
    }


def run_of(*events):
    return {"events": list(events), "duration_s": 10.0}


def curve(title, *points):
    return {
        "id": title,
        "title": title,
        "points": [{"gap_ms": gap, "trials": n, "survived": k} for gap, n, k in points],
    }


NEVER = {"again_ms": None, "whole_ms": None}
RUN = run_of(
    event(0.5),
    event(1.0, "kill-both", ("a", "b"), gap_ms=3.0),
    event(2.0, "kill-worker", ("web:1", "web"), whole_ms=120.0),
    event(3.0, "kill-watchers", ("watcher a", "watcher b", "reserve"), "extinct", **NEVER),
    event(4.0, "disk-full", (), "broken", **NEVER),
)
SURVIVAL = {
    "curves": [curve("naive", (0, 200, 0), (10, 200, 21)), curve("ours", (0, 200, 200), (10, 200, 200))],
    "atomic": [{"id": "c", "title": "cgroup.kill", "trials": 50, "survived": 0}],
}
EXTINCTION = {
    "variants": [
        {
            "id": "pair",
            "title": "two",
            "line": [[1e-4, 1e10], [1.0, 100.0], [100.0, 0.05]],
            "simulated": [{"rate_hz": 1.0, "mean_s": 101.0, "low_s": 95.0, "high_s": 107.0, "runs": 500}],
            "real": [{"rate_hz": 100.0, "mean_s": 0.04, "low_s": 0.03, "high_s": 0.05, "runs": 30}],
        }
    ]
}
WINDOWS = {
    "windows": [{"id": "W1", "what": "death to <awake>", "unit": "us", "samples": [90, 100, 110, 4000]}]
}
ALL = [
    (pictures.timeline, RUN),
    (pictures.recovery, RUN),
    (pictures.survival, SURVIVAL),
    (pictures.extinction, EXTINCTION),
    (pictures.windows, WINDOWS),
]
EMPTY = [
    (pictures.timeline, run_of()),
    (pictures.recovery, run_of()),
    (pictures.recovery, run_of(event(1.0, outcome="broken", **NEVER))),
    (pictures.survival, {"curves": []}),
    (pictures.survival, {"curves": [curve("none")], "atomic": []}),
    (pictures.extinction, {"variants": []}),
    (pictures.windows, {"windows": [{"id": "W1", "what": "x", "unit": "us", "samples": []}]}),
]


def words(svg):
    """All text that a reader sees."""
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(("draw", "document"), [*ALL, *EMPTY])
def test_a_picture_is_well_formed_and_told_to_those_who_do_not_see_it(draw, document):
    root = ET.fromstring(draw(document))
    title, description = root.find(f"{SVG}title").text, root.find(f"{SVG}desc").text
    assert root.get("role") == "img" and root.get("aria-label") == f"{title}. {description}"
    assert description.endswith(".")


@pytest.mark.parametrize(("draw", "document"), ALL)
def test_the_same_data_are_the_same_bytes(draw, document):
    first = draw(document)
    assert draw(document) == first
    assert "<dc:date>" not in first and "metadata" not in first


@pytest.mark.parametrize(("draw", "document"), ALL)
def test_no_background_and_nothing_from_elsewhere(draw, document):
    svg = draw(document)
    assert "fill: #ffffff" not in svg and "<script" not in svg and "<image" not in svg
    assert all(link.startswith("#") for link in svg.split('href="')[1:])


def test_a_timeline_has_a_row_for_each_kind_of_target():
    told = words(pictures.timeline(RUN))
    for row in ("watcher a", "watcher b", "reserves", "the pair", "web"):
        assert row in told
    assert {"recovered", "extinct", "broken"} <= set(told)


def test_many_workers_share_a_row_of_a_timeline():
    told = words(pictures.timeline(run_of(*(event(n, targets=(f"web{n}:0",)) for n in range(9)))))
    assert "workers" in told and "web1" not in told


def test_outcomes_are_not_named_where_all_is_well():
    assert "recovered" not in words(pictures.timeline(run_of(event(1.0))))


def test_a_recovery_picture_says_medians():
    svg = pictures.recovery(run_of(*(event(n, again_ms=2.0 + n, whole_ms=20.0 + n) for n in range(3))))
    assert {"3 ms", "21 ms"} <= set(words(svg))


def test_a_survival_picture_counts_atomic_kills():
    told = words(pictures.survival(SURVIVAL))
    assert {"naive", "ours", "cgroup.kill", "0 of 50"} <= set(told)


def test_windows_are_named_and_escaped():
    assert "W1  death to <awake>" in words(pictures.windows(WINDOWS))


def test_a_long_range_of_times_has_few_marks():
    told = [word for word in words(pictures.extinction(EXTINCTION)) if word]
    assert "1 year" in told and "1 / s" in told


def test_inline_pictures_share_no_id():
    first, second = (canvas.inline(pictures.windows(WINDOWS), prefix) for prefix in ("x", "y"))
    both = ET.fromstring(f"<p>{first}{second}</p>")
    ids = [element.get("id") for element in both.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert "url(#p" not in first and 'href="#m' not in first


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_are_spread_in_order_within_the_limits(wanted):
    places = canvas.spread(wanted, 0.05, 0.0, 1.0)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    spaced = [places[index] for index in order]
    assert all(low + 0.05 <= high + 1e-9 for low, high in pairwise(spaced))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)


def test_labels_far_apart_stay_where_they_are():
    assert canvas.spread([0.9, 0.1], 0.05, 0.0, 1.0) == [0.9, 0.1]


def test_wilson_is_the_interval_of_the_textbooks():
    low, high = measures.wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)  # computed by hand from the formula
    assert measures.wilson(0, 0) == (0.0, 1.0)
    assert measures.wilson(20, 20)[0] == pytest.approx(20 / (20 + measures.Z95**2))
    assert measures.wilson(20, 20)[1] == 1.0


def test_wilson_covers_as_often_as_it_says():
    chance, covered = random.Random(5), 0
    for _ in range(2000):
        low, high = measures.wilson(sum(chance.random() < 0.93 for _ in range(60)), 60)
        covered += low <= 0.93 <= high
    assert 0.93 <= covered / 2000 <= 0.975


def test_quantiles_lie_between_samples():
    assert [measures.quantile([1.0, 2.0, 4.0], share) for share in (0, 0.25, 0.5, 1)] == [1.0, 1.5, 2.0, 4.0]
    with pytest.raises(ValueError, match="nothing"):
        measures.quantile([], 0.5)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (2e-6, "2 µs"),
        (0.0032, "3.2 ms"),
        (1.0, "1 s"),
        (270, "4.5 min"),
        (86_400, "1 day"),
        (1e6, "12 days"),
        (3.15576e7, "1 year"),
        (5.68e12, "1.8e+05 years"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds, told):
    assert measures.span(seconds) == told
