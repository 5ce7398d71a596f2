"""A plain session: Waku's bytes, opened in any order within the window, once each; and all of it open to a thief."""

from __future__ import annotations

import copy
import pickle
import random
from struct import Struct

import pytest
from attrs import define, evolve
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Guarantee
from kexkit.errors import (
    Forged,
    InvalidInput,
    Limit,
    Malformed,
    NotMine,
    Refusal,
    StorageError,
    StoreCorrupt,
    StoreNewer,
)
from kexkit_noise import limits, plain
from kexkit_noise._noise import Split
from kexkit_noise.nametags import nametag_secrets
from kexkit_noise.plain import PlainSession

from tests.noise.healing_support import SESSION, shuffled, split_of, waku_tag
from tests.vectors.healing_noise_reference import padded

QUICK = settings(max_examples=60, derandomize=True, deadline=None)
A_FRAME = 290


@define
class End:
    """One device: it goes on from stored bytes at every step."""

    value: PlainSession

    def seal(self, text: bytes) -> bytes:
        before = self.value.snapshot()
        after, frame = self.value.seal(text)
        assert self.value.snapshot() == before
        self.value = PlainSession.restore(after.snapshot())
        return frame

    def open(self, frame: bytes) -> bytes:
        before = self.value.snapshot()
        opened = self.value.open(frame)
        assert self.value.snapshot() == before
        self.value = PlainSession.restore(opened.successor.snapshot())
        return opened.plaintext

    def refuses(self, frame: bytes) -> type[Refusal] | None:
        before = self.value.snapshot()
        try:
            self.value.open(frame)
        except Refusal as refusal:
            return type(refusal)
        finally:
            assert self.value.snapshot() == before
        return None


def couple(seed: int | str = 0) -> tuple[End, End]:
    split = split_of(seed)
    return (
        End(PlainSession.begin(split, session=SESSION, initiator=True)),
        End(PlainSession.begin(split, session=SESSION, initiator=False)),
    )


# --- talk ------------------------------------------------------------------------------------------------------------


@QUICK
@given(st.integers(0, 2**32), st.integers(10, 120))
def test_whatever_arrives_opens_once_however_it_is_lost_late_repeated_or_crossed(seed: int, steps: int) -> None:
    chance, ends = random.Random(seed), couple(seed)
    flying: list[tuple[int, bytes, bytes]] = []
    taken: set[bytes] = set()
    for n in range(steps):
        if not flying or chance.random() < 0.5:
            which, text = chance.randrange(2), b"%d" % n
            flying.append((which, text, ends[which].seal(text)))
            continue
        which, text, frame = chance.choice(flying)
        reader = ends[1 - which]
        if frame in taken:
            assert reader.refuses(frame) is NotMine
        else:
            assert reader.open(frame) == text
        taken.add(frame)


def test_a_thousand_messages_open_in_any_order_and_none_of_them_twice() -> None:
    ours, theirs = couple()
    frames = [ours.seal(b"%d" % n) for n in range(900)]
    for n in shuffled(1, 900):
        assert theirs.open(frames[n]) == b"%d" % n
    for frame in frames[::7]:
        assert theirs.refuses(frame) is NotMine


@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize("text", [b"", b"text", bytes(247), bytes(248), bytes(1000)])
def test_a_message_is_made_as_waku_makes_it(initiator: bool, text: bytes) -> None:
    split = split_of("waku")
    session = PlainSession.begin(split, session=SESSION, initiator=initiator)
    secrets = nametag_secrets(split.h)
    key, secret = (
        (split.k1, secrets.initiator_to_responder) if initiator else (split.k2, secrets.responder_to_initiator)
    )
    for n in range(5):
        session, frame = session.seal(text)
        tag = waku_tag(secret, n)
        sealed = ChaCha20Poly1305(key).encrypt(bytes(4) + n.to_bytes(8, "little"), padded(text), tag)
        assert frame == tag + bytes(2) + len(sealed).to_bytes(8, "little") + sealed


def test_both_ends_meet_under_one_topic_and_one_goodbye() -> None:
    ours, theirs = couple()
    assert (ours.value.topic, ours.value.marker, ours.value.id) == (
        theirs.value.topic,
        theirs.value.marker,
        theirs.value.id,
    )
    assert ours.value.initiator is not theirs.value.initiator


def test_it_does_not_claim_what_a_theft_of_the_session_takes() -> None:
    grade = couple()[0].value.grade
    assert grade is not None
    assert not grade & (Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE)


# --- forgery ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["next", "ahead", "behind"])
def test_a_frame_with_any_bit_flipped_is_refused_and_the_genuine_one_opens_after_it(place: str) -> None:
    ours, theirs = couple()
    frame = ours.seal(b"text")
    if place == "behind":
        theirs.open(ours.seal(b"overtakes"))
    if place == "ahead":
        frame = ours.seal(b"text")
    for bit in (*range(0, 128, 8), *range(128, len(frame) * 8)):
        forged = bytearray(frame)
        forged[bit // 8] ^= 1 << bit % 8
        expected = NotMine if bit < 128 else Malformed if bit < 208 else Forged
        assert theirs.refuses(bytes(forged)) is expected, bit
    assert theirs.open(frame) == b"text"


def test_a_frame_cut_short_or_drawn_out_is_refused() -> None:
    ours, theirs = couple()
    frame = ours.seal(b"text")
    for size in range(len(frame)):
        assert theirs.refuses(frame[:size]) is Malformed
    for more in (b"\0", bytes(248)):
        assert theirs.refuses(frame + more) is Malformed
    longer = frame[:18] + (len(frame) - 26 + 248).to_bytes(8, "little") + frame[26:] + bytes(248)
    assert theirs.refuses(longer) is Forged
    beside = frame[:18] + (len(frame) - 26 + 1).to_bytes(8, "little") + frame[26:] + bytes(1)
    assert theirs.refuses(beside) is Malformed  # by its length alone: no padding ends there
    zeroed = frame[:18] + bytes(8) + frame[26:]
    assert theirs.refuses(zeroed) is Malformed  # js-noise takes it
    assert theirs.open(frame) == b"text"


@QUICK
@given(st.binary(max_size=900))
def test_any_bytes_are_refused_with_a_typed_error(raw: bytes) -> None:
    assert couple()[1].refuses(raw) in (Malformed, NotMine)


def test_bad_padding_is_forged_although_it_authenticates() -> None:
    for spoilt in (padded(b"text")[:-1] + b"\0", padded(b"text")[:-1] + b"\xf9", padded(b"text")[:-2] + b"\x01\xf4"):
        ours, theirs = couple()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(plain, "pad", lambda text, spoilt=spoilt: spoilt)
            frame = ours.seal(b"text")
        assert theirs.refuses(frame) is Forged
        assert theirs.open(ours.seal(b"genuine")) == b"genuine"


def test_a_message_does_not_open_where_it_was_sealed_nor_in_another_session() -> None:
    ours, _ = couple(1)
    frame = ours.seal(b"text")
    assert ours.refuses(frame) is NotMine
    assert couple(2)[1].refuses(frame) is NotMine


def test_a_tag_put_on_another_message_opens_nothing() -> None:
    """Tags are public: anyone can write the next one before other bytes."""
    ours, theirs = couple()
    first, second = ours.seal(b"first"), ours.seal(b"second")
    assert theirs.refuses(second[:16] + first[16:]) is Forged
    assert theirs.refuses(first[:16] + second[16:]) is Forged
    assert theirs.open(second) == b"second"
    assert theirs.open(first) == b"first"


# --- limits ----------------------------------------------------------------------------------------------------------


def at(end: End, *, n: int = 0, top: int = 0) -> End:
    return End(evolve(end.value, n=n, top=top))


@pytest.mark.parametrize(("missing", "opens"), [(999, True), (1000, True), (1001, False)])
def test_a_thousand_messages_may_be_missing_before_one_that_opens(missing: int, opens: bool) -> None:
    assert limits.PLAIN_AHEAD == 1000
    ours, theirs = couple()
    theirs.open(ours.seal(b"first"))
    frame = at(ours, n=1 + missing).seal(b"far")
    if opens:
        assert theirs.open(frame) == b"far"
    else:
        assert theirs.refuses(frame) is NotMine


@pytest.mark.parametrize(("behind", "opens"), [(1023, True), (1024, True), (1025, False)])
def test_a_message_opens_until_1024_newer_ones_have_been_made(behind: int, opens: bool) -> None:
    assert limits.PLAIN_BEHIND == 1024
    ours, theirs = couple()
    late = ours.seal(b"late")
    theirs.open(ours.seal(b"next"))
    theirs.open(at(ours, n=500).seal(b"further"))
    theirs.open(at(ours, n=behind - 1).seal(b"newest"))
    if opens:
        assert theirs.open(late) == b"late"
        assert theirs.refuses(late) is NotMine
    else:
        assert theirs.refuses(late) is NotMine


def test_a_message_that_never_comes_leaves_the_window_one_by_one_too() -> None:
    ours, theirs = couple()
    lost = ours.seal(b"lost")
    for n in range(limits.PLAIN_BEHIND + 2):
        theirs.open(ours.seal(b"in order"))
        assert bool(theirs.value.missing) is (n + 1 < limits.PLAIN_BEHIND)
    assert theirs.refuses(lost) is NotMine


def test_what_was_opened_stays_so_at_the_far_end_of_the_window() -> None:
    ours, theirs = couple()
    first = ours.seal(b"first")
    theirs.open(first)
    for n in (1000, 1023, 1024, 2000):
        theirs.open(at(ours, n=n).seal(b"newer"))
        assert theirs.refuses(first) is NotMine


@pytest.mark.parametrize(("n", "works"), [(2**32 - 3, True), (2**32 - 2, True), (2**32 - 1, False)])
def test_a_direction_has_as_many_messages_as_js_can_count(n: int, works: bool) -> None:
    assert limits.PLAIN_MESSAGES == 2**32 - 1
    ours, theirs = couple()
    ours, theirs = at(ours, n=n), at(theirs, top=n)
    assert ours.value.worn is not works
    assert (ours.value.grade is None) is not works
    if works:
        assert theirs.open(ours.seal(b"text")) == b"text"
        assert ours.value.worn is (n == 2**32 - 2)
        return
    with pytest.raises(InvalidInput):
        ours.seal(b"text")
    tag = waku_tag(nametag_secrets(split_of(0).h).initiator_to_responder, n)
    assert theirs.refuses(tag + bytes(2) + (264).to_bytes(8, "little") + bytes(264)) is NotMine
    assert at(theirs, top=n - 5).refuses(tag + bytes(2) + (264).to_bytes(8, "little") + bytes(264)) is NotMine


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_text_has_at_most_so_many_bytes(more: int) -> None:
    (ours, theirs), text = couple(), bytes(limits.BODY_BYTES + more)
    if more > 0:
        with pytest.raises(InvalidInput):
            ours.seal(text)
        return
    frame = ours.seal(text)
    assert len(frame) <= limits.PAYLOAD_BYTES
    assert theirs.open(frame) == text


@pytest.mark.parametrize(("more", "refusal"), [(-1, Malformed), (0, Malformed), (1, Limit)])
def test_a_frame_longer_than_a_payload_is_not_looked_at(more: int, refusal: type[Refusal]) -> None:
    assert couple()[1].refuses(bytes(limits.PAYLOAD_BYTES + more)) is refusal


# --- theft -----------------------------------------------------------------------------------------------------------

_STOLEN = Struct(">BBB32s32s32s32s32s")


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("moment", [0, 10, 39])
def test_a_stolen_state_opens_everything_both_ways_the_whole_session(victim: int, moment: int) -> None:
    """The same oracle's verdict as of healing sessions, for what does not heal."""
    chance, ends = random.Random(moment), couple("stolen")
    frames, stolen = [], ends[victim].value.snapshot()
    for n in range(40):
        which = chance.randrange(2)
        frames.append((b"%d" % n, ends[which].seal(b"%d" % n)))
        if chance.random() < 0.7:
            ends[1 - which].open(frames[-1][1])
        if n == moment:
            stolen = ends[victim].value.snapshot()
    _, _, _, _, *keys, _, _ = _STOLEN.unpack_from(stolen)
    opened = [text for text, frame in frames if any(_opens(key, frame) == text for key in keys)]
    assert opened == [text for text, _ in frames]


def _opens(key: bytes, frame: bytes) -> bytes | None:
    for n in range(50):
        try:
            content = ChaCha20Poly1305(key).decrypt(bytes(4) + n.to_bytes(8, "little"), frame[26:], frame[:16])
        except Exception:
            continue
        return content[: -content[-1]]
    return None


# --- stored bytes ----------------------------------------------------------------------------------------------------


def test_a_snapshot_has_one_length_whatever_has_happened() -> None:
    ours, theirs = couple()
    sizes = {len(theirs.value.snapshot())}
    for n in range(0, 4000, 37):
        theirs.open(at(ours, n=n).seal(b"text"))
        sizes.add(len(theirs.value.snapshot()))
    assert sizes == {len(ours.value.snapshot())}


def test_a_snapshot_with_any_bit_flipped_is_refused() -> None:
    raw = couple()[0].value.snapshot()
    for bit in range(len(raw) * 8):
        spoiled = bytearray(raw)
        spoiled[bit // 8] ^= 1 << bit % 8
        with pytest.raises((StoreCorrupt, StoreNewer)):
            PlainSession.restore(bytes(spoiled))


@QUICK
@given(st.binary(max_size=400))
def test_bytes_that_are_no_snapshot_are_refused(raw: bytes) -> None:
    with pytest.raises(StorageError):
        PlainSession.restore(raw)


def test_a_session_shows_nothing_of_itself_and_is_not_pickled() -> None:
    session = couple()[0].value
    split = split_of(0)
    shown = repr(session) + repr(session.fixed)
    for secret in (split.k1, split.k2):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    for take_away in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            take_away(session)


def test_a_split_of_other_keys_is_another_session() -> None:
    split = split_of(0)
    other = PlainSession.begin(Split(split.k2, split.k1, split.h), session=SESSION, initiator=False)
    assert End(other).refuses(couple()[0].seal(b"text")) is Forged
