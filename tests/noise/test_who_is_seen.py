"""What an observer who has everybody's offers sees of a handshake: not who begins, but in K1K1."""

from __future__ import annotations

from uuid import UUID

import pytest
from kexkit.testing.key_exchange_party import Party, Sent

from tests.noise.meeting import NAMES, Meeting, pair_of, static_of

ALL = pytest.mark.parametrize("name", NAMES)


def shows(frames: tuple[Sent, ...], party: Party) -> bool:
    """Does anything by which this device is known stand in them, or on the way?"""
    own = static_of(party)
    marks = (
        party.me.identity[1:],
        UUID(party.me.installation).bytes,
        own.pair.public,
        own.stated.signature[:32],
        own.stated.signature[32:],
    )
    wire = b"".join(sent.frame + (sent.topic or "").encode() for sent in frames)
    return any(mark in wire or mark.hex().encode() in wire for mark in marks)


@ALL
def test_a_handshake_shows_who_begins_in_k1k1_alone(name: str) -> None:
    pair = pair_of(name)
    frames = Meeting(pair).all()
    assert shows(frames, pair.alice) == ("k1k1" in name)
    assert not shows(frames, pair.bob)


@ALL
def test_whoever_begins_with_the_same_key_sends_the_same_first_message(name: str) -> None:
    pair = pair_of(name)
    pair.carol.rng = pair.alice.rng.copy()
    (hers,) = pair.alice.initiate(pair.bob.me).sent
    (other,) = pair.carol.initiate(pair.bob.me).sent
    assert (hers.frame == other.frame) == ("k1k1" not in name)
    assert hers.topic == other.topic
