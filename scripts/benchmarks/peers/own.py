"""twinwatch itself."""

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from benchmarks.peers.peer import FAST, SHIPPED, Peer, Plan, write
from benchmarks.site import Site
from benchmarks.stamps import Stamps

import twinwatch as package

PAIR = "bench"
INSTANCES_MAX = 1000  # of one worker


class Twinwatch(Peer):
    """Two watchers, each with its reserves."""

    key, title, kind = "twinwatch", "twinwatch", "pair"
    variants: ClassVar = {
        SHIPPED: "nothing but commands in the configuration",
        FAST: "`backoff: {burst: 1000}`, `watch: {reserve: 8}`",
    }
    most, most_why = 8192, "a pair has places for 8192 workers"
    patience_s = 180.0

    def obtain(self) -> None:
        from importlib.metadata import version

        self.version = version(package.__name__)

    def lay(self, plan: Plan) -> None:
        write(plan.keep / "bench.yaml", configuration(plan, plan.programs["stamp"]))

    def argv(self, plan: Plan) -> Sequence[str]:
        return [sys.executable, "-m", "twinwatch", "up", str(plan.keep / "bench.yaml")]

    def environ(self, plan: Plan) -> Mapping[str, str]:
        return {"TWINWATCH_RUNTIME_DIR": str(plan.run / "tw"), "TWINWATCH_STATE_DIR": str(plan.keep / "tw")}

    def victims(self, site: Site, stamps: Stamps) -> list[int]:  # noqa: ARG002 - not the parents alone
        """All of it, reserves too: of a pair that loses one process there would be little to tell."""
        return site.guards()


def configuration(plan: Plan, *command: str, health: str = "") -> str:
    """YAML of a pair with `plan.count` workers."""
    lines = [f"pair: {PAIR}"]
    if plan.is_fast:
        lines += ["watch: {reserve: 8}", "defaults: {restart: {backoff: {burst: 1000}}}"]
    lines.append("workers:")
    for first in range(0, plan.count, INSTANCES_MAX):
        group, count = first // INSTANCES_MAX, min(INSTANCES_MAX, plan.count - first)
        words = ", ".join([*command, f'"{plan.argument(f"w{group}.{{instance}}")}"'])
        extra = f", health: [{health}]" if health else ""
        lines.append(f"  w{group}: {{command: [{words}], instances: {count}{extra}}}")
    return "\n".join(lines) + "\n"
