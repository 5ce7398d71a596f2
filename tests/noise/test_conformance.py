"""The eight Noise mechanisms keep every rule of a key exchange, and promise no more than thefts show."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import pytest
from kexkit.api import Guarantee, Session
from kexkit.testing.key_exchange_clones import Clones
from kexkit.testing.key_exchange_kit import KeyExchangeKit
from kexkit.testing.key_exchange_rules import ContractBroken
from kexkit.testing.key_exchange_thefts import Thefts
from kexkit_noise import snapshots
from kexkit_noise.exchange import NoiseExchange
from kexkit_noise.mechanisms import HEALING, MECHANISMS, PLAIN, Mechanism

PSK = bytes(range(100, 132))
INPUTS = 400_000
"""of which the kit gives 100,000 or more to each decoder"""


def mechanism(name: str) -> NoiseExchange:
    return NoiseExchange(name, PSK if "psk" in name else None)


class TestHealingXK1(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("healing-noise-xk1/1"))
    tells_clones = True


class TestHealingXX(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("healing-noise-xx/1"))
    tells_clones = True


class TestHealingK1K1(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("healing-noise-k1k1/1"))
    tells_clones = True


class TestHealingXXpsk0(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: NoiseExchange("healing-noise-xxpsk0/1"))
    secret = PSK
    tells_clones = True


class TestXK1(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("noise-xk1/1"))
    nonces_are_counted = True


class TestXX(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("noise-xx/1"))
    nonces_are_counted = True


class TestK1K1(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("noise-k1k1/1"))
    nonces_are_counted = True


class TestXXpsk0(KeyExchangeKit):
    random_inputs = INPUTS
    make = staticmethod(lambda: mechanism("noise-xxpsk0/1"))
    stranger = staticmethod(lambda: NoiseExchange("noise-xxpsk0/1", bytes(32)))
    nonces_are_counted = True


class ThiefsNoise(NoiseExchange):
    """The thief knows how a checksum is made: what he changed in a snapshot, he sums up again, inside and outside."""

    def restore(self, snapshot: bytes) -> Session:
        return super().restore(summed(snapshot, self.mechanism.protocol_id))


def summed(snapshot: bytes, protocol_id: int) -> bytes:
    body = snapshot[:-4]
    kind, parts = snapshots.read(body + crc32(body).to_bytes(4, "big"), protocol_id)
    if kind == snapshots.RUNNING:
        parts[1] = parts[1][:-4] + crc32(parts[1][:-4]).to_bytes(4, "big")
    return snapshots.write(kind, protocol_id, *parts)


class TestTheftsByOneWhoCanSumUp(Thefts):
    make = staticmethod(lambda: ThiefsNoise("healing-noise-xk1/1"))


class PlainThatClaimsToTell(Clones):
    make = staticmethod(lambda: mechanism("noise-xx/1"))
    tells_clones = True


def test_plain_noise_cannot_tell_a_copy_and_does_not_claim_to() -> None:
    with pytest.raises(ContractBroken, match="the peer was not told"):
        PlainThatClaimsToTell().test_that_an_end_exists_twice_is_said_only_of_a_copy_and_then_if_it_says_so()


class StolenPlain(Thefts):
    make = staticmethod(lambda: ThiefsNoise("noise-xx/1"))


@pytest.mark.parametrize(
    "theft",
    [
        Thefts.test_a_theft_does_not_open_what_was_opened_before_if_it_says_so,
        Thefts.test_an_old_theft_does_not_open_what_comes_after_a_full_turn_if_it_says_so,
    ],
)
def test_a_stolen_plain_session_opens_the_past_and_the_future(
    theft: Callable[[Thefts], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the plain names declare neither: if they did, the kit would say what it says here."""
    monkeypatch.setattr(Mechanism, "guarantees", property(lambda mechanism: HEALING))
    with pytest.raises(ContractBroken, match=r"a later theft opens|a theft before a full turn opens"):
        theft(StolenPlain())


def test_what_is_declared_is_what_the_kit_s_thefts_bear_out() -> None:
    heals = Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE
    assert heals in HEALING
    assert heals & PLAIN == Guarantee.NONE
    assert {name: mechanism.heals for name, mechanism in MECHANISMS.items()} == {
        f"{prefix}noise-{pattern}/1": bool(prefix)
        for prefix in ("healing-", "")
        for pattern in ("xk1", "xx", "k1k1", "xxpsk0")
    }
