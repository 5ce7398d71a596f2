"""Everything that a handshake or a session is stands in its snapshot, and only this mechanism's snapshots are read."""

from __future__ import annotations

from collections.abc import Iterator
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Close, Due, Session
from kexkit.errors import KexkitError, StorageError, StoreCorrupt, StoreNewer
from kexkit.testing.key_exchange_party import Party
from kexkit.testing.key_exchange_rules import session_facts
from kexkit.testing.pair import Pair
from kexkit_noise import snapshots
from kexkit_noise.answering import Answering
from kexkit_noise.calling import Calling
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_noise.sessions import Running

from tests.noise.meeting import NAMES, Meeting, mechanism, only, pair_of

ALL = pytest.mark.parametrize("name", NAMES)


def stages(pair: Pair) -> Iterator[str]:
    """A conversation from its first message on, stopped after every step."""
    alice, bob = pair.alice, pair.bob
    first = Meeting(pair).first()
    yield "message 1 is written"
    (session,) = alice.sessions
    pair.clock.now += 30_000
    assert alice.cue(session, Due()).sent[0].frame == first.frame
    yield "message 1 is repeated"
    second = Meeting(pair).second(first)
    yield "message 2 is written"
    pair.clock.now += 30_000
    assert bob.receive(first).sent[0].frame == second.frame
    yield "message 2 is repeated"
    third = Meeting(pair).third(second)
    yield "message 3 is written"
    pair.clock.now += 30_000
    assert alice.cue(session, Due()).sent[0].frame == third.frame
    yield "message 3 is repeated"
    pair.deliver(third)
    yield "message 3 is read"
    early = alice.seal(b"early", bob.me)
    yield "a text is sealed"
    pair.say(alice, b"the initiator speaks")
    yield "a text is opened"
    pair.say(bob, b"the responder speaks")
    yield "an answer is opened"
    assert pair.settle(early) == [b"early"]
    yield "a late text is opened"
    late, crossing = bob.seal(b"late", alice.me), alice.seal(b"crossing", bob.me)
    goodbye = bob.cue(session, Close()).sent
    yield "one end says goodbye"
    assert [plain.body for plain in pair.deliver(crossing[0]).plain] == [b"crossing"]
    yield "a text that crossed it is opened"
    answer = pair.deliver(goodbye[0]).sent
    yield "the other end has read it"
    pair.settle(answer)
    assert not bob.sessions
    assert pair.settle(late) == [b"late"]
    assert not alice.sessions


def restart(party: Party, name: str) -> None:
    party.exchange = mechanism(name)
    for session_id, session in list(party.sessions.items()):
        party.sessions[session_id] = party.exchange.restore(session.snapshot())


@ALL
@pytest.mark.parametrize("who", ["alice", "bob", "both"])
def test_a_restart_between_any_two_steps_changes_nothing(name: str, who: str) -> None:
    pair = pair_of(name)
    for _ in stages(pair):
        for party in (pair.alice, pair.bob) if who == "both" else (getattr(pair, who),):
            before = party.state()
            restart(party, name)
            assert party.state() == before


@ALL
def test_a_snapshot_restored_is_the_same_session_of_the_same_kind(name: str) -> None:
    pair, kinds = pair_of(name), set()
    for _ in stages(pair):
        for party in (pair.alice, pair.bob):
            for session in party.sessions.values():
                again = mechanism(name).restore(session.snapshot())
                assert session_facts(again) == session_facts(session)
                assert type(again) is type(session)
                kinds.add(type(session))
    assert kinds == {Calling, Answering, Running}


def one_of_each(name: str) -> list[Session]:
    """Calling, Answering, Running with message 3 on its way, Running."""
    pair = pair_of(name)
    first = Meeting(pair).first()
    found: list[Session] = [only(pair.alice, Calling)]
    second = Meeting(pair).second(first)
    found.append(only(pair.bob, Answering))
    third = Meeting(pair).third(second)
    found.append(only(pair.alice, Running))
    pair.deliver(third)
    return [*found, only(pair.bob, Running)]


SESSIONS = {name: one_of_each(name) for name in NAMES}


@ALL
def test_a_mechanism_restores_its_own_sessions_alone(name: str) -> None:
    for session in SESSIONS[name]:
        for other in NAMES:
            if other != name:
                with pytest.raises(StoreCorrupt):
                    mechanism(other).restore(session.snapshot())


@ALL
def test_any_damaged_byte_is_noticed(name: str) -> None:
    for session in SESSIONS[name]:
        snapshot = session.snapshot()
        for place in range(0, len(snapshot), 3):
            bad = bytearray(snapshot)
            bad[place] ^= 0x10
            with pytest.raises(StorageError):
                mechanism(name).restore(bytes(bad))
        for bad_length in (snapshot[:-1], snapshot + b"\0", b""):
            with pytest.raises(StorageError):
                mechanism(name).restore(bad_length)


def test_a_snapshot_of_a_newer_program_says_so() -> None:
    for session in SESSIONS["healing-noise-xk1/1"]:
        body = b"\x02" + session.snapshot()[1:-4]
        with pytest.raises(StoreNewer):
            mechanism("healing-noise-xk1/1").restore(body + crc32(body).to_bytes(4, "big"))


@given(st.sampled_from(NAMES), st.sampled_from([1, 2, 3]), st.lists(st.binary(max_size=60), max_size=6))
@settings(derandomize=True, max_examples=300)
def test_parts_that_make_no_session_are_a_damaged_store(name: str, kind: int, parts: list[bytes]) -> None:
    """With a right checksum: whatever wrote them, it was not this."""
    raw = snapshots.write(kind, MECHANISMS[name].protocol_id, *parts)
    with pytest.raises(KexkitError):
        mechanism(name).restore(raw)


@given(st.sampled_from(NAMES), st.integers(0, 3), st.integers(0, 6), st.binary(max_size=200))
@settings(derandomize=True, max_examples=300)
def test_a_part_in_anothers_place_is_a_session_or_a_damaged_store(
    name: str, which: int, place: int, part: bytes
) -> None:
    protocol_id = MECHANISMS[name].protocol_id
    kind, parts = snapshots.read(SESSIONS[name][which].snapshot(), protocol_id)
    parts[place % len(parts)] = part
    try:
        session = mechanism(name).restore(snapshots.write(kind, protocol_id, *parts))
    except StorageError:
        return
    assert len(session.id) == 32


@ALL
def test_no_repr_shows_what_a_snapshot_hides(name: str) -> None:
    for session in SESSIONS[name]:
        assert len(repr(session)) < 40
