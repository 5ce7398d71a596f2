"""kexkit-psk keeps the contract."""

from kexkit.testing import KeyExchangeKit
from kexkit_psk.exchange import Psk


class TestPsk(KeyExchangeKit):
    make = staticmethod(lambda: Psk(bytes(32)))
