"""docs/architecture.md and docs/decisions name what there is; the table of phases is what the code decides."""

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from twinwatch.core import reconcile
from twinwatch.core.checks import Ready
from twinwatch.core.reconcile import (
    Birth,
    Change,
    Drag,
    EndEscaped,
    Examine,
    HookLife,
    Kin,
    Life,
    Rest,
    RunHook,
    Signal,
    View,
    Wait,
)
from twinwatch.core.record import Slot
from twinwatch.core.spec import Backoff, Hook, Policy, Restart, WorkerSpec
from twinwatch.core.values import Desired, Ending, Exit, ExitKind, Health, HookState, Identity, Met, Phase

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "twinwatch"
ARCHITECTURE = ROOT / "docs/architecture.md"
PAGES = [
    ARCHITECTURE,
    ROOT / "docs/state-file.md",
    ROOT / "README.md",
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
NAMED = re.compile(r"`([a-z_]+(?:/[a-z_]+)*\.py)(?::([A-Za-z_.]+))?`")
LINK = re.compile(r"\]\(([^)#]+?)(?:#([^)]*))?\)")

NOW = 1_000
ALIVE = Slot("web", phase=Phase.RUNNING, desired=Desired.RUN, generation=1, identity=Identity(9), ready=True)
ENDED = replace(ALIVE, phase=Phase.STOPPING, exit=Exit(ExitKind.ERROR, 1, 3))
SPEC = WorkerSpec("web", ("x",))
NEVER = replace(SPEC, restart=Restart(Policy.NEVER))
SLOW = replace(SPEC, restart=Restart(backoff=Backoff(burst=0)))
NOTIFIES = replace(SPEC, ready=Ready(notify=True))
OLD = replace(SPEC, max_age_ns=NOW)
HOOKED = replace(SPEC, after_exit=Hook(("x",)))


def view(
    slot: Slot, life: Life, *, spec: WorkerSpec | None = SPEC, pair: Desired = Desired.RUN, **seen: object
) -> View:
    return View(slot, spec, pair, NOW, life, **seen)


Case = tuple[str, str, View]


def cases() -> list[Case]:
    """(its process, what else is so, the view)."""
    return [*cases_until_its_end(), *cases_from_its_end()]


def cases_until_its_end() -> list[Case]:
    starting = replace(ALIVE, phase=Phase.STARTING, ready=False)
    asked = replace(ALIVE, desired=Desired.STOP)
    paused = replace(ALIVE, phase=Phase.PAUSED, desired=Desired.PAUSE)
    stopped = Slot("web", phase=Phase.STOPPED, desired=Desired.RUN)
    done = replace(ENDED, phase=Phase.STOPPED, exit=Exit(ExitKind.CLEAN, 1))
    end = Exit(ExitKind.ERROR, 1, 3)
    unready = replace(ALIVE, ready=False, until_ns=2 * NOW)
    silent = "no heartbeat for 3 s"
    convicted = replace(ALIVE, health=Health.UNHEALTHY, note="probe failed")
    told = replace(ALIVE, end_generation=1, ending=Ending.GROUP)
    gave_up = Kin(gave_up=True)
    alive, dead, none = Life.ALIVE, Life.DEAD, Life.NONE
    return [
        ("none", "the configuration names a worker for this place", view(Slot(), none)),
        ("none", "the configuration has nobody for this place", view(Slot(), none, spec=None)),
        ("none", "it is to run", view(stopped, none)),
        ("none", "it is to run, but waits for another worker", view(stopped, none, dependencies_ready=False)),
        ("none", "it is not to run", view(replace(stopped, desired=Desired.STOP), none)),
        ("none", "it ended, and its policy says that this was all", view(done, none, spec=NEVER)),
        ("alive", "its program has not begun", view(starting, alive, gate_until_ns=2 * NOW)),
        ("alive", "its program runs", view(starting, alive, has_program=True)),
        ("alive", "its program runs, and has to get ready", view(starting, alive, spec=NOTIFIES, has_program=True)),
        ("alive", "it did not begin in time", view(starting, alive, gate_until_ns=NOW)),
        ("alive", "it is to end", view(replace(starting, desired=Desired.STOP), alive, gate_until_ns=2 * NOW)),
        ("alive", "all is well", view(ALIVE, alive)),
        ("alive", "it is to end", view(asked, alive)),
        ("alive", "it is to end, but others that depend on it live", view(asked, alive, dependants_live=True)),
        ("alive", "its configuration has changed", view(ALIVE, alive, spec=replace(SPEC, birth_hash=2))),
        ("alive", "it has shown all that its readiness asks for", view(unready, alive, spec=NOTIFIES, met=Met.NOTIFY)),
        ("alive", "it is not ready, and has time left", view(unready, alive, spec=NOTIFIES)),
        ("alive", "it was not ready in time", view(replace(unready, until_ns=NOW), alive, spec=NOTIFIES)),
        ("alive", "it gave its first sign of life", view(ALIVE, alive, is_beating=True)),
        ("alive", "it gave no sign of life for too long", view(ALIVE, alive, verdict=silent)),
        ("alive", "a probe or a limit has convicted it", view(convicted, alive)),
        ("alive", "it is older than `max_age`", view(ALIVE, alive, spec=OLD)),
        ("alive", "another one of its group died", view(told, alive)),
        ("alive", "the same, but those after it in the group live", view(told, alive, dependants_live=True)),
        ("alive", "its group gave up", view(ALIVE, alive, kin=gave_up)),
        ("alive", "its record is of a configuration that this guard does not know yet", view(ALIVE, alive, is_newer=True)),
        ("alive", "it is to be left alone", view(replace(ALIVE, desired=Desired.PAUSE), alive)),
        ("dead", "how it ended may still come to light", view(ALIVE, dead)),
        ("dead", "how it ended is known, or never will be", view(ALIVE, dead, end=end)),
        ("unknowable", "no means tells whose the PID is now", view(ALIVE, Life.UNKNOWABLE)),
        ("alive", "it is to be guarded again", view(replace(paused, desired=Desired.RUN), alive)),
    ]  # fmt: skip


def cases_from_its_end() -> list[Case]:
    stopping = replace(ALIVE, phase=Phase.STOPPING, ending=Ending.STOP, until_ns=2 * NOW)
    late = replace(stopping, until_ns=NOW)
    well = replace(ENDED, exit=Exit(ExitKind.CLEAN, 1))
    backoff = replace(ENDED, phase=Phase.BACKOFF, until_ns=NOW)
    fatal = replace(ENDED, phase=Phase.FATAL)
    escaped = replace(fatal, exit=Exit(ExitKind.ESCAPED, 1))
    dragged = replace(ENDED, end_generation=1, exit=Exit(ExitKind.CLEAN, 1, ending=Ending.GROUP))
    hooked = replace(ENDED, hook=HookState.BEGUN, until_ns=2 * NOW)
    gave_up, exceeded = Kin(gave_up=True), Kin(exceeded="more than 3 restarts of group g within 60 s")
    alive, dead, none = Life.ALIVE, Life.DEAD, Life.NONE
    return [
        ("alive", "its stop timeout runs", view(stopping, alive)),
        ("alive", "its stop timeout is over", view(late, alive)),
        ("dead", "what it left was not looked at", view(ENDED, dead)),
        ("dead", "it ended well, and a process that left its group holds its token", view(well, dead, rest=Rest.ESCAPED)),
        ("dead", "it crashed, and such a process holds its token", view(ENDED, dead, rest=Rest.ESCAPED)),
        ("dead", "the same, and it is to end", view(replace(ENDED, desired=Desired.STOP), dead, rest=Rest.ESCAPED)),
        ("dead", "nothing is left, and it has an `after_exit` hook", view(ENDED, dead, spec=HOOKED, rest=Rest.EMPTY)),
        ("dead", "its hook runs", view(hooked, dead, spec=HOOKED, hook=HookLife.ALIVE)),
        ("dead", "its hook took too long", view(replace(hooked, until_ns=NOW), dead, spec=HOOKED, hook=HookLife.ALIVE)),
        ("dead", "its hook has ended, or never began", view(hooked, dead, spec=HOOKED, hook=HookLife.DEAD)),
        ("dead", "nothing is left, others of its group have to end with it", view(ENDED, dead, rest=Rest.EMPTY, kin=Kin(to_drag=(4,)))),
        ("dead", "the same, and these are ending", view(ENDED, dead, rest=Rest.EMPTY, kin=Kin(ending=True))),
        ("dead", "it ended with its group, in which others are still ending", view(dragged, dead, rest=Rest.EMPTY, kin=Kin(ending=True))),
        ("dead", "it ended with its group, and the one before it is not ready", view(dragged, dead, rest=Rest.EMPTY, dependencies_ready=False)),
        ("dead", "nothing is left, its group was restarted too often", view(ENDED, dead, rest=Rest.EMPTY, kin=exceeded)),
        ("dead", "nothing is left, its group gave up", view(ENDED, dead, rest=Rest.EMPTY, kin=gave_up)),
        ("dead", "nothing is left, and it had signed off", view(replace(ENDED, signed_off=True), dead, rest=Rest.EMPTY)),
        ("dead", "nothing is left, it is to run", view(ENDED, dead, rest=Rest.EMPTY)),
        ("dead", "nothing is left, it is to run, its back-off has grown", view(ENDED, dead, spec=SLOW, rest=Rest.EMPTY)),
        ("dead", "nothing is left, it is not to run", view(replace(ENDED, desired=Desired.STOP), dead, rest=Rest.EMPTY)),
        ("dead", "nothing is left, and its policy says that this was all", view(ENDED, dead, spec=NEVER, rest=Rest.EMPTY)),
        ("none", "its time has come", view(backoff, none)),
        ("none", "its time has not come", view(replace(backoff, until_ns=2 * NOW), none)),
        ("none", "its group gave up", view(backoff, none, kin=gave_up)),
        ("none", "it is not to run any more", view(replace(backoff, desired=Desired.STOP), none)),
        ("none", "it is to run", view(fatal, none)),
        ("none", "it is not to run any more", view(replace(fatal, desired=Desired.STOP), none)),
        ("none", "what escaped is to end", view(replace(escaped, desired=Desired.STOP), none)),
    ]  # fmt: skip


def answer(seen: View) -> str:
    match reconcile.decide(seen):
        case Wait(None):
            return "wait for an event"
        case Wait():
            return "wait for that time"
        case Change(slot, reason):
            same = slot.phase is seen.slot.phase
            later = ", ready later" if slot.phase is Phase.RUNNING and not slot.ready else ""
            return f"record: {reason}" if same else f"{slot.phase.name.lower()}: {reason}{later}"
        case Signal(_, True, slot) if slot.hook is HookState.BEGUN:
            return "KILL to the hook's group"
        case Signal(number, group, slot):
            name = signal.Signals(number).name.removeprefix("SIG")
            return f"{name}{' to its group' if group else ''}, then {slot.phase.name.lower()}: {slot.ending.name.lower()}"
        case Birth():
            return "birth of the next generation"
        case Examine():
            return "KILL what is left of its group, look at its token"
        case EndEscaped():
            return "KILL who holds its token"
        case RunHook():
            return "record a gated child, let it run the hook"
        case Drag():
            return "have them end"


def phase_table() -> list[str]:
    head = ["| phase | its process | what else is so | answer |", "|---|---|---|---|"]
    rows = [
        f"| {seen.slot.phase.name.lower()} | {process} | {what} | {answer(seen)} |"
        for process, what, seen in cases()
    ]
    return head + rows


def test_phase_table():
    table = "\n".join(phase_table())
    assert table in ARCHITECTURE.read_text("utf-8"), f"docs/architecture.md should have:\n{table}"


def test_every_phase_is_in_the_table():
    assert {seen.slot.phase for _, _, seen in cases()} == set(Phase)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_named_exists(page):
    for path, name in NAMED.findall(page.read_text("utf-8")):
        file = next((base / path for base in (PACKAGE, ROOT) if (base / path).exists()), None)
        assert file, f"{page.name}: no file {path}"
        for part in name.split(".") if name else ():
            assert re.search(rf"\b(def|class) {part}\b|^{part}\b", file.read_text("utf-8"), re.MULTILINE), (
                page,
                path,
                name,
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        if target.startswith(("http:", "https:")):
            continue
        file = (page.parent / target).resolve()
        assert file.exists(), f"{page.name}: no {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_room_has_a_row():
    rooms = {
        path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    text = ARCHITECTURE.read_text("utf-8")
    assert [room for room in sorted(rooms - {"__init__.py"}) if f"`{room}" not in text] == []


def test_decisions_are_short_and_whole():
    pages = [page for page in PAGES if page.parent.name == "decisions"]
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {page.name[:4]} ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], (
            page.name
        )
        assert text.count("\n") <= 30, page.name
