"""Two people who paired their devices learn who the other is, and nobody else can be put in their place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit import secp256k1
from kexkit.api import Context
from kexkit.errors import Forged, InvalidInput, Malformed, OfferExpired, Refusal
from kexkit.identity import tagged_digest
from kexkit_noise import introduction, statement
from kexkit_noise.keys import KeyPair, key_pair
from kexkit_noise.pairing import Pairing
from kexkit_noise.plain import PlainSession
from kexkit_noise.statement import Statement

from tests.noise.test_statement import ALICE, BOB, INSTALLATIONS, NOW, someone

ALICES, BOBS, CAROLS = (key_pair(bytes((n,)) * 32) for n in (1, 2, 3))
CAROL = someone("carol")


def own(ctx: Context, pair: KeyPair, *, life: int = 1000) -> Statement:
    return statement.make(pair.public, not_before=NOW // 1000, not_after=NOW // 1000 + life, ctx=ctx)


def paired(shows: KeyPair = ALICES, scans: KeyPair = BOBS, seed: int = 0) -> tuple[Pairing, Pairing]:
    """Who shows, and who scans, when both have confirmed."""
    shown = Pairing.show("kexkit", "1", "0", static=shows, random=bytes((seed,)) * 80, now=NOW)
    scanned = Pairing.scan(
        shown.qr.text, shown.nametag, application="kexkit", version="1", static=scans, random=bytes((9,)) * 64, now=NOW
    )
    first = shown.receive(scanned.frame or b"", NOW).pairing.confirm(NOW)
    third = scanned.pairing.confirm(NOW).pairing.receive(first.frame or b"", NOW)
    last = first.pairing.receive(third.frame or b"", NOW).pairing
    assert last.done
    assert third.pairing.done
    return last, third.pairing


SHOWING, SCANNING = paired()
BOBS_WORD = introduction.introduce(SCANNING, own(BOB, BOBS), BOB)


def test_each_learns_the_other_s_device_over_the_pairing_s_session() -> None:
    ours = PlainSession.begin(SHOWING.split(), session=bytes(32), initiator=False)
    theirs = PlainSession.begin(SCANNING.split(), session=bytes(32), initiator=True)
    theirs, frame = theirs.seal(BOBS_WORD)
    opened = ours.open(frame)
    assert introduction.introduced(SHOWING, opened.plaintext, ALICE).device == BOB.me
    _, frame = opened.successor.seal(introduction.introduce(SHOWING, own(ALICE, ALICES), ALICE))
    assert introduction.introduced(SCANNING, theirs.open(frame).plaintext, BOB).device == ALICE.me


def test_an_introduction_is_a_statement_and_a_signature_over_transcript_and_body() -> None:
    body = own(BOB, BOBS).body
    assert BOBS_WORD[:162] == own(BOB, BOBS).encoded
    digest = tagged_digest(b"kexkit/pairing/1", SCANNING.split().h + body)
    secp256k1.verify(BOBS_WORD[162:], digest, BOB.me.identity)
    assert len(BOBS_WORD) == 226


@given(st.integers(0, 226 * 8 - 1))
@settings(derandomize=True, max_examples=300)
def test_no_bit_of_an_introduction_can_be_changed(bit: int) -> None:
    changed = bytearray(BOBS_WORD)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refusal):
        introduction.introduced(SHOWING, bytes(changed), ALICE)


@given(st.binary(max_size=300))
@settings(derandomize=True, max_examples=100)
def test_any_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(Refusal):
        introduction.introduced(SHOWING, raw, ALICE)


@pytest.mark.parametrize("size", [225, 227])
def test_an_introduction_has_one_length(size: int) -> None:
    with pytest.raises(Malformed):
        introduction.introduced(SHOWING, BOBS_WORD.ljust(size, b"\0")[:size], ALICE)


def test_an_introduction_means_nothing_in_another_pairing_of_the_same_two() -> None:
    other, scanning = paired(seed=1)
    with pytest.raises(Forged, match="not signed for this pairing"):
        introduction.introduced(other, BOBS_WORD, ALICE)
    assert introduction.introduced(other, introduction.introduce(scanning, own(BOB, BOBS), BOB), ALICE).device == BOB.me


def word(by: Context, about: Statement) -> bytes:
    """What anybody can put together for the present pairing."""
    return about.encoded + by.identity.sign(introduction.LABEL, SHOWING.split().h + about.body)


@pytest.mark.parametrize(
    "false",
    [
        pytest.param(lambda: word(CAROL, own(BOB, BOBS)), id="bob's statement, carol's word"),
        pytest.param(lambda: word(CAROL, own(CAROL, CAROLS)), id="a static that did not pair"),
        pytest.param(lambda: own(BOB, BOBS).encoded + own(BOB, BOBS).signature, id="a statement's signature twice"),
        pytest.param(lambda: word(ALICE, own(ALICE, ALICES)), id="our own, sent back"),
        pytest.param(lambda: word(ALICE, own(ALICE, BOBS)), id="in our own name, of the other static"),
        pytest.param(lambda: word(someone("alice", INSTALLATIONS[1]), own(ALICE, BOBS)), id="another device of ours"),
    ],
)
def test_nobody_is_introduced_but_who_paired_and_in_no_name_but_their_own(false: Callable[[], bytes]) -> None:
    with pytest.raises(Refusal):
        introduction.introduced(SHOWING, false(), ALICE)


def test_another_device_of_our_own_is_not_a_contact() -> None:
    laptop = someone("alice", INSTALLATIONS[1])
    with pytest.raises(Forged, match="our own name"):
        introduction.introduced(SHOWING, word(laptop, own(laptop, BOBS)), ALICE)


def test_whoever_proved_a_static_is_who_signs_for_it_whatever_others_said_of_it() -> None:
    """The pairing proved that this device holds the key, and the person that the device is theirs."""
    assert introduction.introduced(SHOWING, word(CAROL, own(CAROL, BOBS)), ALICE).device == CAROL.me


def test_an_expired_statement_introduces_nobody() -> None:
    short = own(BOB, BOBS, life=1)
    raw = introduction.introduce(SCANNING, short, BOB)
    late = Context(ALICE.me, NOW + 1001, ALICE.rng, ALICE.identity)
    with pytest.raises(OfferExpired):
        introduction.introduced(SHOWING, raw, late)


def test_nobody_introduces_themselves_by_another_static_or_before_the_end() -> None:
    with pytest.raises(InvalidInput, match="static that it paired with"):
        introduction.introduce(SCANNING, own(BOB, CAROLS), BOB)
    with pytest.raises(InvalidInput, match="static that it paired with"):
        introduction.introduce(SCANNING, own(CAROL, BOBS), BOB)
    early = Pairing.show("kexkit", "1", "0", static=BOBS, random=bytes(80), now=NOW)
    with pytest.raises(InvalidInput, match="before a pairing is done"):
        introduction.introduce(early, own(BOB, BOBS), BOB)
    with pytest.raises(InvalidInput, match="before a pairing is done"):
        introduction.introduced(early, BOBS_WORD, ALICE)
