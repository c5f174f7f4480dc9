"""Which files are read at all, and by whom."""

import os

import pytest

from twinwatch.config.load import ConfigError, load
from twinwatch.config.source import SIZE_MAX
from twinwatch.core.record import SOURCE_MAX

ENVIRON = {"PATH": "/usr/bin:/bin"}


def answer(path: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(str(path), ENVIRON)
    return str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    assert answer(tmp_path / "no") == f"{tmp_path}/no: cannot be read: No such file or directory"
    assert answer(tmp_path) == f"{tmp_path}: is a directory, not a configuration file"
    assert answer("") == "is not a path"
    assert "is not a path" in answer("a\0b")
    os.mkfifo(tmp_path / "fifo")
    assert answer(tmp_path / "fifo") == f"{tmp_path}/fifo: is not a regular file"


def test_a_file_that_is_too_large(tmp_path):
    file = tmp_path / "big"
    file.touch(0o644)
    os.truncate(file, SIZE_MAX + 1)
    assert answer(file) == f"{file}: is larger than 4 MiB: not a configuration"


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    file = tmp_path / "grows"
    file.touch(0o644)
    os.truncate(file, SIZE_MAX + 1)
    monkeypatch.setattr("twinwatch.config.source._check_shape", lambda *_: None)
    assert answer(file) == f"{file}: is larger than 4 MiB: not a configuration"


def test_a_path_that_the_state_file_cannot_hold(tmp_path):
    folder = tmp_path.joinpath(*["d" * 200] * 4)
    folder.mkdir(parents=True)
    (folder / "c.yaml").write_text("pair: p\n")
    assert f"its real path is longer than {SOURCE_MAX} bytes: {folder}/c.yaml" in answer(folder / "c.yaml")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yaml")
    with open(odd, "w", encoding="utf-8") as file:
        file.write("pair: p\n")
    assert "its path is not UTF-8 text" in answer(odd)


@pytest.fixture
def as_root(monkeypatch):
    """The checks that root's runs get, whoever runs the tests."""
    status = os.fstat

    def owned_by(uid):
        monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result([*status(fd)[:4], uid, *status(fd)[5:10]]))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    owned_by(0)
    return owned_by


def test_root_obeys_no_file_that_others_can_change(tmp_path, as_root):
    file = tmp_path / "c.yaml"
    file.write_text("pair: p\n")
    for mode in (0o664, 0o646):
        file.chmod(mode)
        assert answer(file) == f"{file}: can be changed by others than root: chmod go-w {file}"
    file.chmod(0o644)
    assert load(str(file), ENVIRON).name == "p"
    tmp_path.chmod(0o777)
    assert answer(file) == f"{file}: can be replaced by anybody: chmod o-w {tmp_path}"
    tmp_path.chmod(0o1777)
    assert load(str(file), ENVIRON).name == "p"
    as_root(1234)
    assert answer(file) == f"{file}: belongs to uid 1234, and root would obey it: chown root {file}"
