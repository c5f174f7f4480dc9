"""A raw wait status, told apart: success, error, signal, core dump."""

from dataclasses import replace

from twinwatch.core.record import Slot
from twinwatch.core.values import NO_EXIT, Ending, Exit, ExitKind, Identity, Phase, Stage

_CORE = 0x80
_SIGNAL = 0x7F


def decode(status: int | None, success_codes: tuple[int, ...], generation: int, at_ns: int) -> Exit:
    """`status` as `waitpid` gives it; None: nobody could see it."""
    if status is None:
        return Exit(ExitKind.UNKNOWN, generation, at_ns=at_ns)
    signal = status & _SIGNAL
    if signal:
        return Exit(ExitKind.SIGNAL, generation, signal=signal, core=bool(status & _CORE), at_ns=at_ns)
    code = status >> 8 & 0xFF
    kind = ExitKind.CLEAN if code in success_codes else ExitKind.ERROR
    return Exit(kind, generation, code=code, at_ns=at_ns)


def failed_start(stage: Stage, number: int, generation: int, at_ns: int) -> Exit:
    """A child that could not become its program."""
    return Exit(ExitKind.EXEC_FAILED, generation, code=number, stage=stage, at_ns=at_ns)


def handed_over(slot: Slot, identity: Identity) -> Slot:
    """The record of a generation whose leader has handed over to another process of it.

    Also after the leader has ended in order: what it left is then no escapee but the worker.
    """
    if slot.is_over and slot.exit.kind not in (ExitKind.CLEAN, ExitKind.ESCAPED):
        return slot
    if slot.is_over and slot.ending is not Ending.NONE:
        return slot
    if not slot.is_over:
        return replace(slot, identity=identity)
    end = replace(NO_EXIT, generation=slot.generation - 1)
    return replace(slot, identity=identity, exit=end, phase=Phase.RUNNING, until_ns=0)
