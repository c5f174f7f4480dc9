"""What a process and its tree use, as it is measured, and as it is summed up over time."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from scene import Actor, act, adopting_orphans, rest, until

from twinwatch.core.checks import Resources
from twinwatch.core.probing import Strikes
from twinwatch.core.timing import SECOND_NS
from twinwatch.core.values import Identity
from twinwatch.linux.identity import identify_self
from twinwatch.services.checks import files, meter, resources
from twinwatch.services.checks.meter import Excess, Meter, Owner
from twinwatch.services.checks.resources import Families, Usage, cpu_percent, figures, measure

ALL = Resources(memory=1, cpu=1.0, descriptors=1, threads=1)
MIB = 1 << 20


@contextmanager
def acting(part: object) -> Iterator[Actor]:
    with adopting_orphans():
        actor = act(part)  # type: ignore[arg-type]
        try:
            yield actor
        finally:
            actor.kill()
            actor.close()


def usage(actor: Actor, **limits: object) -> Usage:
    return measure(replace(ALL, **limits), actor.identity, Families())


def test_memory_descriptors_and_threads_of_one_process():
    def part(say: object) -> None:
        kept = bytearray(64 * MIB)
        kept[::4096] = b"x" * len(kept[::4096])
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        started = [threading.Thread(target=rest_forever, daemon=True) for _ in range(3)]
        for thread in started:
            thread.start()
        say(len(opened))  # type: ignore[operator]
        rest()

    with acting(part) as actor:
        actor.hear()
        now = usage(actor, tree=False)
        assert now.memory is not None and now.memory >= 64 * MIB
        assert now.descriptors is not None and 50 <= now.descriptors < 150
        assert now.threads == 4
        assert now.cpu_s is not None and list(now.cpu_s) == [(actor.pid, actor.identity.start_ticks)]


def rest_forever() -> None:
    threading.Event().wait()


def test_of_a_tree_all_count_but_shared_memory_counts_once_by_share():
    """PSS divides what several processes share among them."""
    kept = bytearray(64 * MIB)
    kept[::4096] = b"x" * len(kept[::4096])

    def part(say: object) -> None:
        grandchildren = [act(lambda _say: rest()) for _ in range(3)]
        say(len(grandchildren))  # type: ignore[operator]
        rest()

    with acting(part) as actor:
        actor.hear()
        alone, tree = usage(actor, tree=False), usage(actor)
        share = usage(actor, pss=True)
        assert tree.threads == 4 and alone.threads == 1
        assert tree.cpu_s is not None and len(tree.cpu_s) == 4
        assert alone.memory and tree.memory and share.memory
        assert tree.memory > 3.5 * alone.memory
        assert share.memory < tree.memory / 2
    del kept


def test_what_is_not_limited_is_not_measured(monkeypatch: pytest.MonkeyPatch):
    def refuse(_self: object) -> int:
        raise AssertionError("it was asked")

    monkeypatch.setattr(psutil.Process, "num_fds", refuse)
    now = measure(Resources(memory=1), identify_self(), Families())
    assert now.memory and now.descriptors == 0


def test_another_process_with_the_pid_is_unknown():
    own = identify_self()
    assert measure(ALL, own, Families()).memory
    assert measure(ALL, replace(own, start_ticks=own.start_ticks + 1), Families()) == Usage()
    assert measure(ALL, Identity(2**22 + 5, 1), Families()) == Usage()


def test_a_zombie_is_unknown():
    with adopting_orphans():
        actor = act(lambda _say: None)
        actor.status()
        assert measure(ALL, actor.identity, Families()) == Usage()
        actor.close()


def test_what_may_not_be_looked_at_is_unknown_and_the_rest_is_known(monkeypatch: pytest.MonkeyPatch):
    def refuse(_self: object) -> int:
        raise psutil.AccessDenied

    kernel = type(psutil.Process()._proc)
    monkeypatch.setattr(kernel, "num_fds", refuse)
    monkeypatch.setattr(kernel, "cpu_times", refuse)
    now = measure(ALL, identify_self(), Families())
    assert (now.descriptors, now.cpu_s) == (None, None)
    assert now.memory and now.threads
    assert {what: value for what, value, _ in figures(ALL, Usage(), now)}["descriptors"] is None


def test_a_child_that_goes_meanwhile_uses_nothing(monkeypatch: pytest.MonkeyPatch):
    class Haunted(Families):
        def tree(self, root: tuple[int, int]) -> list[tuple[int, int]]:
            return [root, (2**22 + 5, 1)]

    assert measure(ALL, identify_self(), Haunted()).threads == len(os.listdir("/proc/self/task"))


# ---------------------------------------------------------------- CPU over time


def at(seconds: float, newest: int, **cpu_s: float) -> Usage:
    """Processes are `p10=1.5`: the one born at tick 10 has used 1.5 s in its life."""
    used = {(1, int(name[1:])): value for name, value in cpu_s.items()}
    return Usage(int(seconds * SECOND_NS), newest, cpu_s=used)


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [
        (at(0, 10, p10=1.0), at(10, 10, p10=6.0), 50),
        (at(0, 10, p10=1.0), at(10, 20, p10=1.0, p20=5.0), 50),
        (at(0, 20, p10=1.0, p20=5.0), at(10, 20, p10=2.0), 10),
        (at(0, 30, p10=1.0), at(10, 30, p10=1.0, p20=500.0), 0),
        (at(0, 10, p10=1.0), at(10, 10, p10=0.5), 0),
        (Usage(), at(10, 10, p10=1.0), None),
        (at(0, 10, p10=1.0), Usage(), None),
        (at(5, 10, p10=1.0), at(5, 10, p10=2.0), None),
    ],
    ids=(
        "one",
        "a new child",
        "a child that went",
        "a stranger that joined",
        "less",
        "first",
        "gone",
        "no time",
    ),
)
def test_cpu_is_what_was_used_between_two_looks(before, now, percent):
    found = cpu_percent(before, now)
    assert found == percent if percent is None else found == pytest.approx(percent)


def test_a_busy_process_uses_what_the_kernel_says():
    def busy(say: object) -> None:
        say("busy")  # type: ignore[operator]
        while True:
            pass

    with acting(busy) as actor:
        actor.hear()
        before = usage(actor)
        start_s = total_s(actor)
        until(lambda: total_s(actor) >= start_s + 0.2, "it has used some CPU")
        end_s = total_s(actor)
        now = usage(actor)
        percent = cpu_percent(before, now)
        assert percent is not None
        used_s = percent * (now.at_ns - before.at_ns) / SECOND_NS / 100
        assert used_s >= end_s - start_s - 1e-6, "but for the rounding of floats"


def total_s(actor: Actor) -> float:
    return float(sum(psutil.Process(actor.pid).cpu_times()[:2]))


def test_one_look_at_all_processes_serves_many_workers(monkeypatch: pytest.MonkeyPatch):
    looks = []
    everybody = resources._look_at_all
    monkeypatch.setattr(resources, "_look_at_all", lambda: looks.append(1) or everybody())
    monkeypatch.setattr(resources, "monotonic_ns", lambda: 10**12)
    families = Families()
    for _ in range(5):
        measure(ALL, identify_self(), families)
    assert len(looks) == 1
    monkeypatch.setattr(resources, "monotonic_ns", lambda: 10**12 + resources.KEPT_NS)
    measure(ALL, identify_self(), families)
    assert len(looks) == 2


# ---------------------------------------------------------------- what follows


class Played:
    """A meter whose looks find what the test says."""

    def __init__(self, limits: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits = limits
        self.acted: list[Excess] = []
        self.can_act = True
        self.strikes: dict[str, Strikes] = {}
        self.memory: int | None = 0
        monkeypatch.setattr(meter, "measure", lambda *_: Usage(1, memory=self.memory))

    async def act(self, excess: Excess) -> bool:
        self.acted.append(excess)
        return self.can_act

    def look(self, *values: int | None) -> list[str]:
        """Texts of what follows from these."""

        async def play() -> None:
            tools = type(
                "Tools", (), {"kept": type("Kept", (), {"changed": lambda _: None})(), "families": None}
            )()
            one = Meter(Owner(tools, identify_self, self.strikes, self.act), self.limits)  # type: ignore[arg-type]
            one.close()
            for value in values:
                self.memory = value
                await one._look()

        self.acted.clear()
        asyncio.run(play())
        return [excess.text for excess in self.acted]


def test_too_much_in_a_row_and_once_until_it_was_under_again(monkeypatch: pytest.MonkeyPatch):
    played = Played(Resources(memory=10, strikes=3), monkeypatch)
    assert played.look(11, 11, 9, 11, 11) == []
    assert played.look(12) == ["memory 12B over 10B, 3 times in a row"], "kept from one service to the next"
    assert played.look(12, 12, None, 12) == []
    assert played.look(10, 11, 11, 11) == ["memory 11B over 10B, 3 times in a row"]


def test_what_cannot_follow_now_follows_at_the_next_look(monkeypatch: pytest.MonkeyPatch):
    played = Played(Resources(memory=10, strikes=1), monkeypatch)
    played.can_act = False
    assert len(played.look(11, 11)) == 2
    played.can_act = True
    assert len(played.look(11, 11)) == 1


def test_the_share_of_memory_is_measured_where_it_may_hang(monkeypatch: pytest.MonkeyPatch):
    threads = []
    played = Played(Resources(memory=10, pss=True, strikes=1), monkeypatch)
    monkeypatch.setattr(
        meter, "measure", lambda *_: threads.append(threading.current_thread()) or Usage(1, memory=11)
    )
    assert played.look(11) == ["memory 11B over 10B"]
    assert threads[0] is not threading.main_thread()
    until(lambda: threading.active_count() == 1, "its thread has ended")


# ---------------------------------------------------------------- watched files


def test_a_file_is_told_apart_by_time_size_and_inode(tmp_path: Path):
    path = tmp_path / "f"
    assert files.look([str(path), str(path / "below")]) == {str(path): None, str(path / "below"): None}
    path.write_text("a")
    seen = [files.look([str(path)])[str(path)]]
    os.utime(path, ns=(1, 1))
    seen.append(files.look([str(path)])[str(path)])
    path.write_text("ab")
    os.utime(path, ns=(1, 1))
    seen.append(files.look([str(path)])[str(path)])
    other = tmp_path / "g"
    other.write_text("cd")
    os.utime(other, ns=(1, 1))
    other.rename(path)
    seen.append(files.look([str(path)])[str(path)])
    link = tmp_path / "link"
    link.symlink_to(path)
    assert files.look([str(link)])[str(link)] == seen[-1]
    assert len(set(seen)) == 4


def test_what_cannot_be_looked_at_is_left_out(tmp_path: Path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert files.look([str(loop)]) == {}
