"""Which boot, which PID namespace: what recorded PIDs are worth depends on it."""

import os

from twinwatch.core.record import Header
from twinwatch.core.values import Identity
from twinwatch.linux.identity import identify


def boot_id() -> bytes:
    """16 bytes, another one for every boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return bytes.fromhex(file.read().strip().replace("-", ""))


def namespace() -> tuple[int, Identity]:
    """Inode of this PID namespace and the identity of its PID 1: the inode alone is used again."""
    init = os.pidfd_open(1)
    try:
        identity = identify(1, init)
    finally:
        os.close(init)
    return os.stat("/proc/self/ns/pid").st_ino, identity


def is_foreign(header: Header) -> bool:
    """Recorded in another boot or PID namespace: what it names are not processes of here."""
    return header.boot_id != boot_id() or (header.namespace_inode, header.namespace_init) != namespace()
