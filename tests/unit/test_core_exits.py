"""A raw wait status, told apart."""

import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinwatch.core import exits
from twinwatch.core.values import ExitKind, Stage

AT_NS = 77


def test_nobody_saw_it():
    end = exits.decode(None, (0,), 3, AT_NS)
    assert (end.kind, end.generation, end.at_ns) == (ExitKind.UNKNOWN, 3, AT_NS)


@given(st.integers(0, 255), st.sets(st.integers(0, 255)).map(tuple))
def test_exit_codes(code, success):
    end = exits.decode(code << 8, success, 3, AT_NS)
    assert end.kind is (ExitKind.CLEAN if code in success else ExitKind.ERROR)
    assert (end.code, end.signal, end.core, end.generation, end.at_ns) == (code, 0, False, 3, AT_NS)


@given(st.sampled_from(sorted(signal.valid_signals())), st.booleans())
def test_signals(number, core):
    status = number | (0x80 if core else 0)
    end = exits.decode(status, (0,), 3, AT_NS)
    assert (end.kind, end.signal, end.core, end.code) == (ExitKind.SIGNAL, number, core, 0)
    assert os.WTERMSIG(status) == number
    assert os.WCOREDUMP(status) == core


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage])
def test_a_failed_start_carries_stage_and_errno(stage):
    end = exits.failed_start(stage, 2, 3, AT_NS)
    assert (end.kind, end.stage, end.code, end.generation, end.at_ns) == (
        ExitKind.EXEC_FAILED,
        stage,
        2,
        3,
        AT_NS,
    )
