"""Builds the root of a machine under test, then becomes its init. Executed as PID 1 of fresh namespaces.

    enter_machine.py PLAN READY_FD

PLAN is JSON, written by `machine_kit.py`. The root is an overlay: the host's `/` below, a tmpfs on top. `/run`,
`/tmp` and `/dev` are new; of the host only what `binds` names can be written to. All of it is in this mount
namespace alone, so it goes with the last process. One byte on READY_FD says that all is prepared.

What is laid over the root (`trees`) is copied into the upper layer before anything is mounted: a copy into the
finished root would follow an absolute link such as `/sbin/init` out of it, and write to the host.
"""

import ctypes
import json
import os
import shutil
import stat
import sys

CLONE_NEWCGROUP = 0x02000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd"}

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments) -> None:
    raw = [os.fsencode(argument) if isinstance(argument, str) else argument for argument in arguments]
    if function(*raw) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: {arguments}")


def mount(kind: str, target: str, flags: int = 0, data: str = "") -> None:
    os.makedirs(target, exist_ok=True)
    call(libc.mount, kind, target, kind, ctypes.c_ulong(flags), data)


def bind(source: str, target: str, flags: int = 0) -> None:
    os.makedirs(target, exist_ok=True)
    call(libc.mount, source, target, None, ctypes.c_ulong(MS_BIND), None)
    if flags:
        call(libc.mount, None, target, None, ctypes.c_ulong(MS_REMOUNT | MS_BIND | flags), None)


def make_devices(dev: str, console: str) -> None:
    mount("tmpfs", dev, MS_NOSUID, "mode=755")
    for name, minor in DEVICES.items():
        os.mknod(f"{dev}/{name}", 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        os.chmod(f"{dev}/{name}", 0o666)
    mount("devpts", f"{dev}/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=666")
    mount("tmpfs", f"{dev}/shm", MS_NOSUID | MS_NODEV)
    for name, target in {**LINKS, "console": console}.items():
        os.symlink(target, f"{dev}/{name}")


def fill(upper: str, plan: dict) -> None:
    for tree in plan["trees"]:
        strange = set(os.listdir(tree)) - {"etc", "usr", "var", "root"}
        if strange:
            raise ValueError(f"{tree} would hide {strange} of the host")
        shutil.copytree(tree, upper, symlinks=True, dirs_exist_ok=True)
    for folder in plan["hidden"]:
        os.makedirs(upper + folder, exist_ok=True)
        os.setxattr(upper + folder, "trusted.overlay.opaque", b"y")


def make_root(plan: dict) -> str:
    stage = plan["stage"]
    mount("tmpfs", stage, 0, "mode=755")
    root, upper, work = (f"{stage}/{name}" for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        os.mkdir(folder)
    fill(upper, plan)
    mount("overlay", root, 0, f"lowerdir=/,upperdir={upper},workdir={work}")
    mount("proc", f"{root}/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    bind(f"{root}/proc/sys", f"{root}/proc/sys", MS_RDONLY)
    mount("sysfs", f"{root}/sys", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    make_devices(f"{root}/dev", plan["console"])
    mount("tmpfs", f"{root}/run", MS_NOSUID | MS_NODEV, "mode=755")
    mount("tmpfs", f"{root}/tmp", MS_NOSUID | MS_NODEV, "mode=1777")
    if plan["cgroup"]:
        mount("cgroup2", f"{root}/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for source, target, flags in plan["binds"]:
        bind(source, root + target, flags)
    return root


def change_root(root: str) -> None:
    os.chdir(root)
    os.makedirs("old", exist_ok=True)
    call(libc.syscall, SYS_PIVOT_ROOT[os.uname().machine], ".", "old")
    call(libc.umount2, "/old", MNT_DETACH)
    os.chdir("/")


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    if plan["cgroup"]:  # before the namespace is made: what one is in becomes its root
        with open(f"{plan['cgroup']}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")
        call(libc.unshare, CLONE_NEWCGROUP)
    change_root(make_root(plan))
    ready = int(sys.argv[2])
    os.write(ready, b"1")
    os.close(ready)
    os.execve(plan["argv"][0], plan["title"], plan["environ"])


if __name__ == "__main__":
    main()
