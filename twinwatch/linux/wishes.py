"""The desired state, kept where a reboot does not lose it; and the generations, which only ever grow."""

import json
import os
from dataclasses import dataclass, field, replace

from twinwatch.core.record import Damage, Slot
from twinwatch.core.values import FIRST_WORKER_SLOT, WATCHER_ROLES, Desired, Phase, Role
from twinwatch.linux import draft
from twinwatch.linux.paths import Paths
from twinwatch.linux.statefile import StateFile


@dataclass(frozen=True, slots=True)
class Wishes:
    """`slots` maps a slot's label to (desired, generation)."""

    pair: Desired = Desired.RUN
    slots: dict[str, tuple[Desired, int]] = field(default_factory=dict)


def read(paths: Paths) -> Wishes:
    """What is wished; all is to run where nothing (readable) is kept."""
    try:
        with open(paths.wishes, encoding="utf-8") as file:
            kept = json.load(file)
        slots = {
            label: (Desired[wish], int(generation)) for label, (wish, generation) in kept["slots"].items()
        }
        return Wishes(Desired[kept["pair"]], slots)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return Wishes()


def keep(paths: Paths, state: StateFile, pair: Desired | None = None) -> None:
    """Write down what the state file says now; of a damaged slot, what was written down before.

    `pair`: what is wished of the pair, where that is not what the state file says.
    """
    header = state.header()
    slots: dict[str, tuple[Desired, int]] = {}
    lost: dict[str, tuple[Desired, int]] = {}
    roles = (*WATCHER_ROLES, Role.ANCHOR)
    for index in (*(role.slot for role in roles), *range(FIRST_WORKER_SLOT, header.slots)):
        try:
            slot = state.slot(index)
        except Damage:
            lost = read(paths).slots
            continue
        if slot.name and (slot.phase is not Phase.FREE or index < FIRST_WORKER_SLOT):
            slots[slot.label] = (slot.desired, slot.generation)
    write(paths, Wishes(header.desired if pair is None else pair, lost | slots))


def write(paths: Paths, wishes: Wishes) -> None:
    """Durably: the file is complete on disk before it gets its name."""
    document = {
        "pair": wishes.pair.name,
        "slots": {label: (wish.name, generation) for label, (wish, generation) in wishes.slots.items()},
    }
    draft.sweep(paths.wishes)
    made = draft.path_of(paths.wishes)
    with open(made, "w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(made, paths.wishes)


def restored(slot: Slot, wishes: Wishes) -> Slot:
    """A fresh slot with the wish and the generation that are kept for it."""
    wish, generation = wishes.slots.get(slot.label, (slot.desired, 0))
    return replace(slot, desired=wish, generation=generation, exit=replace(slot.exit, generation=generation))
