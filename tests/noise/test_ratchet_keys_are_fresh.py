"""The first ratchet keys are made for the ratchet: no key of the handshake is one of them, nor is one used twice."""

from __future__ import annotations

import pytest
from kexkit_noise import payload
from kexkit_noise.healing import HealingSession
from kexkit_noise.healing_state import Speaking
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_noise.sessions import Running

from tests.noise.meeting import Meeting, only, pair_of, static_of

HEALING = [name for name in MECHANISMS if name.startswith("healing-")]


def ephemeral(frame: bytes, protocol_id: int) -> bytes:
    """The first key of a handshake message, which is in clear."""
    fields = payload.decode(frame, protocol_id).fields
    assert fields[0] == 0
    return fields[1:33]


@pytest.mark.parametrize("name", HEALING)
def test_no_ratchet_key_is_a_key_of_the_handshake(name: str) -> None:
    pair = pair_of(name)
    first, second, _ = Meeting(pair).all()
    inners = [only(party, Running).inner for party in (pair.alice, pair.bob)]
    assert all(isinstance(inner, HealingSession) for inner in inners)
    ours, theirs = (inner for inner in inners if isinstance(inner, HealingSession))
    assert isinstance(ours.ratchet.sending, Speaking)
    ratchet = [ours.ratchet.sending.public, ours.ratchet.peer]
    assert theirs.ratchet.peer == ratchet[0]
    handshake = [ephemeral(sent.frame, MECHANISMS[name].protocol_id) for sent in (first, second)]
    handshake += [static_of(party).pair.public for party in (pair.alice, pair.bob)]
    assert len({*ratchet, *handshake}) == 6


@pytest.mark.parametrize("name", HEALING)
def test_another_session_begins_with_other_ratchet_keys(name: str) -> None:
    seen: set[bytes] = set()
    pair = pair_of(name)
    for _ in range(2):
        before = set(pair.alice.sessions)
        Meeting(pair).all()
        (new,) = set(pair.alice.sessions) - before
        running = pair.alice.sessions[new]
        assert isinstance(running, Running)
        assert isinstance(running.inner, HealingSession)
        assert isinstance(running.inner.ratchet.sending, Speaking)
        seen |= {running.inner.ratchet.sending.public, running.inner.ratchet.peer}
    assert len(seen) == 4


@pytest.mark.parametrize("name", HEALING)
def test_the_responders_snapshot_has_none_of_its_handshakes_secrets_once_the_session_runs(name: str) -> None:
    pair = pair_of(name)
    meeting = Meeting(pair)
    first = meeting.first()
    second = meeting.second(first)
    drawn = [bytes(secret) for secret in pair.bob.rng.drawn if len(secret) == 32]
    assert len(drawn) >= 2
    pair.deliver(meeting.third(second))
    stored = only(pair.bob, Running).snapshot()
    for secret in drawn:
        assert secret not in stored
