"""Workers that share a fate: who ends with whom, in which order they come back, when all give up."""

import signal
from dataclasses import replace

import pytest
from every_step_strike import Strike, needs_ptrace
from group_kit import NAMES, begin, configure, forget, members, raised, story, wait_ready
from worker_kit import Lever, LivePair, kill_watchers, until, wait_guarded, wait_phase

from twinwatch.control import access
from twinwatch.core.values import WATCHER_ROLES, Ending, ExitKind, Health, Phase, Role
from twinwatch.linux.identity import is_alive

COMES = [f"{word} {name}" for name in NAMES for word in ("start", "ready")]


def index_of(pair: LivePair, name: str) -> int:
    return next(i for i in range(pair.state.header().slots) if pair.state.slot(i).label == name)


# ---------------------------------------------------------------- who, and in which order


@pytest.mark.parametrize(
    ("strategy", "with_first", "with_second", "with_last"),
    [
        ("one_for_one", "a1", "b1", "c1"),
        ("rest_for_one", "a1 b1 c1", "b1 c1", "c1"),
        ("one_for_all", "a1 b1 c1", "a1 b1 c1", "a1 b1 c1"),
    ],
)
def test_who_is_started_again(
    pair: LivePair, strategy: str, with_first: str, with_second: str, with_last: str
):
    configure(pair, strategy)
    before = begin(pair)
    for name, taken in zip(NAMES, (with_first, with_second, with_last), strict=True):
        names = taken.split()
        forget(pair)
        pair.kill(pair.worker(name).identity)
        before = raised(before, *names)
        wait_ready(pair, before)
        assert members(pair) == before, f"with {name}"
        ends = [f"end {other}" for other in reversed(names) if other != name]
        assert story(pair) == ends + [line for line in COMES if line.split()[1] in names]
    restarts = {name: pair.worker(name).restarts for name in NAMES}
    assert restarts == dict.fromkeys(NAMES, 1), "who was only taken along has not failed"


def test_they_begin_in_order_and_end_in_reverse(pair: LivePair):
    configure(pair, "rest_for_one")
    pair.up()
    wait_ready(pair)
    assert story(pair) == COMES
    forget(pair)
    pair.down()
    assert story(pair) == ["end c1", "end b1", "end a1"]


def test_none_begins_before_the_last_has_ended(pair: LivePair):
    """a1 dies; b1 takes its time to end: a1 waits for it, and c1, which has ended, waits as well."""
    lever = Lever(pair.directory / "lever")
    configure(pair, "one_for_all", levers={"b1": lever}, stop={"timeout": "50s"})
    before = begin(pair)
    pair.kill(pair.worker("a1").identity)
    lever.hold()
    lever.path.unlink()
    until(lambda: story(pair) == ["end c1", "end b1"], "both were told to end")
    pair.wait_beats()
    assert story(pair) == ["end c1", "end b1"]
    assert members(pair) == before
    lever.release()
    wait_ready(pair, raised(before, *NAMES))
    assert story(pair) == ["end c1", "end b1", *COMES]


def test_one_that_is_deaf_is_ended(pair: LivePair):
    lever = Lever(pair.directory / "lever")
    configure(pair, "one_for_all", levers={"c1": lever}, stop={"timeout": "200ms"})
    before = begin(pair)
    pair.kill(pair.worker("a1").identity)
    wait_ready(pair, raised(before, *NAMES))
    assert story(pair) == ["end c1", "end b1", *COMES]


# ---------------------------------------------------------------- what drags nobody


def test_what_is_ordered_drags_nobody(pair: LivePair):
    configure(pair, "one_for_all")
    before = begin(pair)
    for command in ("restart", "stop", "start"):
        pair.call(command, "-p", pair.name, "c1")
    wait_ready(pair)
    before = {**before, "c1": before["c1"] + 2}
    assert members(pair) == before
    configure(pair, "one_for_all", environment={"NEW": "1"})
    pair.call("reload", "-p", pair.name)
    wait_ready(pair, raised(before, *NAMES))
    assert members(pair) == raised(before, *NAMES)
    assert not [event for event in pair.events() if event["event"] == "group-restart"]


def test_an_end_that_is_enough_drags_nobody(pair: LivePair):
    configure(pair, "one_for_all", restart={"policy": "never"})
    before = begin(pair)
    pair.kill(pair.worker("b1").identity)
    wait_phase(pair, "b1", Phase.STOPPED)
    pair.wait_beats()
    assert members(pair) == before
    assert is_alive(pair.worker("a1").identity) and is_alive(pair.worker("c1").identity)


def test_what_is_stopped_or_paused_is_left_alone(pair: LivePair):
    configure(pair, "one_for_all")
    before = begin(pair)
    pair.call("stop", "-p", pair.name, "b1")
    pair.call("pause", "-p", pair.name, "c1")
    paused = pair.worker("c1")
    pair.kill(pair.worker("a1").identity)
    wait_phase(pair, "a1", Phase.RUNNING, generation=before["a1"] + 1)
    assert pair.worker("b1").phase is Phase.STOPPED
    assert pair.worker("c1").identity == paused.identity and is_alive(paused.identity)


def test_a_conviction_drags_as_a_death_does(pair: LivePair):
    configure(pair, "rest_for_one")
    before = begin(pair)
    state = pair.state
    access.change(
        state, index_of(pair, "b1"), lambda slot: replace(slot, health=Health.UNHEALTHY, note="bad")
    )
    access.wake(state)
    wait_ready(pair, raised(before, "b1", "c1"))
    assert members(pair) == raised(before, "b1", "c1")
    assert pair.worker("b1").exit.ending is Ending.UNHEALTHY
    assert pair.worker("c1").exit.ending is Ending.GROUP


# ---------------------------------------------------------------- giving up


def give_up(pair: LivePair) -> None:
    """Kill one after the other, until it is too often."""
    before = begin(pair)
    for name in ("a1", "b1"):
        pair.kill(pair.worker(name).identity)
        before = raised(before, *NAMES)
        wait_ready(pair, before)
    forget(pair)
    pair.kill(pair.worker("c1").identity)
    for name in NAMES:
        wait_phase(pair, name, Phase.FATAL)


def test_too_many_restarts_end_the_whole_group(pair: LivePair):
    configure(pair, "one_for_all", limit={"restarts": 2, "within": "10m"})
    give_up(pair)
    assert story(pair) == ["end b1", "end a1"]
    assert not [name for name in NAMES if is_alive(pair.worker(name).identity)]
    assert pair.status()["state"] == "fatal"
    reasons = {e["slot"]: e["reason"] for e in pair.events() if e["event"] == "phase" and e["new"] == "fatal"}
    assert reasons.pop("c1") == "more than 2 restarts of group g within 600 s"
    assert set(reasons.values()) == {"its group gave up"}


def test_they_stay_so_whoever_looks(pair: LivePair):
    configure(pair, "one_for_one", limit={"restarts": 2, "within": "10m"})
    before = begin(pair)
    for name in ("a1", "b1", "c1"):
        pair.kill(pair.worker(name).identity)
        if name != "c1":
            before = raised(before, name)
            wait_ready(pair, before)
    for name in NAMES:
        wait_phase(pair, name, Phase.FATAL)
    kill_watchers(pair)
    pair.wait_beats()
    assert members(pair) == before
    assert {pair.worker(name).phase for name in NAMES} == {Phase.FATAL}


@pytest.mark.parametrize("command", ["start", "restart"])
def test_there_is_a_way_back_for_all(pair: LivePair, command: str):
    configure(pair, "one_for_all", limit={"restarts": 2, "within": "10m"})
    give_up(pair)
    before = members(pair)
    done = pair.call(command, "-p", pair.name, "b1").stdout
    assert all(f"{name}: runs" in done for name in NAMES), done
    wait_ready(pair, raised(before, *NAMES))
    assert members(pair) == raised(before, *NAMES)
    assert story(pair)[2:] == COMES
    pair.kill(pair.worker("a1").identity)
    wait_ready(pair, {name: number + 2 for name, number in before.items()})


def test_a_paused_one_is_left_alone_when_its_group_gives_up(pair: LivePair):
    configure(pair, "one_for_all", limit={"restarts": 1, "within": "10m"})
    before = begin(pair)
    pair.kill(pair.worker("a1").identity)
    wait_ready(pair, raised(before, *NAMES))
    pair.call("pause", "-p", pair.name, "c1")
    paused = pair.worker("c1").identity
    pair.kill(pair.worker("a1").identity)
    wait_phase(pair, "a1", Phase.FATAL)
    wait_phase(pair, "b1", Phase.FATAL)
    pair.wait_beats()
    assert is_alive(paused)
    pair.call("resume", "-p", pair.name, "c1")
    wait_phase(pair, "c1", Phase.FATAL)


# ---------------------------------------------------------------- watchers die meanwhile


@pytest.mark.parametrize("roles", [(Role.A,), (Role.B,), WATCHER_ROLES], ids=["a", "b", "both"])
def test_watchers_that_die_while_others_end(pair: LivePair, roles: tuple[Role, ...]):
    """The record says who has to end: the heirs go on, nobody is forgotten, nobody is told twice."""
    levers = {name: Lever(pair.directory / f"lever-{name}") for name in ("b1", "c1")}
    configure(pair, "one_for_all", levers=levers, stop={"timeout": "50s"})
    before = begin(pair)
    pair.kill(pair.worker("a1").identity)
    for name in ("c1", "b1"):  # the last one ends first
        levers[name].hold()
        levers[name].path.unlink()
        kill_watchers(pair, *roles)
        levers[name].release()
    wait_ready(pair, raised(before, *NAMES))
    assert members(pair) == raised(before, *NAMES)
    assert story(pair) == ["end c1", "end b1", *COMES]


@pytest.mark.slow
@needs_ptrace
@pytest.mark.timeout(300)
def test_a_watcher_that_dies_at_any_step(pair: LivePair):
    """SIGKILL at the N-th system call of the watcher whose worker died, and of its twin."""
    configure(pair, "one_for_all")
    begin(pair)
    struck = {role: pair.role(role).generation for role in WATCHER_ROLES}
    for nth in range(3, 123, 4):
        wait_guarded(pair)
        name = NAMES[nth % 3]
        before = members(pair)
        owner = pair.worker(name).owner
        role = owner if nth % 8 < 4 else owner.twin
        with Strike("SIGKILL", nth, [pair.role(role).identity]) as strike:
            pair.kill(pair.worker(name).identity, number=signal.SIGKILL)
            strike.go()
            wait_ready(pair, raised(before, *NAMES))
            strike.wait_struck()
        wait_ready(pair)
        slots = [pair.worker(member) for member in NAMES]
        born = [slot.born_ns for slot in slots]
        assert born == sorted(born), f"step {nth}: not started in order"
        assert all(slot.exit.kind is not ExitKind.ESCAPED for slot in slots)
        pair.assert_never_double()
    wait_guarded(pair)
    gained = sum(pair.role(role).generation - number for role, number in struck.items())
    assert gained >= len(range(3, 123, 4)), "each strike ended a watcher"
