"""A stored session is the session, of one length, and damage to it is seen."""

from __future__ import annotations

import copy
import pickle
from typing import Any
from zlib import crc32

import pytest
from attrs import evolve
from kexkit.api import Answer, Close, Due
from kexkit.errors import InvalidInput, StoreCorrupt, StoreNewer
from kexkit.testing.key_exchange_rules import session_facts
from kexkit.testing.pair import Pair
from kexkit_x3dh import limits, snapshots
from kexkit_x3dh.exchange import X3DH
from kexkit_x3dh.limits import Limits
from kexkit_x3dh.session import RatchetSession
from kexkit_x3dh.skipped import Gaps
from kexkit_x3dh.state import Listening, Receiving, Speaking

from tests.x3dh.support import OFF_CURVE, met, seal, session, strangers


def lives() -> list[RatchetSession]:
    """A session at every turn of its life, with gaps and without."""
    pair = strangers()
    pair.alice.initiate(pair.bob.me)
    found = [session(pair.alice, pair.bob)]

    def look(each: Pair) -> None:
        found.extend(session(party, each.other(party)) for party in (each.alice, each.bob))

    pair.bob.receive(seal(pair.alice, pair.bob))
    look(pair)
    for turn in range(12):
        for sender in (pair.alice, pair.bob):
            seal(sender, pair.other(sender), b"lost")
            pair.say(sender, b"turn %d" % turn)
            look(pair)
    return found


def resummed(snapshot: bytes) -> bytes:
    """With a checksum that fits."""
    return snapshot[:-4] + crc32(snapshot[:-4]).to_bytes(4, "big")


def test_restoring_gives_the_session_back() -> None:
    for value in lives():
        restored = X3DH().restore(value.snapshot())
        assert session_facts(restored) == session_facts(value)
        assert isinstance(restored, RatchetSession)
        assert type(restored.sending) is type(value.sending)


def test_all_snapshots_of_a_session_have_one_length() -> None:
    assert {len(value.snapshot()) for value in lives()} == {494}


def test_the_limits_of_the_exchange_hold_for_what_it_restores() -> None:
    tight = Limits(max_skip=2)
    restored = X3DH(bounds=tight).restore(lives()[-1].snapshot())
    assert isinstance(restored, RatchetSession)
    assert restored.bounds is tight


def test_damage_anywhere_is_seen() -> None:
    for value in lives()[:4]:
        snapshot = value.snapshot()
        for place in range(len(snapshot)):
            changed = bytearray(snapshot)
            changed[place] ^= 0x41
            with pytest.raises(StoreCorrupt):
                X3DH().restore(bytes(changed))
        for size in range(len(snapshot)):
            with pytest.raises(StoreCorrupt):
                X3DH().restore(snapshot[:size])
        with pytest.raises(StoreCorrupt):
            X3DH().restore(snapshot + b"\0")


def test_bytes_that_no_session_wrote_are_refused_even_with_a_right_checksum() -> None:
    snapshot = lives()[-1].snapshot()
    for size in range(2, len(snapshot) - 4):
        with pytest.raises(StoreCorrupt):
            X3DH().restore(resummed(snapshot[:size] + bytes(4)))
    for kind in (0, 3, 255):
        with pytest.raises(StoreCorrupt):
            X3DH().restore(snapshots.write(kind, snapshot[2:-4]))
    with pytest.raises(StoreCorrupt):
        X3DH().restore(snapshots.write(snapshots.DIRECT, b"short"))
    with pytest.raises(StoreCorrupt):
        X3DH().restore(snapshots.write(snapshots.DIRECT, bytes(65) + b"\xff"))
    with pytest.raises(StoreCorrupt):
        X3DH().restore(b"")


def test_a_newer_format_says_so() -> None:
    snapshot = lives()[0].snapshot()
    with pytest.raises(StoreNewer):
        X3DH().restore(resummed(b"\x02" + snapshot[1:]))
    with pytest.raises(StoreCorrupt):
        X3DH().restore(resummed(b"\x00" + snapshot[1:]))


def test_contradictions_are_refused() -> None:
    value = next(each for each in lives() if isinstance(each.sending, Speaking) and not each.parties.ours)
    speaking, hearing = value.sending, value.receiving
    assert isinstance(speaking, Speaking)

    def heard(**changed: Any) -> Receiving:
        fields = {
            name: getattr(hearing, name) for name in ("key", "chain", "n", "young", "made", "gaps", "recent", "first")
        }
        return Receiving(**(fields | changed))

    def with_(sending: Speaking | Listening, receiving: Receiving, *, heard: bool = True) -> bytes:
        return RatchetSession(value.parties, value.bounds, heard, value.root, sending, receiving).snapshot()

    spoken = {name: getattr(speaking, name) for name in ("secret", "public", "pn", "young", "chain", "n")}
    for snapshot in (
        with_(speaking, heard(key=OFF_CURVE)),
        with_(Speaking(**(spoken | {"secret": bytes(32)})), hearing),
        with_(Speaking(**(spoken | {"public": OFF_CURVE})), hearing),
        with_(Speaking(**(spoken | {"n": 2**32 + 1})), hearing),
        with_(Listening(2**32 + 1), hearing),
        with_(Listening(0), heard(key=b"")),
        with_(speaking, heard(n=2**32 + 1, made=2**33)),
        with_(speaking, heard(n=hearing.made + 1)),
        with_(speaking, heard(gaps=Gaps(2, 1, 0, 0))),
        with_(speaking, heard(gaps=Gaps(0, 1, hearing.made + 1, 1))),
        with_(speaking, hearing, heard=False),
        with_(speaking, heard(first=b"k" * 32)),
    ):
        with pytest.raises(StoreCorrupt):
            X3DH().restore(snapshot)


def test_a_chain_ends_with_its_last_number() -> None:
    value = next(each for each in lives() if isinstance(each.sending, Speaking))
    pair, speaking = met(), value.sending
    assert isinstance(speaking, Speaking)

    def at(n: int) -> RatchetSession:
        sending = Speaking(speaking.secret, speaking.public, speaking.pn, speaking.young, speaking.chain, n)
        return RatchetSession(value.parties, value.bounds, True, value.root, sending, value.receiving)

    last = at(limits.CHAIN_MESSAGES - 1)
    assert last.grade is not None
    after = last.seal(b"the last", ctx=pair.alice.context).session
    assert isinstance(after, RatchetSession)
    assert after.grade is None
    with pytest.raises(InvalidInput):
        after.seal(b"one more", ctx=pair.alice.context)
    assert X3DH().restore(after.snapshot()).grade is None


@pytest.mark.parametrize(("more", "taken"), [(-1, True), (0, True), (1, False)])
def test_a_text_has_a_largest_size(more: int, taken: bool) -> None:
    pair = met()
    body = bytes(limits.BODY_BYTES + more)
    if taken:
        assert pair.bob.receive(seal(pair.alice, pair.bob, body)).texts == [body]
    else:
        with pytest.raises(InvalidInput):
            seal(pair.alice, pair.bob, body)


def test_a_session_shows_and_pickles_nothing() -> None:
    for value in lives():
        assert repr(value) == f"<RatchetSession {value.id.hex()[:16]}…>"
        for inner in (value.sending, value.receiving):
            shown = repr(inner)
            assert all(
                part.hex() not in shown and repr(part) not in shown for part in (value.root, value.receiving.chain)
            )
        with pytest.raises(TypeError):
            pickle.dumps(value)
        with pytest.raises(TypeError):
            copy.copy(value)
        with pytest.raises(TypeError):
            copy.deepcopy(value)


def test_cues_end_it_or_leave_it_as_it_is() -> None:
    pair = met()
    value, ctx = session(pair.alice, pair.bob), pair.alice.context
    assert value.cue(Due(), ctx=ctx).session is value
    assert value.cue(Answer(b""), ctx=ctx).session is value
    ended = value.cue(Close(), ctx=ctx)
    assert (ended.session, ended.frames) == (None, ())
    assert (value.due, value.hears) == (None, frozenset())
    assert value.hears is value.hears


def test_parties_equal_themselves_after_a_restart() -> None:
    value = lives()[-1]
    restored = X3DH().restore(value.snapshot())
    assert isinstance(restored, RatchetSession)
    assert restored.parties == value.parties
    assert evolve(restored.parties, ours=not value.parties.ours) != value.parties
