"""Short ways give what the long ones give."""

from __future__ import annotations

import os

import pytest
from Crypto.Hash import keccak
from kexkit import secp256k1
from kexkit_x3dh import cipher


@pytest.mark.parametrize("size", [*range(0, 300), 1000, 10_000, 2**20])
def test_keccak_in_one_crossing_is_keccak(size: int) -> None:
    data = os.urandom(size)
    assert secp256k1.keccak256(data) == keccak.new(data=data, digest_bits=256).digest()


def test_where_the_one_crossing_is_not_found_the_other_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(keccak, "_raw_keccak_lib")
    assert secp256k1._quicker_keccak() is secp256k1._keccak_by_object


def test_a_crossing_that_gives_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def keccak_oneshot(self, *given: object) -> int:
            return 0

    monkeypatch.setattr(keccak, "_raw_keccak_lib", Wrong())
    assert secp256k1._quicker_keccak() is secp256k1._keccak_by_object


def test_a_vector_of_another_length_is_no_vector() -> None:
    for size in (0, 12, 15, 17, 32):
        with pytest.raises(ValueError, match="16 bytes"):
            cipher.seal(bytes(32), bytes(size), b"text", b"header")
