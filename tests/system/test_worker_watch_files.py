"""A worker whose watched file changes is started again, once, with the whole file before it."""

import json
from pathlib import Path

import pytest
from worker_kit import SLEEP, TIRELESS, LivePair, entry, until, wait_phase, wait_running

from twinwatch.core.values import Phase, Role


@pytest.fixture
def file(pair: LivePair) -> Path:
    path = pair.directory / "app.conf"
    path.write_text("one")
    return path


def configure(pair: LivePair, *paths: object, **keys: object) -> None:
    pair.configure(entry("web", SLEEP, restart=TIRELESS, watch_files=list(map(str, paths)), **keys))


def changes(pair: LivePair) -> list[dict[str, object]]:
    return [event for event in pair.events() if event["event"] == "file-changed"]


def bases(pair: LivePair, label: str = "web") -> dict[str, list[int] | None]:
    """How its files were when its present generation was first seen."""
    path = pair.runtime / "checks.json"
    kept = json.loads(path.read_text())["workers"].get(label) if path.exists() else None
    return kept["files"] if kept and kept["life"][0] == pair.worker(label).generation else {}


def wait_bases(pair: LivePair, *labels: str) -> None:
    for label in labels or ("web",):
        until(lambda label=label: bases(pair, label), f"the files of {label} were looked at")


def test_a_changed_file_starts_it_again(pair: LivePair, file: Path):
    configure(pair, file)
    pair.up()
    wait_bases(pair)
    file.write_text("two, and longer")
    slot = wait_running(pair, "web", generation=2)[0]
    (told,) = changes(pair)
    assert (told["generation"], told["path"]) == (1, str(file))
    (ended,) = [
        event for event in pair.events() if event.get("new") == "stopping" and event["old"] == "running"
    ]
    assert ended["reason"] == f"restart: watched file changed: {file}"
    assert slot.failures == 0, "it was asked for, so nothing is held against it"


def test_a_file_that_appears_or_is_replaced_is_a_change_and_its_absence_is_none(pair: LivePair, file: Path):
    late = pair.directory / "late.conf"
    configure(pair, file, late)
    pair.up()
    wait_bases(pair)
    assert bases(pair)[str(late)] is None
    away = file.rename(file.with_suffix(".away"))
    late.write_text("now")
    wait_running(pair, "web", generation=2)
    assert [event["path"] for event in changes(pair)] == [str(late)], "the absence was seen at the same looks"
    wait_bases(pair)
    assert bases(pair)[str(file)] is None
    away.rename(file)
    wait_running(pair, "web", generation=3)
    assert [event["path"] for event in changes(pair)] == [str(late), str(file)]


def test_each_instance_has_its_own_file(pair: LivePair):
    paths = [pair.directory / f"{number}.conf" for number in (0, 1)]
    for path in paths:
        path.write_text("one")
    configure(pair, pair.directory / "{instance}.conf", instances=2)
    pair.up()
    wait_bases(pair, "web", "web:1")
    paths[1].write_text("two, and longer")
    wait_running(pair, "web:1", generation=2)
    assert pair.worker("web").generation == 1


def test_a_change_while_the_service_is_dead_is_not_missed(pair: LivePair, file: Path):
    """Nor is it taken twice when a watcher dies as well."""
    configure(pair, file)
    pair.up()
    wait_bases(pair)
    pair.call("stop", "-p", pair.name, "_checks")
    file.write_text("two, and longer")
    pair.kill(pair.role(Role.A).identity)
    pair.call("start", "-p", pair.name, "_checks")
    wait_running(pair, "web", generation=2)
    wait_bases(pair)
    assert len(changes(pair)) == 1


def test_a_paused_worker_is_left_alone_until_it_is_resumed(pair: LivePair, file: Path):
    other = pair.directory / "other.conf"
    other.write_text("one")
    pair.configure(
        entry("web", SLEEP, watch_files=[str(file)]) + entry("other", SLEEP, watch_files=[str(other)])
    )
    pair.up()
    wait_bases(pair, "web", "other")
    pair.call("pause", "-p", pair.name, "web")
    wait_phase(pair, "web", Phase.PAUSED)
    file.write_text("two, and longer")
    other.write_text("two, and longer")
    wait_running(pair, "other", generation=2)
    assert pair.worker("web").generation == 1, "its file was looked at together with the other one's"
    pair.call("resume", "-p", pair.name, "web")
    wait_running(pair, "web", generation=2)
