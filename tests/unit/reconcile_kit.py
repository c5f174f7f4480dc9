"""Slots and views for the tests of `core.reconcile`, and its answers in words."""

from dataclasses import replace

from twinwatch.core.reconcile import Change, Drag, Life, Rest, Signal, View, Wait
from twinwatch.core.record import Slot
from twinwatch.core.spec import WorkerSpec
from twinwatch.core.values import NO_PROCESS, Desired, Exit, ExitKind, Identity, Phase

NOW_NS = 1000
LATER_NS = 2000
SPEC = WorkerSpec("w", ("w",), birth_hash=1)
FAILED = Exit(ExitKind.ERROR, 3, code=1, at_ns=900)
CHILD = Identity(5, 6, 7, b"x")
STOP, RUN, PAUSE = Desired.STOP, Desired.RUN, Desired.PAUSE


def slot_in(phase: Phase, desired: Desired = Desired.RUN, **fields: object) -> Slot:
    """Generation 3, whose end is recorded where its phase says that it has ended."""
    over = phase in NO_PROCESS
    whole = {
        "generation": 3,
        "identity": CHILD,
        "exit": FAILED if over else replace(FAILED, generation=2),
        "birth_hash": 1,
        "born_ns": 500,
        "until_ns": 0 if phase is Phase.RUNNING else LATER_NS,
        "ready": phase is Phase.RUNNING,
    }
    return Slot("w", phase=phase, desired=desired, **{**whole, **fields})


def view(slot: Slot, **fields: object) -> View:
    whole = {
        "spec": SPEC,
        "pair": Desired.RUN,
        "now_ns": NOW_NS,
        "rest": Rest.EMPTY,
        "end": FAILED,
        "gate_until_ns": 5000,
        "has_program": True,
    }
    return View(slot, **{**whole, **fields})


def said(action: object) -> str:
    match action:
        case Change(slot, _):
            return f"change to {slot.phase.name}"
        case Signal(number, group, slot, _):
            return f"signal {number}{' to the group' if group else ''}, {slot.ending.name}"
        case Drag(indices):
            return f"drag {', '.join(map(str, indices))}"
        case Wait(None):
            return "wait"
        case Wait(until_ns):
            return f"wait until {until_ns}"
        case _:
            return type(action).__name__


def life_in(slot: Slot, *, alive: bool) -> Life:
    """As a guard sees it."""
    if slot.phase in NO_PROCESS:
        return Life.NONE
    return Life.DEAD if slot.is_over or not alive else Life.ALIVE
