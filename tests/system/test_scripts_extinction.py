"""Real extinctions by scripts/extinction: a pair ends under independent kills, and nothing of it is left."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
# In a process of its own: a subreaper stays one.
PROGRAM = """
import json, random, sys
sys.path.insert(0, sys.argv[1])
from extinct import real
end = real.extinguish(1, 150.0, random.Random(1))
seen = real.measure(2)
print(json.dumps([end.seconds, end.kills, end.births, seen.samples_s, seen.twin_share]))
"""


@pytest.mark.slow
def test_a_real_pair_ends_and_its_repairs_are_measured(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(SCRIPTS)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, kills, births, samples, share = json.loads(done.stdout)
    assert seconds > 0 and kills >= 3 and births >= 0  # an orphan whose role was taken leaves by itself
    assert all(len(values) == 2 and min(values) >= 0 for values in samples.values())
    assert 0 <= share <= 1
    assert list(tmp_path.iterdir()) == []
