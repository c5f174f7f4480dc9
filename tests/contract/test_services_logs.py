"""The service for logs: which it rotates when, what it tells, what it completes."""

import gzip
import os
from types import SimpleNamespace

import pytest
from test_rotation import BLOCK, Log, died_at_length

from twinwatch.core.rotating import Stage
from twinwatch.core.spec import Rotate, WorkerSpec
from twinwatch.linux import rotation, rotation_record
from twinwatch.services import logs as service
from twinwatch.services.logs import Leaving, Logs, Watched


class Scene:
    """One log under the service's eyes, with a clock that is set by hand."""

    def __init__(self, folder, monkeypatch):
        self.log = Log(folder)
        self.told = []
        self.now_ns = 10**18
        monkeypatch.setattr(service, "wall_ns", lambda: self.now_ns)
        monkeypatch.setattr(service, "monotonic_ns", lambda: self.now_ns)
        self.logs = Logs(str(self.log.state), self.tell, lambda: None)

    def tell(self, event, **details):
        self.told.append((event, details["slot"], details["reason"]))

    def watch(self, **rotate):
        path = str(self.log.path)
        self.logs.take_over({path: Watched("web", path, Rotate(**rotate))})

    def look(self):
        self.logs.check()
        while self.logs.compress():
            pass

    def end(self):
        self.logs.close()
        self.log.close()


@pytest.fixture
def scene(tmp_path, monkeypatch):
    scene = Scene(tmp_path, monkeypatch)
    yield scene
    scene.end()


def test_by_size(scene):
    scene.watch(size=3 * BLOCK)
    scene.look()  # there is no log yet
    scene.log.write(2 * BLOCK)
    scene.look()
    assert scene.log.backups() == []
    for _ in range(3):
        scene.log.write(3 * BLOCK)
        scene.look()
    assert scene.log.backups() == ["web.log.3.gz", "web.log.2.gz", "web.log.1"]
    assert scene.log.joined() == scene.log.written == scene.log.shown()
    assert scene.told == []


def test_by_age(scene):
    scene.watch(age_ns=100, compress=False)
    scene.log.write(2 * BLOCK)
    scene.look()
    scene.now_ns += 99
    scene.look()
    assert scene.log.backups() == []
    scene.watch(age_ns=100, compress=False)  # a new process
    scene.now_ns += 1
    scene.look()
    assert scene.log.backups() == ["web.log.1"]
    scene.now_ns += 200
    scene.look()
    assert scene.log.backups() == ["web.log.1"], "less than a block is left"
    scene.log.write(2 * BLOCK)
    scene.now_ns += service.PATIENCE_NS
    scene.look()
    assert scene.log.backups() == ["web.log.2", "web.log.1"]
    assert scene.log.joined() == scene.log.written


def test_keep_and_compress_may_change(scene):
    scene.watch(size=BLOCK, compress=False)
    for _ in range(4):
        scene.log.write(2 * BLOCK)
        scene.look()
    scene.watch(size=BLOCK, keep=3)
    scene.look()
    assert scene.log.backups() == ["web.log.3.gz", "web.log.2.gz", "web.log.1"]
    assert scene.log.written.endswith(scene.log.joined())


def test_a_rotation_between_two_pieces_of_a_compression(scene, monkeypatch):
    monkeypatch.setattr(rotation, "BLOCK", BLOCK)
    scene.watch(size=8 * BLOCK)
    for _ in range(2):
        scene.log.write(8 * BLOCK)
        scene.logs.check()
    for _ in range(3):
        assert scene.logs.compress()
    scene.log.write(8 * BLOCK)
    scene.logs.check()
    assert scene.log.backups() == ["web.log.3", "web.log.2", "web.log.1"]
    while scene.logs.compress():
        pass
    assert scene.log.backups() == ["web.log.3.gz", "web.log.2.gz", "web.log.1"]
    assert scene.log.joined() == scene.log.written


def test_a_failure_is_told_once_and_tried_again_later(scene):
    scene.watch(size=BLOCK)
    scene.log.write(3 * BLOCK)
    double = scene.log.folder / "double"
    os.link(scene.log.path, double)
    for _ in range(3):
        scene.look()
        scene.now_ns += service.RETRY_NS
    assert [(event, slot) for event, slot, _ in scene.told] == [("rotate-failed", "web")]
    double.unlink()
    scene.look()
    assert scene.log.backups() == ["web.log.1"]
    os.link(scene.log.path, double)
    scene.log.write(3 * BLOCK)
    scene.look()
    assert len(scene.told) == 2
    scene.look()
    assert len(scene.told) == 2


def test_a_failure_is_not_tried_at_once(scene, monkeypatch):
    """A copy of a full disk, every second, would be a load of its own."""
    tries = []
    monkeypatch.setattr(service.Rotator, "rotate", lambda *_: tries.append(1) or fail())
    scene.watch(size=BLOCK)
    scene.log.write(3 * BLOCK)
    scene.look()
    scene.now_ns += service.RETRY_NS - 1
    scene.look()
    assert len(tries) == 1
    scene.now_ns += 1
    scene.look()
    assert len(tries) == 2
    assert scene.told == [("rotate-failed", "web", "No space left on device")]


def fail():
    raise OSError(28, os.strerror(28))


def test_a_compression_that_fails_leaves_the_rotation_alone(scene, monkeypatch):
    scene.watch(size=BLOCK)
    scene.log.write(2 * BLOCK)
    scene.look()
    os.chmod(scene.log.folder / "web.log.1", 0o600)
    os.link(scene.log.folder / "web.log.1", scene.log.folder / "double")
    scene.log.write(2 * BLOCK)
    scene.look()
    assert scene.log.backups() == ["web.log.2", "web.log.1"]
    assert len(scene.told) == 1
    scene.log.write(2 * BLOCK)
    scene.look()
    assert scene.log.backups() == ["web.log.3", "web.log.2", "web.log.1"]
    assert len(scene.told) == 1
    assert scene.log.joined() == scene.log.written


def test_what_was_begun_is_completed_when_nobody_wants_it_any_more(scene, monkeypatch):
    """The worker, or its `rotate`, has left the configuration while the service was killed."""
    scene.log.write(3 * BLOCK)
    with monkeypatch.context() as patch:
        patch.setattr(rotation, "punch", died_at_length)
        with pytest.raises(KeyboardInterrupt):
            scene.log.rotate()
    assert rotation_record.load(scene.log.record).stage is Stage.CUT
    scene.logs.take_over({})
    assert rotation_record.load(scene.log.record).stage is Stage.REST
    assert scene.log.joined() == scene.log.written


def test_told_to_end_it_gives_a_copy_up(scene):
    def pulse():
        raise Leaving

    scene.logs.pulse = pulse
    scene.watch(size=BLOCK)
    scene.log.write(3 * BLOCK)
    with pytest.raises(Leaving):
        scene.logs.check()
    assert os.listdir(scene.log.folder) == ["web.log"]


def test_a_compression_that_is_given_up(scene):
    scene.watch(size=BLOCK)
    for _ in range(2):
        scene.log.write(3 * BLOCK)
        scene.logs.check()
    scene.logs.compress()
    scene.logs.compress()
    scene.logs.close()
    assert scene.log.backups() == ["web.log.2", "web.log.1"]
    assert not [name for name in os.listdir(scene.log.folder) if name.startswith(".")]


def wanted(workers):
    told = []
    room = SimpleNamespace(
        workers=lambda: iter((9, worker, n) for worker in workers for n in range(worker.instances)),
        paths=SimpleNamespace(logs="/l"),
        tell=lambda event, **details: told.append((event, details["slot"])),
    )
    return [(log.label, path) for path, log in service.wanted(room).items()], told


def test_which_logs():
    rotate = Rotate(size=1)
    workers = [WorkerSpec("web", (), 2, rotate=rotate), WorkerSpec("db", (), log="/x/db", rotate=rotate)]
    found = [("web", "/l/web.log"), ("web:1", "/l/web.1.log"), ("db", "/x/db")]
    assert wanted([*workers, WorkerSpec("not", ())]) == (found, [])


def test_backups_never_take_the_place_of_another_log():
    out, numbered = WorkerSpec("out", (), log="out", rotate=Rotate(size=1)), WorkerSpec("n", (), log="out.3")
    assert wanted([out, numbered]) == ([], [("rotate-failed", "out")])


def test_compressed_backups_are_plain_gzip(scene):
    scene.watch(size=BLOCK)
    for _ in range(2):
        scene.log.write(3 * BLOCK)
        scene.look()
    first = gzip.decompress((scene.log.folder / "web.log.2.gz").read_bytes())
    assert scene.log.written.startswith(first)
