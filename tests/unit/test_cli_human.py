"""Numbers, times and exits as people read them."""

import pytest

from twinwatch.cli.human import clean, ending, percent, signal_name, size, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0.0s"),
        (0.34, "0.3s"),
        (9.9, "9.9s"),
        (45.9, "45s"),
        (60, "1m"),
        (725, "12m5s"),
        (3600, "1h"),
        (3605, "1h"),
        (18120, "5h2m"),
        (273600, "3d4h"),
        (86400 * 400, "400d"),
    ],
)
def test_span(seconds, text):
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0B"),
        (512, "512B"),
        (1023, "1023B"),
        (1024, "1.0KiB"),
        (1536, "1.5KiB"),
        (2**20 - 1, "1.0MiB"),
        (100 * 2**20, "100MiB"),
        (2**50, "1024TiB"),
    ],
)
def test_size(count, text):
    assert size(count) == text


def test_percent():
    assert (percent(None), percent(0.25), percent(400)) == ("-", "0.2%", "400.0%")


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (None, "-"),
        ({"kind": "clean", "code": 0, "signal": None, "core": False, "reason": None}, "exit 0"),
        (
            {"kind": "error", "code": 3, "signal": None, "core": False, "reason": "restart"},
            "exit 3 (restart)",
        ),
        ({"kind": "signal", "code": None, "signal": 9, "core": False, "reason": None}, "SIGKILL"),
        ({"kind": "signal", "code": None, "signal": 6, "core": True, "reason": None}, "SIGABRT, core dumped"),
        ({"kind": "exec-failed", "code": None, "signal": None, "reason": "exec: x"}, "exec failed (exec: x)"),
        ({"kind": "unknown", "code": None, "signal": None, "core": False, "reason": None}, "unknown"),
    ],
)
def test_ending(end, text):
    assert ending(end) == text


def test_a_signal_without_a_name():
    assert signal_name(40) == "signal 40"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain ü…", "plain ü…"), ("a\nb", r"a\nb"), ("\x1b[31m", r"\x1b[31m"), ("\udc80", r"\udc80")],
)
def test_clean(text, shown):
    assert clean(text) == shown
