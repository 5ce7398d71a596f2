"""x3dh/1 keeps every rule that kexkit asks of a key exchange."""

from __future__ import annotations

from kexkit.testing.key_exchange_kit import KeyExchangeKit
from kexkit_x3dh.exchange import X3DH


class TestX3DH(KeyExchangeKit):
    make = staticmethod(X3DH)
    frames_may_differ = True  # in one bit of a first frame: see test_the_one_bit_that_nothing_covers
