"""Where the files of an init are: what is there, putting ours there, taking it away again.

Invariants: a file is replaced whole or not at all, and keeps mode and owner where it is somebody else's;
below a root of its own no link leads out of it.
"""

import errno
import os
import stat
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from glob import glob

from twinwatch.anchor.inits import inittab
from twinwatch.anchor.inits.recipe import MARK, Block, File, Item, Link, Unfit
from twinwatch.control.errors import ControlError

_LINKS_MAX = 40  # as the kernel has it
_FOLDER_MODE = 0o755


@dataclass(frozen=True, slots=True)
class Site:
    """`root`: '' is this machine. `force`: also over what is not ours, or what is at work."""

    init: str
    root: str = ""
    force: bool = False

    def place(self, path: str) -> str:
        """Where `path` is from here. Links on the way are followed as they are meant there."""
        return _inside(self.root, path) if self.root else path

    def file(self, path: str) -> str:
        """Likewise; where it is a link, the file that the link stands for."""
        return os.path.dirname(_inside(self.root, f"{path}/.")) if self.root else os.path.realpath(path)

    def has_folder(self, path: str) -> bool:
        return os.path.isdir(self.file(path))

    def seen_from_there(self, path: str) -> str:
        """A path of here, as it is called where `root` is the root."""
        real = os.path.realpath(self.root or "/")
        return path.removeprefix(real) if real != "/" and path.startswith(f"{real}/") else path


class Found(Enum):
    """What is at an item's path. OURS: another version of it. FOREIGN: something else."""

    NOTHING = "nothing"
    SAME = "same"
    OURS = "ours"
    FOREIGN = "foreign"


def _inside(root: str, path: str) -> str:
    folder, name = os.path.split(path)
    todo, done, links = deque(folder.split("/")), list[str](), 0
    while todo:
        part = todo.popleft()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        target = _target(os.path.join(root, *done, part))
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _LINKS_MAX:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done.clear()
        todo.extendleft(reversed(target.split("/")))
    return os.path.join(root, *done, name)


def _target(path: str) -> str | None:
    """What a link leads to; None: it is none, or nothing is there."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            raise
        return None


# ---------------------------------------------------------------- looking


def is_wanted(item: Item, at: Site) -> bool:
    return isinstance(item, Block) or not item.only_in or at.has_folder(item.only_in)


def look(item: Item, at: Site) -> Found:
    """Raises ControlError for a file of others that is not there, or in which our lines cannot be told."""
    match item:
        case File():
            return _look_at_file(item, at)
        case Link():
            path = at.place(item.path)
            if _target(path) == item.target:
                return Found.SAME
            return Found.FOREIGN if os.path.lexists(path) else Found.NOTHING
        case Block():
            text = _text_of_others(item, at)
            if not inittab.holds(text, item):
                return Found.NOTHING
            return Found.SAME if _inserted(text, item) == text else Found.OURS


def look_back(item: Item, at: Site) -> Found:
    """Likewise, before a removal: where there is no such file, nothing of ours is in it."""
    if isinstance(item, Block) and not os.path.exists(at.file(item.path)):
        return Found.NOTHING
    return look(item, at)


def objection(item: Item, at: Site) -> str:
    """Why this place is not taken."""
    path = at.place(item.path)
    mark = next(iter(_marks(path)), "") if os.path.isfile(path) else ""
    if mark:
        return f"{path} is that of {mark.removeprefix(MARK).strip()}: uninstall that first"
    return f"{path} is not ours: move it away, or replace it with --force"


def _look_at_file(item: File, at: Site) -> Found:
    path = at.place(item.path)
    try:
        status = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return Found.NOTHING
    if not stat.S_ISREG(status.st_mode):
        return Found.FOREIGN
    with open(path, "rb") as file:
        is_same = file.read() == item.text.encode()
    if is_same and stat.S_IMODE(status.st_mode) == item.mode:
        return Found.SAME
    if item.beside:
        return Found.OURS if _marks(at.place(item.beside)) else Found.FOREIGN
    return Found.OURS if _marks(path) == _marks_in(item.text) else Found.FOREIGN


def _marks(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _marks_in(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _marks_in(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(MARK)]


def drawn(block: Block, at: Site) -> str:
    """The lines of a block, as they would be put into the file that is there."""
    try:
        text = _read(at.file(block.path))
    except (FileNotFoundError, PermissionError):
        text = ""
    try:
        return inittab.draw(block, inittab.remove(text, block))
    except Unfit as unfit:
        raise ControlError(str(unfit)) from None


def _text_of_others(block: Block, at: Site) -> str:
    path = at.file(block.path)
    try:
        text = _read(path)
    except FileNotFoundError:
        raise ControlError(
            f"there is no {path}, which says what {at.init} does at boot: ours alone would say too little"
        ) from None
    try:
        inittab.holds(text, block)
    except Unfit as unfit:
        raise ControlError(str(unfit)) from None
    return text


def _inserted(text: str, block: Block) -> str:
    try:
        return inittab.insert(text, block)
    except Unfit as unfit:
        raise ControlError(str(unfit)) from None


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


# ---------------------------------------------------------------- doing


def lay(item: Item, at: Site) -> str:
    """Put it there; a line that says so."""
    path = at.place(item.path)
    match item:
        case File():
            _make_folder(os.path.dirname(path))
            _replace(path, item.text.encode(), item.mode)
        case Link():
            _make_folder(os.path.dirname(path))
            draft = _draft(path)
            os.symlink(item.target, draft)
            os.rename(draft, path)
            _sync(os.path.dirname(path))
        case Block():
            _rewrite(item, at, _inserted(_text_of_others(item, at), item))
            return f"wrote our lines into {path}"
    return f"wrote {path}"


def remove(item: Item, at: Site) -> str:
    """Take it away, if it is ours and there; a line that says so."""
    path = at.place(item.path)
    match item:
        case Block():
            _rewrite(item, at, inittab.remove(_text_of_others(item, at), item))
            return f"removed our lines from {path}"
        case File(shared=pattern) if pattern and glob(at.place(pattern)):
            return f"left {path}: another pair needs it"
        case File() | Link():
            os.unlink(path)
            _sync(os.path.dirname(path))
            return f"removed {path}"


def remove_folder(path: str, at: Site) -> list[str]:
    folder = at.place(path)
    try:
        os.rmdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return [f"left {folder}: there is something else in it"]
    return [f"removed {folder}"]


def _rewrite(block: Block, at: Site, text: str) -> None:
    _replace(at.file(block.path), text.encode("utf-8", "surrogateescape"), None)


def _make_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    _make_folder(os.path.dirname(folder))
    with suppress(FileExistsError):
        os.mkdir(folder)
        os.chmod(folder, _FOLDER_MODE)


def _draft(path: str) -> str:
    """A free name in the same folder, which no init takes for a file of its own."""
    draft = f"{os.path.dirname(path)}/.twinwatch.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(draft)
    return draft


def _replace(path: str, data: bytes, mode: int | None) -> None:
    """`mode` None: mode, owner and attributes are those of the file that is there."""
    draft = _draft(path)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            if mode is None:
                _resemble(fd, path)
            else:
                os.fchmod(fd, mode)
            os.fsync(fd)
        os.rename(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    _sync(os.path.dirname(path))


def _resemble(fd: int, path: str) -> None:
    status = os.stat(path)
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    with suppress(OSError):  # any errno: an attribute that cannot be had here is not needed here
        for name in os.listxattr(path):
            os.setxattr(fd, name, os.getxattr(path, name))


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
