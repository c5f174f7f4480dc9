"""`check`: the summary, or every problem."""

import json

import pytest

from twinwatch.cli.main import main

GOOD = "pair: shop\nworkers:\n  web: {command: [sleep, '1'], instances: 2}\n"
BAD = "pair: shop\nwatch: {intervall: 1s}\nworkers:\n  web: {comand: x}\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "shop.yaml"
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    return write


def run(capsys, *argv):
    code = main(["check", *argv])
    return code, *capsys.readouterr()


def test_right(file, capsys):
    path = file(GOOD)
    assert run(capsys, path) == (0, f"{path}: ok: pair shop, 1 worker, 2 processes\n", "")


def test_wrong(file, capsys):
    path = file(BAD)
    code, out, err = run(capsys, path)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith(f"twinwatch: {path}:2:9: watch.intervall: unknown key")
    assert err.splitlines()[-1] == f"twinwatch: 3 problems in {path}"


def test_json(file, capsys):
    code, out, err = run(capsys, "--json", file(BAD))
    document = json.loads(out)
    assert (code, err, document["ok"], len(document["problems"])) == (2, "", False, 3)
    assert document["problems"][0]["line"] == 2
    code, out, _ = run(capsys, "--json", file(GOOD))
    document = json.loads(out)
    assert (code, document["ok"], document["workers"], document["processes"]) == (0, True, 1, 2)


def test_the_file_is_found_as_the_pair_is(file, capsys, monkeypatch):
    path = file(GOOD)
    assert run(capsys, "-c", path)[0] == 0
    monkeypatch.setenv("TWINWATCH_CONFIG", path)
    assert run(capsys)[0] == 0


def test_a_pair_is_no_file(capsys):
    code, _, err = run(capsys, "-p", "shop")
    assert code == 6
    assert "add CONFIG" in err


def test_no_such_file(capsys, tmp_path):
    assert run(capsys, str(tmp_path / "none.yaml"))[0] == 2
