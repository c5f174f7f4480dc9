"""One run: who takes part, in which order, and what came of it."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict

from benchmarks import measures, pair, path, store, syscalls
from benchmarks.measures import Running, running
from benchmarks.peers.catalog import LIMITS, everyone
from benchmarks.peers.peer import SHIPPED, Peer
from benchmarks.settings import Settings
from benchmarks.stamps import WaitedInVain

MEASURES = "ABCDEFGHSP"
SMALL = 10
REPEATED_MAX = 1000  # larger crowds are measured once, and so are slow guards: they take minutes
PID_ONE = "PID 1"  # the kernel lets nobody kill it
Row = dict[str, object]


class Session:
    """Measures, and collects rows. A guard that fails is told of, and the others go on.

    Raises:
        Absent: no C compiler. LookupError: no peer of that name.
    """

    def __init__(self, settings: Settings, only: Iterable[str], letters: Iterable[str]) -> None:
        self._settings = settings
        self._letters = set(letters)
        self._programs = store.programs()
        self.rows: dict[str, list[Row]] = {letter: [] for letter in MEASURES}
        self.troubles: list[str] = []
        self.absent: dict[str, str] = {}
        wanted = set(only) or set(settings.peers)
        peers = everyone()
        if strange := wanted - {peer.key for peer in peers}:
            raise LookupError(f"no peer is called {', '.join(sorted(strange))}")
        self.peers = [peer for peer in peers if self._is_had(peer, wanted)]

    def _is_had(self, peer: Peer, wanted: set[str]) -> bool:
        if wanted and peer.key not in wanted:
            return False
        try:
            peer.obtain()
        except store.Absent as reason:
            self.absent[peer.title] = str(reason)
            return False
        return True

    def run(self, keep: Callable[[Row], None] = lambda _: None) -> Row:
        """Everything that was asked for, as one object of plain values.

        `keep` is given what there is after each measure: a run takes long, and may be ended.
        """
        began = time.monotonic()
        parts: dict[str, Callable[[], None]] = {
            "A": self._restarts,
            "B": self._again,
            "C": self._crowds,
            "D": self._idle,
            "E": self._sizes,
            "F": self._successions,
            "G": self._heartbeats,
            "H": self._guards_killed,
            "S": self._calls,
            "P": self._path,
        }
        for letter, part in parts.items():
            if letter in self._letters:
                part()
                keep(self._found(began))
        return self._found(began)

    def _found(self, began: float) -> Row:
        return {
            "schema": 1,
            "machine": self._machine(),
            "settings": asdict(self._settings),
            "seconds": round(time.monotonic() - began),
            "peers": {peer.key: self._describe(peer) for peer in self.peers},
            "absent": self.absent,
            "troubles": self.troubles,
            "rows": self.rows,
        }

    @staticmethod
    def _machine() -> Row:
        return {
            "linux": platform.release().split("-")[0],
            "system": platform.freedesktop_os_release()["PRETTY_NAME"],
            "python": platform.python_version(),
            "processors": os.cpu_count(),
            "load_at_end": os.getloadavg()[0],
        }

    @staticmethod
    def _describe(peer: Peer) -> Row:
        facts = {"title": peer.title, "version": peer.version, "kind": peer.kind}
        return {
            **facts,
            "variants": dict(peer.variants),
            "unmeasured": dict(peer.unmeasured),
            "most": peer.most,
            "most_why": peer.most_why,
        }

    # ------------------------------------------------------------ one guard

    def _each(self, letter: str) -> Iterator[tuple[Peer, str]]:
        """Every configuration of every peer."""
        for peer in self.peers:
            for variant in peer.variants:
                if variant not in peer.unmeasured or letter[0] in "DH":
                    yield peer, variant

    def _with(self, letter: str, peer: Peer, variant: str, count: int, do: Callable[[Running], Row]) -> None:
        """One row, if it comes to that."""
        print(f"bench: {letter} {peer.key} {variant} {count}", file=sys.stderr, flush=True)
        where = f"{letter}: {peer.title}, {variant}, {count} workers"
        try:
            with running(peer, variant, count, self._programs) as run:
                self.rows[letter].append(
                    {
                        "peer": peer.key,
                        "variant": variant,
                        "workers": count,
                        "start_ns": run.start_ns,
                        **do(run),
                    }
                )
        except (WaitedInVain, ProcessLookupError, store.Absent) as trouble:
            self.troubles.append(f"{where}: {trouble}")
            print(f"bench: {self.troubles[-1]}", file=sys.stderr, flush=True)

    def _limit(self, key: str) -> Peer | None:
        return next((peer for peer in self.peers if peer.key == key), None)

    # ------------------------------------------------------------ A, B

    def _in_turns(self, letter: str, rounds: int, do: Callable[[Running], list[int]]) -> None:
        """Limit, peer, limit, peer …, and all of that again in every round."""
        limit = self._limit(LIMITS[0])
        for number in range(rounds):

            def row(run: Running, number: int = number) -> Row:
                return {"round": number, "ns": do(run)}

            for peer, variant in self._each(f"{letter}.{number + 1}"):
                if peer is limit or (variant in peer.slow and number >= self._settings.slow_rounds):
                    continue
                if limit is not None:
                    self._with(letter, limit, SHIPPED, SMALL, row)
                self._with(letter, peer, variant, SMALL, row)

    def _restarts(self) -> None:
        settings = self._settings
        self._in_turns(
            "A", settings.rounds, lambda run: measures.restarts(run, settings.kills, settings.budget_s)
        )

    def _again(self) -> None:
        settings = self._settings
        self._in_turns(
            "B",
            settings.again_rounds,
            lambda run: measures.again_at_once(run, settings.again, settings.budget_s),
        )

    # ------------------------------------------------------------ C, E

    def _crowds(self) -> None:
        def row(run: Running) -> Row:
            last_ns, median_ns = measures.crowd(run)
            return {"last_ns": last_ns, "median_ns": median_ns}

        for wanted in self._settings.crowds:
            for number in range(self._settings.crowd_rounds):
                for peer, variant in self._each(f"C.{number + 1} {wanted}"):
                    count = self._fitting(peer, wanted)
                    is_repeated = variant not in peer.slow and count <= REPEATED_MAX
                    if count and (is_repeated or not number):
                        self._with("C", peer, variant, count, row)

    def _fitting(self, peer: Peer, wanted: int) -> int:
        """`wanted`; or the most that it takes, where that is near; 0: left out."""
        if wanted <= peer.most:
            return wanted
        return peer.most if peer.most * 2 > wanted else 0

    def _sizes(self) -> None:
        settings = self._settings

        def row(run: Running) -> Row:
            return {"ns": measures.scattered(run, settings.size_kills, settings.budget_s)}

        for wanted in settings.sizes:
            for peer, variant in self._each(f"E {wanted}"):
                count = self._fitting(peer, wanted)
                if count and variant == list(peer.variants)[-1] and variant not in peer.slow:
                    self._with("E", peer, variant, count, row)

    # ------------------------------------------------------------ D

    def _idle(self) -> None:
        """All at the same time, one after the other being started: hours else. They are idle."""
        for count in self._settings.idle_counts:
            with ExitStack() as stack:
                runs = [run for run in self._all_started(stack, count) if run is not None]
                time.sleep(self._settings.idle_settle_s)
                before = [measures.costs(run) for run in runs]
                time.sleep(self._settings.idle_s)
                for run, old in zip(runs, before, strict=True):
                    cost = measures.growth(old, measures.costs(run))
                    bytes_used, processes = measures.memory(run)
                    row = {"peer": run.peer.key, "variant": run.plan.variant, "workers": count}
                    spent = {"cpu_ns": cost.cpu_ns, "wakeups": cost.wakeups, "seconds": self._settings.idle_s}
                    self.rows["D"].append({**row, **spent, "pss": bytes_used, "processes": processes})

    def _all_started(self, stack: ExitStack, count: int) -> Iterator[Running | None]:
        for peer, variant in self._each(f"D {count}"):
            if count <= peer.most:
                print(f"bench: D {peer.key} {variant} {count}", file=sys.stderr, flush=True)
                try:
                    yield stack.enter_context(running(peer, variant, count, self._programs))
                except (WaitedInVain, store.Absent) as trouble:
                    self.troubles.append(f"D: {peer.title}, {variant}, {count} workers: {trouble}")

    # ------------------------------------------------------------ F, G, H

    def _successions(self) -> None:
        print("bench: F", file=sys.stderr, flush=True)
        found = pair.successions(self._settings.deaths, self._programs)
        self.rows["F"] = [asdict(one) for one in found]

    def _heartbeats(self) -> None:
        print("bench: G", file=sys.stderr, flush=True)
        calls = pair.beat_costs(self._settings.beat_samples, 1000)
        judged = pair.judging(self._settings.judged, self._settings.judged_s, self._programs)
        self.rows["G"] = [{"calls": calls, "judging": judged}]

    def _calls(self) -> None:
        if shutil.which("strace") is None:
            self.troubles.append("S: no strace here")
            return
        print("bench: S", file=sys.stderr, flush=True)
        ways = syscalls.least(syscalls.restarts(5, self._programs))
        self.rows["S"] = [{"way": way, "calls": calls} for way, calls in ways.items()]

    def _path(self) -> None:
        if shutil.which("perf") is None:
            self.troubles.append("P: no perf here")
            return
        print("bench: P", file=sys.stderr, flush=True)
        try:
            found = {
                pause: path.profile(2 * self._settings.deaths, pause_s, self._programs)
                for pause, pause_s in path.PAUSES.items()
            }
        except (WaitedInVain, PermissionError) as trouble:
            self.troubles.append(f"P: {trouble}")
            return
        steps = next(iter(found.values()))
        self.rows["P"] = [
            {"step": step, "ns": {pause: found[pause][step] for pause in found}} for step in steps
        ]

    def _guards_killed(self) -> None:
        for peer, variant in self._each("H"):
            if variant == SHIPPED and peer.kind not in ("limit", PID_ONE):
                self._with("H", peer, variant, SMALL, measures.guard_killed)
