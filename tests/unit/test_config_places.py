"""Places: who stays keeps its slot, and a slot just left is nobody's."""

from hypothesis import given
from hypothesis import strategies as st

from twinwatch.config.places import assign_places
from twinwatch.core.spec import WorkerSpec
from twinwatch.core.values import FIRST_WORKER_SLOT

PAIRS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5), max_size=6).map(
    lambda counts: [WorkerSpec(name, ("sh",), count) for name, count in counts.items()]
)


@given(st.lists(PAIRS, min_size=1, max_size=6))
def test_over_any_sequence_of_configurations(history):
    before = ()
    for workers in history:
        places = assign_places(workers, before)
        slots = [slot for slot, _, _ in places]
        assert slots == sorted(set(slots))
        assert all(slot >= FIRST_WORKER_SLOT for slot in slots)
        wanted = {(worker.name, instance) for worker in workers for instance in range(worker.instances)}
        assert {place[1:] for place in places} == wanted
        kept = {place[1:]: place[0] for place in before}
        fresh = [place[0] for place in places if place[1:] not in kept]
        assert all(kept.get(place[1:], place[0]) == place[0] for place in places)
        old = set(kept.values())
        lowest = (slot for slot in range(FIRST_WORKER_SLOT, 10_000) if slot not in old)
        assert fresh == [slot for slot, _ in zip(lowest, fresh, strict=False)]
        before = places


def test_a_slot_that_is_given_up_rests_for_one_generation():
    a, b, c = (WorkerSpec(name, ("sh",)) for name in "abc")
    first = assign_places([a, b], ())
    assert first == ((3, "a", 0), (4, "b", 0))
    second = assign_places([b, c], first)
    assert second == ((4, "b", 0), (5, "c", 0))
    assert assign_places([b, c, a], second) == ((3, "a", 0), (4, "b", 0), (5, "c", 0))
