"""A worker that uses more than it may, in its tree as well, and what follows: once, for its generation alone."""

import json
import sys

from worker_kit import SLEEP, TIRELESS, LivePair, entry, until, wait_change, wait_running

from twinwatch.core.values import Role

MIB = 1 << 20
GREEDY = (  # only its first generation, and in a child of it: {own} and {child} MiB
    "import os, time; many = os.environ['TWINWATCH_GENERATION'] == '1'; "
    "child = many and not os.fork(); "
    "kept = bytearray(({child} if child else {own}) << 20 if many else 0); "
    "kept[::4096] = b'x' * len(kept[::4096]); time.sleep(100000)"
)


def greedy(own: int, child: int) -> list[str]:
    return [
        sys.executable,
        "-I",
        "-S",
        "-c",
        GREEDY.replace("{own}", str(own)).replace("{child}", str(child)),
    ]


def excesses(pair: LivePair, label: str = "web") -> list[dict[str, object]]:
    return [event for event in pair.events() if event["event"] == "over-limit" and event["slot"] == label]


def test_a_tree_that_uses_too_much_memory_is_started_again_once(pair: LivePair):
    resources = {"memory": "80MiB", "interval": "100ms", "strikes": 3}
    pair.configure(entry("web", greedy(10, 100), restart=TIRELESS, resources=resources))
    pair.up()
    ended = wait_change(pair, "web", "stopping")
    assert str(ended["reason"]).startswith("unhealthy: memory 1")
    assert str(ended["reason"]).endswith("MiB over 80MiB, 3 times in a row")
    wait_running(pair, "web", generation=2)
    (told,) = excesses(pair)
    assert (told["generation"], told["what"], told["limit"], told["action"]) == (
        1,
        "memory",
        80 * MIB,
        "restart",
    )
    assert 100 * MIB < float(str(told["value"])) < 300 * MIB
    pair.down()
    assert [event["generation"] for event in excesses(pair)] == [1]


def test_its_descendants_do_not_count_where_only_itself_is_asked_for(pair: LivePair):
    """`seen` has the same tree and the same limit, and shows when the other one has been looked at, too."""
    lone = {"memory": "80MiB", "interval": "100ms", "strikes": 1, "tree": False, "action": "alert"}
    pair.configure(
        entry("web", greedy(10, 100), resources=lone)
        + entry("seen", greedy(10, 100), resources={**lone, "tree": True})
    )
    pair.up()
    until(lambda: excesses(pair, "seen"), "the other one is over")
    assert not excesses(pair)


def test_an_alert_is_told_once_and_nobody_ends(pair: LivePair):
    """Also when the service and a watcher are killed and look anew."""
    resources = {"memory": "80MiB", "interval": "100ms", "strikes": 2, "action": "alert"}
    pair.configure(entry("web", greedy(100, 10), resources=resources))
    pair.up()
    until(lambda: excesses(pair), "it is told")
    until(lambda: is_kept_as_told(pair), "and kept")
    service = pair.worker("_checks")
    pair.kill(service.identity, pair.role(Role.B).identity)
    wait_running(pair, "_checks", generation=service.generation + 1)
    count = strikes(pair)
    until(lambda: strikes(pair) >= count + 3, "the next service has looked three times")
    assert len(excesses(pair)) == 1
    assert pair.worker("web").generation == 1


def kept(pair: LivePair) -> list[list[object]]:
    document = json.loads((pair.runtime / "checks.json").read_text())
    return list(document["workers"].get("web", {"strikes": {}})["strikes"].values())


def is_kept_as_told(pair: LivePair) -> bool:
    return any(told for _, told in kept(pair))


def strikes(pair: LivePair) -> int:
    return max(int(str(count)) for count, _ in kept(pair))


def test_a_command_runs_once_and_knows_why(pair: LivePair):
    found = pair.directory / "found"
    script = f'echo "$TWINWATCH_WORKER $TWINWATCH_PID $TWINWATCH_REASON" >> {found}; exit 3'
    resources = {"threads": 1, "interval": "100ms", "strikes": 2, "action": {"exec": ["sh", "-c", script]}}
    pair.configure(entry("web", ["sh", "-c", "sleep 100000 & sleep 100000"], resources=resources))
    pair.up()
    until(lambda: [event for event in pair.events() if event["event"] == "hook-failed"], "it has ended")
    count = strikes(pair)
    until(lambda: strikes(pair) >= count + 3, "it was looked at three times more")
    slot = pair.worker("web")
    assert found.read_text() == f"web {slot.identity.pid} threads 3 over 1, 2 times in a row\n"
    (failed,) = [event for event in pair.events() if event["event"] == "hook-failed"]
    assert (failed["hook"], failed["reason"]) == ("resources", "exit code 3")
    assert slot.generation == 1


def test_a_busy_worker_is_over_its_cpu_and_an_idle_one_is_not(pair: LivePair):
    resources = {"cpu": "1%", "interval": "200ms", "strikes": 2, "action": "alert"}
    pair.configure(
        entry("web", ["sh", "-c", "while :; do :; done"], resources=resources)
        + entry("idle", SLEEP, resources=resources)
    )
    pair.up()
    until(lambda: excesses(pair), "the busy one is over")
    assert excesses(pair)[0]["what"] == "cpu"
    assert not excesses(pair, "idle")
