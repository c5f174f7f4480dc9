"""scripts/measure-anchors measures, and writes between its marks and nowhere else."""

import importlib.util
import subprocess
import sys

import pytest
from init_kit import Sysvinit
from machine_kit import CHECKOUT

SCRIPT = CHECKOUT / "scripts/measure_anchors.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("measure_anchors", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.root
@pytest.mark.slow
def test_a_row(under):
    under(Sysvinit())  # skipped where that is absent
    words = [sys.executable, str(SCRIPT), "--kills", "1", "--init", "sysvinit"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| sysvinit")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == ["yes", "1"]
    assert all(int(part) > 0 for cell in cells[4:6] for part in cell.split(" / "))


def test_a_table_goes_between_the_marks(script, tmp_path, monkeypatch):
    document = tmp_path / "anchors.md"
    document.write_text(f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n")
    monkeypatch.setattr(script, "DOCUMENT", document)
    script.put("new")
    script.put("newer")
    assert document.read_text() == f"before\n{script.BEGIN}\nnewer\n{script.END}\nafter\n"


def test_a_document_without_marks_is_left_alone(script, tmp_path, monkeypatch):
    document = tmp_path / "anchors.md"
    document.write_text("before\n")
    monkeypatch.setattr(script, "DOCUMENT", document)
    with pytest.raises(SystemExit):
        script.put("new")
    assert document.read_text() == "before\n"


def test_the_document_has_the_marks(script):
    text = (CHECKOUT / "docs/anchors.md").read_text()
    assert text.index(script.BEGIN) < text.index(script.END)
