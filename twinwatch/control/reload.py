"""`reload`: put a changed configuration in force, and touch only what it changes."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from twinwatch.config import snapshot
from twinwatch.config.load import load
from twinwatch.control import access, settle, up
from twinwatch.control.errors import NOT_CONFIGURED, NOT_RUNNING, ControlError
from twinwatch.control.operator import exclusive
from twinwatch.control.target import Target
from twinwatch.core.spec import PairSpec
from twinwatch.core.values import FIRST_WORKER_SLOT, Desired, Phase, label_of
from twinwatch.linux import cgroup, wishes
from twinwatch.linux.statefile import StateFile


def reload(
    target: Target, environ: Mapping[str, str], *, timeout_s: float, progress: Callable[[str], None]
) -> dict[str, object]:
    """Publish the configuration, wait until both watchers act on it, tell what it changed.

    Raises:
        ConfigError: it is not valid; the old one stays in force.
        ControlError: another pair's, or no watcher lives, or not settled in time.
    """
    with exclusive(target.paths, progress, timeout_s), access.opened(target.paths) as state:
        header = state.header()
        if header.desired is Desired.STOP:
            raise ControlError(f"pair {header.pair} is going down", NOT_RUNNING)
        path = target.config or header.source
        if not path:
            raise ControlError("no configuration to reload: name it with -c", NOT_CONFIGURED)
        spec = load(path, environ)
        old = snapshot.read(target.paths.snapshots, header.config_generation)
        _refuse_other(spec, old)
        for slot in access.living_watchers(state).values():
            up.refuse_cgroups(spec, cgroup.parent(slot.identity.pid))
        spec = replace(spec, environment=old.environment)
        spec = up.publish(target.paths, state, spec, old) if spec.digest != old.digest else old
        wishes.keep(target.paths, state)  # also for a reload that published, and was killed before this
        if not access.await_watchers(state):
            raise ControlError(
                "published, but both watchers are dead: `twinwatch up` brings them back", NOT_RUNNING
            )
        settle.until_whole(target.paths, state, timeout_s, progress)
        settle.wait_for(
            lambda: not _leaving(state, spec),
            timeout_s,
            lambda: f"still there: {', '.join(_leaving(state, spec))}",
        )
        return compare(old, spec) | {"config_generation": spec.generation}


def _refuse_other(spec: PairSpec, old: PairSpec) -> None:
    if spec.name != old.name:
        raise ControlError(f"{spec.source} is of pair {spec.name}, not of {old.name}")
    if spec.source != old.source:
        raise ControlError(f"pair {old.name} runs from {old.source}, not from {spec.source}")


def _leaving(state: StateFile, spec: PairSpec) -> list[str]:
    """Workers that are gone from the configuration, and not yet from the pair."""
    kept = {index for index, _, _ in spec.places}
    slots = [state.slot(i) for i in range(FIRST_WORKER_SLOT, state.header().slots) if i not in kept]
    return [slot.label for slot in slots if slot.phase is not Phase.FREE]


def compare(old: PairSpec, new: PairSpec) -> dict[str, list[str]]:
    """Which instances a new configuration starts, stops, restarts, leaves alone."""
    before, after = _instances(old), _instances(new)
    both = before.keys() & after.keys()
    return {
        "started": sorted(after.keys() - both),
        "stopped": sorted(before.keys() - both),
        "restarted": sorted(label for label in both if before[label] != after[label]),
        "unchanged": sorted(label for label in both if before[label] == after[label]),
    }


def _instances(spec: PairSpec) -> dict[str, int]:
    hashes = {worker.name: worker.birth_hash for worker in spec.workers}
    return {label_of(name, n): hashes[name] for _, name, n in spec.places}
