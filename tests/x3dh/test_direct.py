"""The fallback gives secrecy and no more, and says so."""

from __future__ import annotations

import pickle

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kexkit import secp256k1
from kexkit.api import NOTHING, Answer, Close, Device, Due, Guarantee, Opening, Step
from kexkit.errors import Forged, InvalidInput, Malformed, NotMine, Refusal
from kexkit.testing.pair import Pair
from kexkit_x3dh import frames, limits
from kexkit_x3dh.direct import DirectSession
from kexkit_x3dh.exchange import X3DH

from tests.x3dh.support import OFF_CURVE, met, strangers


def begin(pair: Pair, peer: Device | None = None) -> DirectSession:
    step = pair.alice.exchange.initiate(Opening(peer or pair.bob.me, None), NOTHING, ctx=pair.alice.context)
    assert isinstance(step, Step)
    assert not step.keep
    assert isinstance(step.session, DirectSession)
    return step.session


def sealed(pair: Pair, text: bytes = b"text") -> bytes:
    step = begin(pair).seal(text, ctx=pair.alice.context)
    assert step.session is None
    (frame,) = step.frames
    return frame


def accept(pair: Pair, frame: bytes) -> Step:
    step = pair.bob.exchange.accept(frame, Opening(pair.alice.me, None), NOTHING, ctx=pair.bob.context)
    assert isinstance(step, Step)
    return step


def test_a_text_reaches_whoever_holds_the_identity_key_and_leaves_no_session() -> None:
    pair = strangers()
    step = accept(pair, sealed(pair))
    assert (step.session, step.keep, step.drop, step.frames) == (None, {}, (), ())
    (plain,) = step.plain
    assert (plain.body, plain.grade) == (b"text", Guarantee.SECRET)


def test_nobody_else_reads_it() -> None:
    pair = strangers()
    frame = sealed(pair)
    with pytest.raises(Forged):
        pair.carol.exchange.accept(frame, Opening(pair.alice.me, None), NOTHING, ctx=pair.carol.context)


def test_every_bit_but_the_sign_of_the_key_counts() -> None:
    """Here too the agreement takes the x coordinate alone; the text is the same, and it opens as often as it comes."""
    pair = strangers()
    frame = sealed(pair)
    sign = frame.index(frames.read(frame).ephemeral) * 8
    for place in range(len(frame) * 8):
        changed = bytearray(frame)
        changed[place // 8] ^= 1 << place % 8
        if place == sign:
            assert accept(pair, bytes(changed)).plain[0].body == b"text"
        else:
            with pytest.raises(Refusal):
                accept(pair, bytes(changed))


def test_its_grade_hides_nothing() -> None:
    pair = strangers()
    assert begin(pair).grade is Guarantee.SECRET
    frame = sealed(pair)
    for _ in range(2):  # no memory, so no protection from repetition: it is not claimed
        assert accept(pair, frame).plain[0].grade is Guarantee.SECRET


def test_the_key_is_the_bare_agreement_and_the_nonce_stands_at_the_end() -> None:
    pair = strangers()
    before = len(pair.alice.rng.drawn)
    read = frames.read(sealed(pair))
    ephemeral, nonce = pair.alice.rng.drawn[before:]
    assert (len(ephemeral), len(nonce)) == (32, 12)
    assert read.ephemeral == secp256k1.public_of(ephemeral)
    assert read.sealed[-12:] == nonce
    key = secp256k1.agree(ephemeral, pair.bob.me.identity)
    assert AESGCM(key).decrypt(nonce, read.sealed[:-12], None) == b"text"


def test_a_session_does_not_take_it_and_core_goes_on_to_accept() -> None:
    pair = met()
    frame = sealed(pair)
    for value in pair.bob.sessions.values():
        with pytest.raises(NotMine):
            value.receive(frame, NOTHING, ctx=pair.bob.context)
    with pytest.raises(NotMine):
        begin(pair).receive(frame, NOTHING, ctx=pair.alice.context)


def test_a_key_off_the_curve_is_refused() -> None:
    pair = strangers()
    with pytest.raises(Malformed):
        accept(pair, frames.write_direct(OFF_CURVE, bytes(40)))
    with pytest.raises(Malformed):
        begin(pair, Device(OFF_CURVE, "")).seal(b"text", ctx=pair.alice.context)


@pytest.mark.parametrize(("more", "taken"), [(-1, True), (0, True), (1, False)])
def test_a_text_has_a_largest_size(more: int, taken: bool) -> None:
    pair = strangers()
    body = bytes(limits.BODY_BYTES + more)
    if taken:
        assert accept(pair, sealed(pair, body)).plain[0].body == body
    else:
        with pytest.raises(InvalidInput):
            sealed(pair, body)


def test_it_keeps_to_the_contract_though_nobody_stores_it() -> None:
    pair = strangers()
    value = begin(pair, Device(pair.bob.me.identity, ""))
    restored = X3DH().restore(value.snapshot())
    assert (restored.id, restored.peer, restored.grade) == (value.id, value.peer, value.grade)
    assert (value.due, value.hears) == (None, frozenset())
    assert value.cue(Due(), ctx=pair.alice.context).session is value
    assert value.cue(Answer(b""), ctx=pair.alice.context).session is value
    assert value.cue(Close(), ctx=pair.alice.context).session is None
    assert len(value.id) == 32
    with pytest.raises(TypeError):
        pickle.dumps(value)
