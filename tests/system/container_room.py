"""What a container runtime does before the program begins, as far as the recipes in examples/ ask for it.

    container_room.py PLAN COMMAND...

Forbids the calls that Docker's seccomp profile forbids to a process without capabilities, and executes COMMAND.
With a `root` in PLAN (JSON) it is PID 1 of fresh PID, mount and network namespaces, and builds the root file system
first: a tmpfs with what PLAN names, read-only at the end but for its volumes. All of it goes with the last process.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import socket
import struct
import sys

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MNT_DETACH = 2
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
LD_NUMBER, IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF: load a word, jump if equal, return
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
# pivot_root; then what the profile forbids: open_by_handle_at, kcmp, pidfd_getfd with EPERM, clone3 with ENOSYS.
NUMBERS = {"x86_64": (155, (304, 312, 438), 435), "aarch64": (41, (265, 272, 438), 435)}

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    raw = [os.fsencode(argument) if isinstance(argument, str) else argument for argument in arguments]
    if getattr(libc, name)(*raw) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def make_read_only(target: str) -> None:
    mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def bind(source: str, target: str, *, writable: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "x", encoding="ascii"):
            pass
    mount(source, target, None, MS_BIND)
    if not writable:
        make_read_only(target)


def build(plan: dict) -> None:
    """`plan`: `links`, `files`, `shared` (read-only) and `volumes` by path inside; a volume is bound, or a tmpfs."""
    root = plan["root"]
    mount("none", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for path, target in plan["links"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)
    for path, text in plan["files"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        with open(root + path, "x", encoding="utf-8") as file:
            file.write(text)
        os.chmod(root + path, 0o755)
    for path, source in plan["shared"].items():
        bind(source, root + path)
    for name in ("null", "zero", "random", "urandom"):
        bind(f"/dev/{name}", f"{root}/dev/{name}", writable=True)
    os.mkdir(f"{root}/proc")
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)
    for path, (source, options) in plan["volumes"].items():
        if source:
            bind(source, root + path, writable=True)
        else:
            os.makedirs(root + path, exist_ok=True)
            mount("none", root + path, "tmpfs", MS_NOSUID | MS_NODEV, options)
    make_read_only(root)


def enter(root: str) -> None:
    """The old root is put over the new one, and is let go."""
    os.chdir(root)
    call("syscall", ctypes.c_long(NUMBERS[platform.machine()][0]), ".", ".")
    call("umount2", ".", MNT_DETACH)
    os.chdir("/")


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        fcntl.ioctl(link, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def forbid() -> None:
    _, forbidden, absent = NUMBERS[platform.machine()]
    steps = [(LD_NUMBER, 0, 0, 0)]
    for number, code in [*((number, errno.EPERM) for number in forbidden), (absent, errno.ENOSYS)]:
        steps += [(IF_EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | code)]
    steps.append((RETURN, 0, 0, ALLOW))
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(held)))
    zero = ctypes.c_ulong(0)
    call("prctl", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
    call("prctl", PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), program, zero, zero)


def main() -> None:
    """Become COMMAND."""
    plan = json.loads(sys.argv[1])
    if "root" in plan:
        build(plan)
        enter(plan["root"])
        raise_loopback()
    forbid()
    os.execvpe(sys.argv[2], sys.argv[2:], plan["environ"])


if __name__ == "__main__":
    main()
