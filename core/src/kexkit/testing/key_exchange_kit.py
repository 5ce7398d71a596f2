"""The conformance kit for key exchanges. Subclass it in three lines, and pytest runs all of it:

    class TestPsk(KeyExchangeKit):
        make = staticmethod(lambda: Psk(bytes(32)))

Each test's name says the rule. A guarantee that the mechanism declares is tried with attacks; one that it does not
declare is not asked for, and no session may claim it. Settings for mechanisms that are special: `KeyExchangeCase`.
"""

from __future__ import annotations

from kexkit.testing.key_exchange_attacks import Impersonations, Refuses
from kexkit.testing.key_exchange_clones import Clones
from kexkit.testing.key_exchange_leaks import Leaks
from kexkit.testing.key_exchange_talk import Talks
from kexkit.testing.key_exchange_thefts import Thefts


class KeyExchangeKit(Talks, Refuses, Impersonations, Thefts, Clones, Leaks):
    """All of them. Its tests need no fixture and no event loop, so they can also be called by hand."""
