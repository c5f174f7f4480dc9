"""When a running worker may be depended on, by when it must, and when it is too old."""

from dataclasses import replace

import pytest

from twinwatch.core import readiness
from twinwatch.core.checks import Probe, ProbeKind, Ready
from twinwatch.core.record import Slot
from twinwatch.core.spec import WorkerSpec
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Met, Phase

SPEC = WorkerSpec("w", ("w",))
SLOT = Slot("w", phase=Phase.RUNNING, generation=1, born_ns=1000)
PROBES = (Probe(ProbeKind.TCP, "localhost:1"),)
EACH = {Met.NOTIFY: {"notify": True}, Met.HEARTBEAT: {"heartbeat": True}, Met.PROBES: {"probes": PROBES}}
SOME = [Met(number) for number in range(8)]  # every combination


def ready_when(met: Met, **terms: object) -> Ready:
    asked = {key: value for one, term in EACH.items() if one in met for key, value in term.items()}
    return Ready(**asked, **terms)


@pytest.mark.parametrize("met", SOME)
def test_what_is_asked(met):
    assert readiness.asked(ready_when(met)) == met
    assert readiness.asked(None) is Met.NOTHING


@pytest.mark.parametrize("asked", SOME)
@pytest.mark.parametrize("met", SOME)
def test_all_that_is_asked_must_be_met(asked, met):
    slot, spec = replace(SLOT, met=met), replace(SPEC, ready=ready_when(asked))
    assert readiness.is_met(slot, spec) is (asked & met == asked)


@pytest.mark.parametrize("spec", [None, SPEC])
def test_where_nothing_is_asked_it_is_ready_at_once(spec):
    assert readiness.is_met(SLOT, spec)
    assert readiness.until_ns(SLOT, spec, 50) == 0


def test_a_job_is_never_ready_while_it_runs():
    spec = replace(SPEC, ready=Ready(exit=True))
    assert not readiness.is_met(replace(SLOT, met=SOME[-1]), spec)
    assert readiness.until_ns(SLOT, spec, 50) == 0, "and may take its time"


@pytest.mark.parametrize(
    ("timeout_ns", "met", "until_ns"),
    [(7, Met.NOTHING, 57), (7, Met.NOTIFY, 0), (0, Met.NOTHING, 0), (0, Met.NOTIFY, 0)],
)
def test_by_when_it_must_be_ready(timeout_ns, met, until_ns):
    spec = replace(SPEC, ready=Ready(notify=True, timeout_ns=timeout_ns))
    assert readiness.until_ns(replace(SLOT, met=met), spec, 50) == until_ns


def test_too_old():
    day_ns = 86_400 * SECOND_NS
    assert readiness.old_ns(SLOT, None, 0) == 0
    assert readiness.old_ns(SLOT, SPEC, 0) == 0
    assert readiness.old_ns(SLOT, replace(SPEC, max_age_ns=day_ns), 0) == 1000 + day_ns


@pytest.mark.parametrize("instances", [1, 2, 5, 1000])
def test_instances_grow_old_one_after_the_other(instances):
    spec = replace(SPEC, max_age_ns=10**6, instances=instances)
    due = [readiness.old_ns(SLOT, spec, instance) - 1000 for instance in range(instances)]
    assert due[0] == 10**6
    assert len(set(due)) == instances
    assert due == sorted(due)
    assert due[-1] <= 10**6 + 10**5
