"""Damage that only a removed line of `core/record.py` would let through."""

import pytest

from twinwatch.core import record
from twinwatch.core.record import Damage
from twinwatch.core.values import Identity


def test_damage_says_what_it_is():
    assert str(Damage("magic", 7)) == "magic"


def test_a_handle_that_is_too_long():
    packed = bytearray(record.pack_identity(Identity(9, 8, 7, b"h" * record.HANDLE_MAX)))
    packed[4] = record.HANDLE_MAX + 1
    with pytest.raises(Damage, match="identity"):
        record.unpack_identity(bytes(packed))


def test_a_header_that_ends_too_early():
    with pytest.raises(Damage, match="header: "):
        record.unpack_header(record.MAGIC)
