"""For tests that have `strace` tell what a process asks of the kernel."""

import shutil

import pytest

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="interpreter absent: strace")
