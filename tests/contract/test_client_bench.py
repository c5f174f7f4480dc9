"""scripts/bench_beat.py shows what it says; how quick a beat is, is no test's affair."""

import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "scripts/bench_beat.py"
ROW = re.compile(r"(\S.*?)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+\.\d)")


def test_rows(tmp_path):
    command = [sys.executable, str(PROGRAM), "--samples", "5", "--calls", "10", "--directory", str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].split() == ["median", "5", "%", "95", "%", "ratio", "ns", "a", "call"]
    rows = {found[1]: found.groups()[1:] for line in lines[1:] if (found := ROW.fullmatch(line))}
    assert list(rows) == ["empty method", "beat", "advance", "beat, unwatched"]
    assert rows["empty method"][3] == "1.0"
    assert list(tmp_path.iterdir()) == []
