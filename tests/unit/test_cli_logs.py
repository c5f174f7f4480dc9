"""`logs`: which files, and their lines."""

import os

import pytest

from twinwatch.cli import events
from twinwatch.cli.log_files import log_files
from twinwatch.cli.main import main
from twinwatch.cli.published import newest
from twinwatch.config import snapshot
from twinwatch.control.errors import ControlError
from twinwatch.core.record import Header
from twinwatch.core.rotating import Record
from twinwatch.core.spec import PairSpec, WorkerSpec
from twinwatch.core.values import NOBODY
from twinwatch.linux import rotation_record, statefile
from twinwatch.linux.paths import Paths

WORKERS = (
    WorkerSpec("web", ("web",), instances=2),
    WorkerSpec("db", ("db",), log="/var/log/db.log"),
    WorkerSpec("one", ("x",), instances=2, log="shared.log"),
)
SPEC = PairSpec("shop", workers=WORKERS, generation=1)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["web"], {"L/web.log": "web", "L/web.1.log": "web:1"}),
        (["web:0"], {"L/web.log": "web"}),
        (["web:1", "web"], {"L/web.1.log": "web:1", "L/web.log": "web"}),
        (["db"], {"/var/log/db.log": "db"}),
        (["one"], {"L/shared.log": "one"}),
    ],
)
def test_files_of_workers(names, expected):
    assert log_files(SPEC, names, "L") == expected


def test_files_of_all():
    assert list(log_files(SPEC, ["all"], "L").values()) == ["web", "web:1", "db", "one"]
    assert log_files(PairSpec("shop"), ["all"], "L") == {}


@pytest.mark.parametrize(("name", "hint"), [("wbe", "did you mean 'web'?"), ("web:7", "web")])
def test_an_unknown_worker(name, hint):
    with pytest.raises(ControlError, match="unknown worker") as error:
        log_files(SPEC, [name], "L")
    assert error.value.exit_code == 5
    assert hint in str(error.value)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """A pair that was up once, with something in two of its logs."""
    monkeypatch.setenv("TWINWATCH_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TWINWATCH_RUNTIME_DIR", str(tmp_path / "run"))
    paths = Paths("shop", str(tmp_path / "run"), str(tmp_path / "state"))
    for folder in (paths.runtime, paths.logs, paths.snapshots):
        os.makedirs(folder)
    snapshot.write(paths.snapshots, SPEC)
    write(paths, "web.log", "one\ntwo\nthr")
    write(paths, "web.1.log", "\x1b[1mraw\n")
    return paths


def write(paths, name, text):
    with open(f"{paths.logs}/{name}", "a", encoding="utf-8") as file:
        file.write(text)


def run(capsys, *argv):
    code = main(["-p", "shop", "logs", *argv])
    return code, *capsys.readouterr()


def test_one_file_as_it_is(paths, capsys):
    assert run(capsys, "web:0") == (0, "one\ntwo\nthr\n", "")
    assert run(capsys, "web:0", "-n", "2") == (0, "two\nthr\n", "")
    assert run(capsys, "web:1")[1] == "\x1b[1mraw\n"


def test_several_files_with_labels(paths, capsys):
    assert run(capsys, "web", "-n", "1")[1] == "web   | thr\nweb:1 | \x1b[1mraw\n"


def test_nothing_written_yet(paths, capsys):
    code, out, err = run(capsys, "one")
    assert (code, out) == (0, "")
    assert err == f"twinwatch: one has written nothing yet: there is no {paths.logs}/shared.log\n"


def test_following(paths, capsys, monkeypatch):
    def pauses():
        write(paths, "web.log", "ee\n")
        yield
        os.truncate(f"{paths.logs}/web.log", 0)
        write(paths, "web.log", "new\n")
        yield
        raise KeyboardInterrupt

    pause = pauses()
    monkeypatch.setattr(events.time, "sleep", lambda _: next(pause))
    assert run(capsys, "-f", "web:0", "-n", "1") == (130, "three\nnew\n", "")


def test_a_rotated_log(paths, capsys):
    """The older half is in a backup, cut within a line; then the backup is lost while somebody follows."""
    log = f"{paths.logs}/web.log"
    os.rename(log, f"{log}.1")
    write(paths, "web.log", "ee\nfour\n")
    keep_record(paths, log, start=11, segments=(11,))
    assert run(capsys, "web:0") == (0, "one\ntwo\nthree\nfour\n", "")
    assert run(capsys, "web:0", "-n", "3")[1] == "two\nthree\nfour\n"


def test_what_is_in_no_backup_any_more(paths, capsys, monkeypatch):
    log = f"{paths.logs}/web.log"

    def pauses():
        keep_record(paths, log, start=1000, segments=(989,))
        os.truncate(log, 0)
        write(paths, "web.log", "new\n")
        yield
        raise KeyboardInterrupt

    pause = pauses()
    monkeypatch.setattr(events.time, "sleep", lambda _: next(pause))
    code, out, err = run(capsys, "-f", "web:0", "-n", "1")
    assert (code, out) == (130, "thr\nnew\n")
    assert "twinwatch: web: 989 bytes are in no backup any more" in err


def keep_record(paths, log, *, start, segments):
    """The file begins behind all of them."""
    status = os.stat(log)
    record = Record(log, status.st_dev, status.st_ino, base=start, start=start, segments=segments)
    rotation_record.save(rotation_record.path_of(paths.state, log), record)


def test_a_pair_that_was_never_up(paths, capsys):
    os.unlink(f"{paths.snapshots}/config.1.json")
    code, _, err = run(capsys, "web")
    assert code == 7
    assert "never up" in err
    os.rmdir(paths.snapshots)
    assert run(capsys, "web")[0] == 7


def test_the_configuration_in_force(paths):
    """The header's, where it says one that is kept; else the newest."""
    snapshot.write(paths.snapshots, PairSpec("shop", generation=2))
    assert newest(paths).generation == 2
    header = Header("shop", bytes(16), bytes(16), 0, NOBODY, 0, "", 0, 0, config_generation=1)
    statefile.create(paths.runtime, header, {})
    assert newest(paths).generation == 1
    with open(f"{paths.runtime}/state", "r+b") as file:
        file.write(bytes(2048))
    assert newest(paths).generation == 2
