"""One key signs offers, statements, introductions, bundles, messages and envelopes: no signature made for one use is
good for another (A06).

The first three have labels. Status's three have none and share one hash: there the texts that are signed are of such
forms that none can be read as another's. Both are tried, each signature for each other verifier: under that verifier's
own text, and with the text that was signed standing where the verifier's stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from uuid import UUID

import pytest
from attrs import evolve, frozen
from kexkit import secp256k1
from kexkit._pb.status import application_metadata_message_pb2, bundle_pb2
from kexkit._wire import application, chat_message, offers, payload26
from kexkit._wire.offers import Entry, Extension, OfferBody
from kexkit.api import Device
from kexkit.errors import Forged, Malformed, Refusal
from kexkit.identity import SoftwareIdentity, tagged_digest
from kexkit_noise import introduction, statement
from kexkit_noise.statement import Statement
from kexkit_x3dh import bundle as bundles
from kexkit_x3dh.bundle import PublishedPrekey

RANDOM = Random(6)
ALICE = SoftwareIdentity.generate(RANDOM.randbytes)
NOW_S = 1_760_000_000
NOW_MS, NOW_NS = NOW_S * 1000, NOW_S * 10**9
PHONE = str(UUID(bytes=RANDOM.randbytes(16), version=4))
WEEK_S = 7 * 24 * 3600
PREKEY = secp256k1.public_of(secp256k1.generate_secret(RANDOM.randbytes))


@frozen
class Use:
    """One thing that Alice signs."""

    texts: tuple[bytes, ...]
    """what is signed: everything here is such that her device could make it"""
    sign: Callable[[bytes], bytes]
    """64 bytes, or 65 with the recovery number"""
    signed: Callable[[bytes, bytes], Iterator[bytes]]
    """text and signature -> what is sent with them; nothing, if no sent form has this text"""
    check: Callable[[bytes], None]
    """a Refusal unless Alice said it"""


def _window() -> bytes:
    return NOW_S.to_bytes(8, "big") + (NOW_S + WEEK_S).to_bytes(8, "big")


def _offer_texts() -> Iterator[bytes]:
    body = OfferBody(ALICE.public, PHONE, NOW_MS, NOW_S, NOW_S + WEEK_S, (Entry("x3dh/1"), Entry("psk@example.org/1")))
    yield offers.encode(body)
    yield offers.encode(evolve(body, entries=()))
    yield _offer_and_statement()


def _offer_and_statement() -> bytes:
    """One text that is an offer and a statement at once: nothing but the label tells them apart."""
    ending = (Extension(7, b"\x00" + _window()),)
    return offers.encode(OfferBody(ALICE.public, PHONE, NOW_MS, NOW_S, NOW_S + WEEK_S, (), extensions=ending))


def _statement_texts() -> Iterator[bytes]:
    device = Device(ALICE.public, PHONE)
    for static in (b"\x05" * 32, _offer_and_statement()[50:82]):
        yield Statement(device, static, NOW_S, NOW_S + WEEK_S, b"").body


def _introduction_texts() -> Iterator[bytes]:
    """A pairing's transcript, and a statement; nobody chooses the transcript, but let it be a statement's beginning."""
    for body in _statement_texts():
        for transcript in (b"\x07" * 32, body[:32]):
            yield transcript + body


def _bundle_texts() -> Iterator[bytes]:
    """Of installations whose names begin with every digit that there is: it is the first byte of the text."""
    for digit in "0123456789abcdef":
        for second in "04f":
            name = digit + second + PHONE[2:]
            yield bundles.signed_material({name: PublishedPrekey(PREKEY, 1, 1)}, NOW_NS)


def _chat_texts() -> Iterator[bytes]:
    """Also with what others would like to see signed."""
    listed = (PHONE.encode() + b"\x02" + b"k" * 32 + b"1" + str(NOW_NS).encode()).decode()
    for said in ("hello", "x" * 500, listed, "\x05\x20" + "y" * 300):
        for name in ("", "Alice", listed):
            yield chat_message.encode(chat_message.ChatText(NOW_MS, NOW_MS, said, "0x04", display_name=name))


def _frame_texts() -> Iterator[bytes]:
    for data in (b"", b"data", _offer_and_statement(), b"x" * 300, b"\x08\x01\x10\x01" * 20_000):
        padding = RANDOM.randbytes(payload26.padding_size(len(data), signed=True))
        yield payload26.encode_frame(data, padding, sign=ALICE)[:-65]


def _behind(text: bytes, signature: bytes) -> Iterator[bytes]:
    yield text + signature


def _bundles_that_say(text: bytes, signature: bytes) -> Iterator[bytes]:
    """Every bundle of one installation with this signed text, and the digits divided in every way."""
    digits = len(text) - len(text.rstrip(b"0123456789"))
    for start in range(len(text) - digits - 33, len(text) - 33):
        if start < 0 or len(text[start + 33 :]) < 2:
            continue
        for end in range(start + 34, min(start + 45, len(text))):
            wire = bundle_pb2.Bundle(identity=ALICE.public, signature=signature)
            try:
                entry = wire.signed_pre_keys[text[:start].decode()]
                entry.signed_pre_key, entry.version = text[start : start + 33], int(text[start + 33 : end])
                wire.timestamp = int(text[end:])
            except ValueError:  # no UTF-8, or a number beyond its field
                continue
            yield wire.SerializeToString()


def _messages_with(text: bytes, signature: bytes) -> Iterator[bytes]:
    wire = application_metadata_message_pb2.ApplicationMetadataMessage(signature=signature, payload=text, type=1)
    yield wire.SerializeToString()


def _check_offer(raw: bytes) -> None:
    offers.parse(raw, expected_identity=ALICE.public, now_ms=NOW_MS)


def _check_statement(raw: bytes) -> None:
    stated = statement.parse(raw)
    statement.verify(stated, NOW_MS)
    _by_alice(stated.device.identity)


def _check_introduction(raw: bytes) -> None:
    """As `introduced` does, to whom the transcript and the proven static are given."""
    if len(raw) != 32 + introduction.INTRODUCTION_BYTES - 64:
        raise Malformed("An introduction has another length.")
    secp256k1.verify(raw[-64:], tagged_digest(introduction.LABEL, raw[:-64]), ALICE.public)


def _check_bundle(raw: bytes) -> None:
    bundles.read(raw, maker=ALICE.public, now=NOW_MS)


def _check_message(raw: bytes) -> None:
    found = application.unwrap(raw)
    _by_alice(found.signer)
    chat_message.validate(chat_message.parse(found.payload), now_ms=NOW_MS)


def _check_envelope(raw: bytes) -> None:
    _by_alice(payload26.decode_frame(raw).signer)


def _by_alice(signer: bytes | None) -> None:
    if signer != ALICE.public:
        raise Forged("somebody else")


def _labelled(label: bytes) -> Callable[[bytes], bytes]:
    return lambda text: ALICE.sign(label, text)


USES = {
    "offer": Use(tuple(_offer_texts()), _labelled(b"kexkit/offer/1"), _behind, _check_offer),
    "statement": Use(tuple(_statement_texts()), _labelled(b"kexkit/noise-static/1"), _behind, _check_statement),
    "introduction": Use(tuple(_introduction_texts()), _labelled(introduction.LABEL), _behind, _check_introduction),
    "bundle": Use(tuple(_bundle_texts()), ALICE.sign_status, _bundles_that_say, _check_bundle),
    "message": Use(tuple(_chat_texts()), ALICE.sign_status, _messages_with, _check_message),
    "envelope": Use(tuple(_frame_texts()), ALICE.sign_status, _behind, _check_envelope),
}
PAIRS = [(made, offered) for made in USES for offered in USES if made != offered]


def fitted(signature: bytes, use: Use) -> Iterator[bytes]:
    """The signature in the form that a use has, with either recovery number if it had none."""
    if len(use.sign(b"")) == 64:
        yield signature[:64]
    elif len(signature) == 65:
        yield signature
    else:
        yield from (signature + bytes((recovery,)) for recovery in (0, 1))


def attempts(made: Use, offered: Use) -> Iterator[bytes]:
    for text in made.texts:
        for signature in fitted(made.sign(text), offered):
            yield from offered.signed(text, signature)
            yield from offered.signed(offered.texts[0], signature)


def passes(use: Use, raw: bytes) -> bool:
    try:
        use.check(raw)
    except Refusal:
        return False
    return True


def accepted(made: str, offered: str) -> int:
    """How many attempts pass for something that Alice said."""
    return sum(passes(USES[offered], raw) for raw in attempts(USES[made], USES[offered]))


@pytest.mark.parametrize("name", USES)
def test_each_signature_is_good_for_its_own_use(name: str) -> None:
    use = USES[name]
    for text in use.texts:
        assert any(passes(use, raw) for raw in use.signed(text, use.sign(text))), text


@pytest.mark.parametrize(("made", "offered"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_no_signature_is_good_for_another_use(made: str, offered: str) -> None:
    assert accepted(made, offered) == 0


def test_one_text_is_an_offer_and_a_statement() -> None:
    assert _offer_and_statement() in USES["offer"].texts
    assert _offer_and_statement() in USES["statement"].texts


def test_what_status_signs_for_its_three_uses_begins_differently() -> None:
    """That is all that keeps them apart: they have one hash, and no label."""
    begin = [{text[:1] for text in USES[name].texts} for name in ("bundle", "message", "envelope")]
    assert begin == [{digit.encode() for digit in "0123456789abcdef"}, {b"\x08"}, {b"\x05", b"\x06", b"\x07"}]


def test_negative_control_one_label_for_two_uses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "LABEL", b"kexkit/offer/1")
    assert accepted("offer", "statement") > 0


def test_negative_control_flags_that_nobody_compares_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """status-go takes such frames: a public bundle then signs an envelope."""
    monkeypatch.setattr(payload26, "_KNOWN_FLAGS", 0xFF)
    assert accepted("bundle", "envelope") > 0


def test_negative_control_a_message_that_need_not_be_valid_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's signature is genuine: only what she signed is not a text."""
    monkeypatch.setattr(chat_message, "parse", lambda raw: None)
    monkeypatch.setattr(chat_message, "validate", lambda message, now_ms: None)
    assert accepted("bundle", "message") > 0
    assert accepted("envelope", "message") > 0
