"""The two physical limits, in C: what the machine itself takes to see a death and to start a process."""

import os
from collections.abc import Sequence
from typing import ClassVar

from benchmarks.peers.peer import SHIPPED, Peer, Plan
from benchmarks.site import Site


class SpawnOne(Peer):
    """One process for each worker."""

    key, title, kind = "c-one", "C: posix_spawn, waitid", "limit"
    variants: ClassVar = {SHIPPED: "one process for each worker"}
    most, most_why = 10, "a process for each worker: for more there is the other limit"

    def start(self, site: Site, plan: Plan) -> None:
        for label in plan.labels:
            site.start([plan.programs["spawn_one"], *plan.worker(label)], os.environ, str(plan.keep))


class SpawnMany(Peer):
    """One process for all workers."""

    key, title, kind = "c-many", "C: epoll over pidfds, posix_spawn", "limit"
    variants: ClassVar = {SHIPPED: "one process for all workers"}

    def argv(self, plan: Plan) -> Sequence[str]:
        return [plan.programs["spawn_many"], str(plan.count), plan.programs["stamp"], str(plan.stamps)]
