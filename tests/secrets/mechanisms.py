"""The mechanisms whose secrets are looked for: every kind there is."""

from __future__ import annotations

import pytest
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit_noise.exchange import NoiseExchange
from kexkit_noise.mechanisms import MECHANISMS

from tests.world.mechanisms import PSK, X3DH_ALONE, Mechanism

NOISE_PSK = bytes((number * 73 + 41) % 256 for number in range(32))


def noise(name: str) -> Mechanism:
    said = MECHANISMS[name]
    psk = NOISE_PSK if said.wants_psk else None
    return Mechanism(name, lambda: (NoiseExchange(name, psk),), Policy() if said.heals else WITHOUT_FORWARD_SECRECY)


DEFAULT = noise("healing-noise-xk1/1")
ALL = (X3DH_ALONE, PSK, DEFAULT, noise("noise-xx/1"), noise("noise-xxpsk0/1"))
EACH = pytest.mark.parametrize("mechanism", ALL, ids=lambda one: one.name)
