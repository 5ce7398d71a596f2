"""A store that is put back, or copied, in the middle of a handshake."""

from __future__ import annotations

import pytest
from kexkit_noise import payload
from kexkit_noise.mechanisms import MECHANISMS

from tests.noise.meeting import NAMES, Meeting, pair_of


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_responder_that_is_put_back_answers_under_other_keys(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    bodies = []
    for seed in ("once", "and again"):
        (second,) = pair.bob.copy(seed=seed).receive(first).sent
        bodies.append(payload.decode(second.frame, MECHANISMS[name].protocol_id))
    one, other = bodies
    assert one.fields[:33] != other.fields[:33]
    assert not any(xor(one.transport, other.transport)[place : place + 16] == bytes(16) for place in range(200))


@pytest.mark.parametrize("name", [name for name in NAMES if not MECHANISMS[name].heals])
def test_a_plain_initiator_that_is_put_back_says_the_same_again(name: str) -> None:
    pair = pair_of(name)
    meeting = Meeting(pair)
    second = meeting.second(meeting.first())
    frames = {pair.alice.copy(seed=seed).receive(second).sent[0].frame for seed in ("once", "and again")}
    assert len(frames) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if MECHANISMS[name].heals])
def test_a_healing_initiator_that_is_put_back_seals_two_ratchet_keys_under_one_key_and_nonce(name: str) -> None:
    """And nothing else that differs: all that shows is the difference of two public keys. healing-noise.md says so."""
    pair = pair_of(name)
    meeting = Meeting(pair)
    second = meeting.second(meeting.first())
    one, other = (
        payload.decode(pair.alice.copy(seed=seed).receive(second).sent[0].frame, MECHANISMS[name].protocol_id).transport
        for seed in ("once", "and again")
    )
    mixed = xor(one, other)[:-16]
    assert mixed[:1] + mixed[33:] == bytes(len(mixed) - 32)
    assert len(set(mixed[1:33])) > 8
