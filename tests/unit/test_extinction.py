"""Expected time to extinction: formulas, linear equations and simulation agree, each made another way."""

import itertools
import json
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
try:
    import extinction
    from extinct import formulas, simulate, solve, tables
    from extinct.model import Guards, Pair, Reserved, Role
finally:
    sys.path.remove(str(SCRIPTS))

REPAIRS = {"claim": 0.004, "start": 0.005, "fork": 0.003, "bear": 0.007, "anchor": 0.03, "init": 0.5}
EXPONENTIAL = {name: simulate.exponential(mean) for name, mean in REPAIRS.items()}
RUNS = 1500
SURE = 4.0  # standard errors; the seeds are fixed, so what holds once holds always

rates = st.floats(1e-6, 50)
lengths = st.floats(1e-4, 1.0)


def agrees(runs, exact):
    """Whether the mean of simulated runs is within SURE standard errors of the exact one."""
    mean = sum(runs) / len(runs)
    variance = sum((run - mean) ** 2 for run in runs) / (len(runs) - 1)
    return abs(mean - exact) < SURE * (variance / len(runs)) ** 0.5


@given(rates, lengths)
def test_two_guards_by_renewal_by_chain_and_by_equations(rate, repair):
    renewal = formulas.two_exponential(rate, repair)
    assert formulas.guards_exponential(2, rate, repair) == pytest.approx(renewal)
    assert solve.mean_s(Guards(2), rate, {"bear": repair}) == pytest.approx(renewal)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@given(rates, lengths)
def test_guards_by_chain_and_by_equations(count, rate, repair):
    chain = formulas.guards_exponential(count, rate, repair)
    assert solve.mean_s(Guards(count), rate, {"bear": repair}) == pytest.approx(chain)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_short_repairs_of_guards(count):
    rate, repair = 1e-5, 0.004
    assert formulas.guards_exponential(count, rate, repair) == pytest.approx(
        1 / (count * rate**count * repair ** (count - 1)), rel=1e-5
    )
    assert solve.kills_needed(Guards(count), {"bear": repair}) == count


def test_two_guards_whose_repair_is_constant_or_measured():
    assert formulas.two_measured(3.0, [0.2]) == pytest.approx(formulas.two_constant(3.0, 0.2))
    assert formulas.two_constant(1e-6, 0.004) == pytest.approx(1 / (2 * 1e-12 * 0.004), rel=1e-5)
    chance = Random(11)
    for repairs in ([0.05], [0.01, 0.02, 0.3]):
        simulation = simulate.Simulation(Guards(2), 5.0, {"bear": simulate.measured(repairs)})
        assert agrees([simulation.run(chance) for _ in range(RUNS)], formulas.two_measured(5.0, repairs))


@pytest.mark.parametrize(("rate", "period", "bear"), [(0.5, 1.0, 0.01), (2.0, 1.0, 0.1), (4.0, 0.1, 0.007)])
def test_a_polling_pair_by_formula_and_look_by_look(rate, period, bear):
    chance = Random(12)
    runs = [simulate.run_polling(chance, rate, period, bear) for _ in range(RUNS)]
    assert agrees(runs, formulas.polling(rate, period, bear))


def test_a_polling_pair_with_rare_and_with_mad_kills():
    assert formulas.polling(1e-6, 1.0, 0.01) == pytest.approx(1 / (1e-12 * 1.02), rel=1e-5)
    assert formulas.polling(1e4, 1.0, 0.0) == pytest.approx(1.5e-4)  # nobody looks in time: 1/(2 λ) + 1/λ


@pytest.mark.parametrize(
    ("system", "rate"),
    [
        (Guards(3), 40.0),
        (Reserved(1, 0.5), 40.0),
        (Reserved(1, 1.0), 40.0),
        (Reserved(2, 0.3), 60.0),
        (Reserved(2, 0.5, anchored=True), 80.0),
    ],
)
def test_equations_and_simulation_agree(system, rate):
    simulation, chance = simulate.Simulation(system, rate, EXPONENTIAL), Random(13)
    runs = [simulation.run(chance) for _ in range(RUNS)]
    assert agrees(runs, solve.mean_s(system, rate, REPAIRS))


@pytest.mark.parametrize("other", [Reserved(2, 0.5), Guards(2), Guards(3)])
def test_the_check_can_fail(other):
    simulation, chance = simulate.Simulation(Reserved(1, 0.5), 20.0, EXPONENTIAL), Random(13)
    runs = [simulation.run(chance) for _ in range(400)]
    assert agrees(runs, solve.mean_s(Reserved(1, 0.5), 20.0, REPAIRS))
    assert not agrees(runs, solve.mean_s(other, 20.0, REPAIRS))


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_the_shortest_way_with_one_reserve(share):
    rate = 1e-7
    leading = formulas.one_reserve_leading(
        rate, REPAIRS["start"], REPAIRS["fork"], REPAIRS["bear"], twin_share=share
    )
    assert solve.mean_s(Reserved(1, share), rate, REPAIRS) == pytest.approx(leading, rel=1e-3)


@pytest.mark.parametrize(
    ("system", "kills"),
    [
        (Reserved(1), 3),
        (Reserved(1, 0.0), 4),  # where orphans always win, nobody gives its only reserve away
        (Reserved(2), 4),
        (Reserved(3), 4),  # a takeover leaves a role without reserves, however many there were
        (Reserved(2, anchored=True), 5),
    ],
)
def test_how_many_kills_leave_nobody(system, kills):
    assert solve.kills_needed(system, REPAIRS) == kills


@pytest.mark.parametrize("system", [Reserved(1), Reserved(2), Reserved(3), Reserved(2, anchored=True)])
def test_every_state_is_sound(system):
    seen, waiting = set(), [system.start]
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        processes = sum(role.processes for role in state.roles) + state.anchor
        kills, works = system.kills(state), system.works(state)
        assert sum(count for count, _ in kills) == processes > 0
        assert all(after is None or processes_of(after) == processes - 1 for _, after in kills)
        assert all(sum(share for share, _ in work.ends) == pytest.approx(1.0) for work in works)
        assert state == system.start or works, "something is always repaired while somebody lives"
        assert len({work.key for work in works}) == len(works)
        after = [state for _, state in itertools.chain(kills, *(work.ends for work in works))]
        waiting += [state for state in after if state is not None]
    assert len(seen) > 10


def processes_of(state):
    return sum(role.processes for role in state.roles) + state.anchor


def test_a_takeover_sends_the_other_orphans_away():
    dead = Pair((Role(lives=False, depth=2), Role(lives=False, depth=2)))
    (first, _) = Reserved(2).works(dead)
    assert first.ends == ((1.0, Pair((Role(lives=True, depth=-1), Role(lives=False, depth=2)))),)


def test_a_work_goes_on_through_kills_that_do_not_concern_it():
    """A guard's constant repair, begun before another one dies, ends when it would have ended anyway."""

    class Chance:
        """Kills at 1 and 2 hit guards 0 and 1; the next one comes after both repairs."""

        def __init__(self):
            self.times, self.victims = iter([1.0, 1.0, 98.0, 96.5, 89.0]), iter([0, 0, 0])

        def expovariate(self, _):
            return next(self.times)

        def choices(self, states, _):
            return [states[0]] if len(states) == 1 else [states[next(self.victims)]]

    drawn = iter([2.5, 9.0])
    system = Recorder(Guards(3))
    simulation = simulate.Simulation(system, 1.0, {"bear": lambda _: next(drawn)})
    with pytest.raises(StopIteration):
        simulation.run(Chance())
    # guard 0 dies at 1 and is due at 3.5, guard 1 dies at 2 and is due at 11
    whole, lame, last = (True, True, True), (False, True, True), (False, False, True)
    assert system.states == [whole, lame, last, (True, False, True)]


class Recorder:
    """A system that notes which states were asked for."""

    def __init__(self, system):
        self.system, self.states, self.start = system, [], system.start

    def kills(self, state):
        self.states.append(state)
        return self.system.kills(state)

    def works(self, state):
        return self.system.works(state)


def test_the_script_writes_table_document_and_picture(tmp_path, capsys):
    data, picture = tmp_path / "extinction.json", tmp_path / "extinction.svg"
    arguments = ["--kills", "0", "--runs", "3", "--data", str(data), "--picture", str(picture)]
    assert extinction.main(arguments) == 0
    text, document = capsys.readouterr().out, json.loads(data.read_text())
    assert "| two, looking every 1 s | 2 | 1 / (λ² (T + 2 w)) |" in text
    assert len("\n\n".join(extinction.tables.brief(document)).splitlines()) < 20 < len(text.splitlines())
    assert document["schema"] == 1 and document["real"] == []
    lines = {variant["id"]: dict(map(tuple, variant["line"])) for variant in document["variants"]}
    for rate in lines["two"]:
        assert lines["polling-1s"][rate] <= lines["two"][rate] * 1.05
        assert lines["reserve-1"][rate] < lines["reserve-2"][rate] < lines["anchored"][rate]
    assert "twinwatch, reserve: 2" in picture.read_text("utf-8")


def test_real_points_have_a_table_of_their_own():
    point = {"mean_s": 0.5, "low_s": 0.4, "high_s": 0.6, "runs": 30}
    row = {
        "reserve": 1,
        "asked_hz": 50.0,
        "rate_hz": 40.0,
        **point,
        "kills": 61.2,
        "births": 21.0,
        "births_most": 40,
    }
    table = tables.reality({"real": [row | {"exact_s": 0.45, "measured": point}]})
    assert "| 1 | 40 /s | 30 | 500 ms (400 ms to 600 ms) | 450 ms |" in table


@pytest.mark.parametrize("arguments", [["--runs", "1"], ["--real", "1"], ["--kills", "0", "--real"]])
def test_options_that_give_no_interval_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        extinction.parse(arguments)
    assert ended.value.code == 2
    capsys.readouterr()
