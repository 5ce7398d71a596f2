"""x3dh/1 keeps every rule that kexkit asks of a key exchange."""

from __future__ import annotations

from zlib import crc32

from kexkit.api import Session
from kexkit.testing.key_exchange_kit import KeyExchangeKit
from kexkit.testing.key_exchange_thefts import Thefts
from kexkit_x3dh.exchange import X3DH


class TestX3DH(KeyExchangeKit):
    make = staticmethod(X3DH)
    random_inputs = 400_000  # 100,000 for each decoder
    frames_may_differ = True  # in one bit of a first frame: see test_the_one_bit_that_nothing_covers


class ThiefsX3DH(X3DH):
    """The thief knows how a checksum is made: what he changed in a snapshot, he sums up again."""

    def restore(self, snapshot: bytes) -> Session:
        return super().restore(snapshot[:-4] + crc32(snapshot[:-4]).to_bytes(4, "big"))


class TestTheftsByOneWhoCanSumUp(Thefts):
    make = staticmethod(ThiefsX3DH)
