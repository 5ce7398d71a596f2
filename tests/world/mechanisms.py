"""The key exchanges that every test here is run with, each with the policy under which it may send."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import frozen
from kexkit.api import KeyExchange
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit_psk.exchange import Psk
from kexkit_x3dh.exchange import X3DH

SECRET = bytes(range(32))


@frozen
class Mechanism:
    """What a peer is set up with."""

    name: str
    make: Callable[[], Sequence[KeyExchange]]
    policy: Policy

    @property
    def main(self) -> str:
        """The one that is chosen."""
        return self.make()[0].name


PSK = Mechanism("psk", lambda: (Psk(SECRET),), WITHOUT_FORWARD_SECRECY)
X3DH_ALONE = Mechanism("x3dh", lambda: (X3DH(),), Policy())
X3DH_LENIENT = Mechanism("x3dh with fallback", lambda: (X3DH(),), WITHOUT_FORWARD_SECRECY)
BOTH = Mechanism("psk and x3dh", lambda: (Psk(SECRET), X3DH()), WITHOUT_FORWARD_SECRECY)

ALL = (PSK, X3DH_ALONE, BOTH)
EACH = pytest.mark.parametrize("mechanism", ALL, ids=lambda mechanism: mechanism.name)
BY_NAME = {mechanism.name: mechanism for mechanism in (*ALL, X3DH_LENIENT)}
