"""A healing session between two honest ends, and what a network can do to it."""

from __future__ import annotations

import copy
import hmac
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Guarantee
from kexkit.errors import (
    Cloned,
    Forged,
    Malformed,
    NotMine,
    StorageError,
    StoreCorrupt,
    StoreNewer,
)
from kexkit_noise import healing, healing_keys
from kexkit_noise._noise import Split
from kexkit_noise.healing import HealingSession
from kexkit_noise.healing_frames import SHORTEST
from kexkit_noise.healing_state import Listening, Speaking
from kexkit_noise.keys import key_pair

from tests.noise.healing_support import Couple, End, begun, couple, met, shuffled, split_of, stream
from tests.noise.test_healing_theft import Conversation
from tests.vectors import healing_noise_reference as reference

QUICK = settings(max_examples=60, derandomize=True, deadline=None)
A_FRAME = 351


# --- talk ------------------------------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 2**32), st.integers(20, 150))
def test_whatever_arrives_opens_once_however_it_is_lost_late_repeated_or_crossed(seed: int, steps: int) -> None:
    chance, talk = random.Random(seed), Conversation(couple(seed, stores=seed % 2 == 0))
    for _ in range(steps):
        talk.step(chance)
    late = list(talk.flying)
    chance.shuffle(late)
    for sent in late:
        talk.deliver(sent)
    for sent in chance.sample(talk.sent, min(10, len(talk.sent))):
        talk.deliver(sent)  # the lost ones among them come after all; the rest a second time
    for name, view in talk.views.items():
        end = talk.end(name)
        assert end.kept_keys() == len(view.missing)
        assert end.value.ratchet.kept.unused >= len(view.missing)


@pytest.mark.parametrize("initiator_first", [True, False])
def test_either_end_can_speak_first(initiator_first: bool) -> None:
    pair = couple()
    first, second = pair.ends if initiator_first else reversed(pair.ends)
    assert second.open(first.seal(b"first")) == b"first"
    assert first.open(second.seal(b"second")) == b"second"


def test_first_messages_that_cross_both_open() -> None:
    pair = couple()
    ours, theirs = pair.initiator.seal(b"from here"), pair.responder.seal(b"from there")
    assert pair.initiator.open(theirs) == b"from there"
    assert pair.responder.open(ours) == b"from here"
    assert pair.initiator.open(pair.responder.seal(b"on")) == b"on"
    assert pair.responder.open(pair.initiator.seal(b"and on")) == b"and on"


def test_a_chain_opens_in_any_order() -> None:
    pair = met()
    frames = [pair.initiator.seal(b"%d" % n) for n in range(200)]
    for n in shuffled(1, 200):
        assert pair.responder.open(frames[n]) == b"%d" % n
    assert pair.responder.drawer == {}


def test_three_messages_in_ten_are_lost_and_the_rest_open() -> None:
    chance, pair = random.Random(30), met()
    for turn in range(40):
        sender = pair.ends[turn % 2]
        for n in range(12):
            frame = sender.seal(b"%d" % n)
            if chance.random() > 0.3 or n == 11:
                assert pair.other(sender).open(frame) == b"%d" % n


@given(st.binary(max_size=1000))
@QUICK
def test_every_text_comes_back_and_its_length_shows_in_steps_of_248_only(text: bytes) -> None:
    pair = met()
    frame = pair.initiator.seal(text)
    assert len(frame) == A_FRAME + (len(text) + 4) // 248 * 248
    assert pair.responder.open(frame) == text


def test_a_ratchet_key_is_drawn_with_the_text_that_needs_it_and_by_nothing_else() -> None:
    pair, drawn = met(), []

    def rng(size: int) -> bytes:
        drawn.append(size)
        return stream(len(drawn))(size)

    pair.initiator.rng = pair.responder.rng = rng
    pair.responder.open(pair.initiator.seal(b"in a chain that is there"))
    assert drawn == [12]
    answer = pair.responder.seal(b"the answer makes a key")
    assert drawn == [12, 32, 12]
    pair.initiator.open(answer)
    assert drawn == [12, 32, 12]


def test_both_ends_are_one_session_and_know_it_by_the_transcript() -> None:
    pair = couple()
    one, other = (end.value for end in pair.ends)
    assert (one.id, one.sid, one.topic) == (other.id, other.sid, other.topic)
    assert one.initiator is not other.initiator
    assert one.grade is not None
    assert Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE in one.grade


# --- forgery ---------------------------------------------------------------------------------------------------------


def frame_in_place(place: str, pair: Couple) -> tuple[End, bytes]:
    """A frame that its reader finds in this way, and the reader."""
    if place == "next":
        return pair.responder, pair.initiator.seal(b"text")
    if place == "turn":
        return pair.initiator, pair.responder.seal(b"text")
    if place == "ahead":
        pair.initiator.seal(b"lost")
        return pair.responder, pair.initiator.seal(b"text")
    late = pair.initiator.seal(b"text")
    pair.responder.open(pair.initiator.seal(b"overtakes"))
    return pair.responder, late


@pytest.mark.parametrize("place", ["next", "turn", "ahead", "late"])
def test_a_frame_with_any_bit_flipped_is_refused_and_the_genuine_one_opens_after_it(place: str) -> None:
    reader, frame = frame_in_place(place, met())
    # A flipped bit of the nametag sends the search through both chains; 16 of them show it.
    bits = [*range(0, 128, 8), *range(128, len(frame) * 8)]
    for bit in bits:
        forged = bytearray(frame)
        forged[bit // 8] ^= 1 << bit % 8
        expected = NotMine if bit < 128 else Malformed if bit < 152 or 536 <= bit < 600 else Forged
        assert reader.refuses(bytes(forged)) is expected, bit
    assert reader.open(frame) == b"text"


@pytest.mark.parametrize("place", ["next", "turn", "ahead", "late"])
def test_a_frame_cut_short_or_drawn_out_is_refused(place: str) -> None:
    reader, frame = frame_in_place(place, met())
    for size in range(len(frame)):
        assert reader.refuses(frame[:size]) is Malformed
    for more in (b"\0", bytes(16), bytes(248)):
        assert reader.refuses(frame + more) is Malformed
    longer = frame[:67] + (len(frame) - 75 + 248).to_bytes(8, "little") + frame[75:] + bytes(248)
    assert reader.refuses(longer) is Forged
    uneven = frame[:67] + (len(frame) - 75 + 16).to_bytes(8, "little") + frame[75:] + bytes(16)
    assert reader.refuses(uneven) is Malformed
    assert reader.open(frame) == b"text"


@QUICK
@given(st.binary(max_size=1200))
def test_any_bytes_are_refused_with_a_typed_error(raw: bytes) -> None:
    assert met().responder.refuses(raw) in (Malformed, NotMine)


@QUICK
@given(st.binary(min_size=SHORTEST, max_size=SHORTEST))
def test_any_bytes_behind_a_genuine_nametag_and_form_are_forged(raw: bytes) -> None:
    pair = met()
    frame = pair.initiator.seal(b"text")
    assert pair.responder.refuses(frame[:19] + raw[19:67] + frame[67:75] + raw[75:]) is Forged
    assert pair.responder.refuses(frame[:75] + raw[75:]) is Forged


def test_a_message_of_another_session_is_not_ours() -> None:
    assert met(2).responder.refuses(met(1).initiator.seal(b"text")) is NotMine


def test_a_message_does_not_open_where_it_was_sealed() -> None:
    pair = met()
    assert pair.initiator.refuses(pair.initiator.seal(b"reflected")) is NotMine
    pair.initiator.open(pair.responder.seal(b"a turn"))
    assert pair.initiator.refuses(pair.initiator.seal(b"reflected")) is NotMine


def test_the_same_keys_under_another_transcript_are_another_session() -> None:
    """h alone differs: nothing opens, though k1, k2 and the ratchet keys agree."""
    draw = stream("transcripts")
    ours, theirs, k1, k2 = key_pair(draw(32)), key_pair(draw(32)), draw(32), draw(32)
    here = begun(Split(k1, k2, draw(32)), ours, theirs.public, initiator=True)
    there = End(begun(Split(k1, k2, draw(32)), theirs, ours.public, initiator=False), draw)
    assert there.refuses(here.seal(b"text", draw)[1]) is NotMine


def test_padding_that_is_not_what_it_should_be_is_forged_although_it_authenticates() -> None:
    for spoil in (
        lambda p: p[:-1] + b"\0",
        lambda p: p[:-1] + b"\xf9",
        lambda p: p[:-2] + b"\x01\xf3",
        lambda p: p[1:],
    ):
        pair = met()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(healing, "pad", lambda text, spoil=spoil: spoil(reference.padded(text)))
            frame = pair.initiator.seal(b"text")
        assert pair.responder.refuses(frame) in (Forged, Malformed)
        assert pair.responder.open(pair.initiator.seal(b"genuine")) == b"genuine"


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31)])
def test_a_ratchet_key_of_low_order_is_refused(public: bytes) -> None:
    pair = couple()
    with pytest.raises(Malformed):
        begun(split_of(0), key_pair(stream(0)(32)), public, initiator=True)
    assert pair.initiator.refuses(_sealed_by(pair.responder, public, bytes(32))) is Forged


@pytest.mark.parametrize("which", ["ours", "theirs", "new"])
def test_a_ratchet_key_that_comes_back_or_does_not_change_is_refused(which: str) -> None:
    """Its sender seals rightly under the chain that follows from it: but for the check it would open."""
    pair = met()
    turn = pair.initiator.value.ratchet
    assert isinstance(turn.sending, Speaking)
    new = reference.public_of(stream("new")(32))
    public = {"ours": turn.sending.public, "theirs": turn.peer, "new": new}[which]
    _, chain, _ = reference.root_step(turn.root, reference.agree(turn.sending.secret, public))
    frame = _sealed_by(pair.responder, public, chain)
    assert pair.initiator.refuses(frame) is (None if which == "new" else Forged)


def test_a_chain_has_one_ratchet_key() -> None:
    """Its sender seals everything rightly, but for another key in a later header: as a copy of it would."""
    pair = met()
    sending = pair.initiator.value.ratchet.sending
    assert isinstance(sending, Speaking)
    sending.public = reference.public_of(stream("another")(32))  # type: ignore[misc]  # slots are open at run time
    assert pair.responder.refuses(pair.initiator.seal(b"text")) is Cloned


def test_a_text_without_a_count_before_it_is_forged_although_it_authenticates() -> None:
    for content in (b"", b"\0", bytes(3)):
        pair = met()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(healing, "pad", lambda text, content=content: reference.padded(content))
            frame = pair.initiator.seal(b"text")
        assert pair.responder.refuses(frame) is Forged


def test_our_own_first_ratchet_key_is_refused_as_the_peers() -> None:
    own = key_pair(stream(0)(32))
    with pytest.raises(Malformed):
        begun(split_of(0), own, own.public, initiator=True)


def _sealed_by(end: End, public: bytes, chain: bytes) -> bytes:
    """By a peer that gives this as its new ratchet key."""
    ratchet = end.value.ratchet
    assert isinstance(ratchet.sending, Listening)
    ratchet.sending = Speaking(bytes(32), public, ratchet.sending.n, chain, ratchet.next_sending, 0)  # type: ignore[misc]
    return end.value.seal(b"text", stream("spoilt"))[1]


# --- stored bytes ----------------------------------------------------------------------------------------------------


def test_a_snapshot_has_one_length_whatever_has_happened() -> None:
    pair, sizes = couple(), set()
    for n in range(60):
        sender = pair.ends[n // 7 % 2]
        frame = sender.seal(b"text")
        if n % 3 != 1:
            pair.other(sender).open(frame)
        sizes |= {len(end.value.snapshot()) for end in pair.ends}
    assert len(sizes) == 1
    assert sizes.pop() < 450


@QUICK
@given(st.binary(max_size=500))
def test_bytes_that_are_no_snapshot_are_refused(raw: bytes) -> None:
    with pytest.raises(StorageError):
        HealingSession.restore(raw)


def test_a_snapshot_with_any_bit_flipped_is_refused() -> None:
    raw = met().initiator.value.snapshot()
    for bit in range(len(raw) * 8):
        spoiled = bytearray(raw)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises((StoreCorrupt, StoreNewer)):
            HealingSession.restore(bytes(spoiled))


def test_a_snapshot_of_a_newer_format_says_so() -> None:
    with pytest.raises(StoreNewer):
        HealingSession.restore(b"\x02" + met().initiator.value.snapshot()[1:])


def test_a_session_shows_nothing_of_itself_and_is_not_pickled() -> None:
    session = met().initiator.value
    ratchet = session.ratchet
    assert isinstance(ratchet.sending, Speaking)
    shown = " ".join(map(repr, (session, ratchet, ratchet.sending, ratchet.sending.header, session.fixed)))
    for secret in (ratchet.root, ratchet.sending.secret, ratchet.sending.chain, ratchet.sending.header.key):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    for take_away in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            take_away(session)


def test_the_traceback_of_a_refusal_holds_no_key() -> None:
    pair = met()
    frame = bytearray(pair.initiator.seal(b"text"))
    frame[-1] ^= 1
    with pytest.raises(Forged) as caught:
        pair.responder.value.open(bytes(frame), {}, now=0)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    place = caught.value.__traceback__
    while place is not None:
        assert place.tb_frame.f_code.co_name not in ("_open_ahead", "_text", "decrypt")
        place = place.tb_next


# --- derivations -----------------------------------------------------------------------------------------------------


@QUICK
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_hmac_spelled_out_is_the_standard_librarys(key: bytes, data: bytes) -> None:
    assert healing_keys.hmac_sha256(key, data) == hmac.digest(key, data, "sha256")
    assert healing_keys.chain_step(key) == (hmac.digest(key, b"\2", "sha256"), hmac.digest(key, b"\1", "sha256"))
