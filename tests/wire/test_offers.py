"""Signed offers: one encoding, and a refusal of its own type for every way to be unusable."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from kexkit import secp256k1
from kexkit._wire import offers
from kexkit._wire.offers import Entry, Extension, OfferBody, Sibling
from kexkit.errors import (
    Forged,
    InvalidInput,
    Malformed,
    OfferExpired,
    OfferForeign,
    OfferMalformed,
    OfferNotYetValid,
    OfferSignature,
    OfferUnsupported,
    Refusal,
    Unsupported,
)
from kexkit.identity import SoftwareIdentity

from tests.wire.samples import (
    ALICE,
    BOB,
    LAPTOP,
    NOW_MS,
    NOW_S,
    PHONE,
    TABLET,
    offer_bodies,
    offer_body,
    repeatable,
)


def _tagged(label: bytes, material: bytes) -> bytes:
    return sha256(sha256(label).digest() * 2 + material).digest()


def _signed(raw_body: bytes, identity: SoftwareIdentity = ALICE) -> bytes:
    return raw_body + identity.sign(b"kexkit/offer/1", raw_body)


def _parse(raw: bytes, *, now_ms: int = NOW_MS, **options: Any) -> offers.SignedOffer:
    return offers.parse(raw, expected_identity=ALICE.public, now_ms=now_ms, **options)


def test_the_bytes_are_those_of_the_design() -> None:
    body = offer_body()
    raw = offers.encode(body)
    expected = (
        b"\x01"
        + ALICE.public
        + bytes.fromhex(PHONE.replace("-", ""))
        + b"".join(number.to_bytes(8, "big") for number in (NOW_MS, NOW_S - 60, NOW_S + 14 * 86400))
        + b"\x02"
        + b"\x11psk@example.org/1"
        + b"\x00\x20"
        + b"\x07" * 32
        + b"\x06x3dh/1"
        + b"\x00\x00"
        + b"\x01"
        + bytes.fromhex(LAPTOP.replace("-", ""))
        + (12).to_bytes(8, "big")
        + b"\x01"
        + b"\x00\x07"
        + b"\x00\x07unknown"
    )
    assert raw == expected
    signed = offers.sign(body, ALICE)
    assert signed.digest == _tagged(b"kexkit/offer/1", raw)
    assert signed.received[:-64] == raw
    secp256k1.verify(signed.received[-64:], signed.digest, ALICE.public)


def test_digests_of_bare_devices_and_openings_are_those_of_the_design() -> None:
    expected = _tagged(b"kexkit/bare/1", ALICE.public + bytes((len(PHONE),)) + PHONE.encode())
    assert offers.bare_digest(ALICE.public, PHONE) == expected
    assert offers.opening_bind("x3dh/1", expected) == _tagged(b"kexkit/opening/1", b"\x06x3dh/1" + expected)


def test_every_changed_bit_is_refused() -> None:
    raw = offers.sign(offer_body(), ALICE).received
    for at in range(len(raw)):
        for bit in range(8):
            spoiled = bytearray(raw)
            spoiled[at] ^= 1 << bit
            with pytest.raises(Refusal):
                _parse(bytes(spoiled))


def test_every_cut_and_every_addition_is_refused() -> None:
    raw = offers.sign(offer_body(), ALICE).received
    for size in range(len(raw)):
        with pytest.raises(OfferMalformed):
            _parse(raw[:size])
    with pytest.raises(OfferMalformed):
        _parse(_signed(raw[:-64] + b"\x00"))


@repeatable
@given(offer_bodies(), st.data())
def test_what_is_accepted_has_one_encoding(body: OfferBody, data: st.DataObject) -> None:
    raw = bytearray(offers.encode(body))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = offers.read(_signed(bytes(raw)), expected_identity=bytes(raw[1:34]))
    except Refusal:
        return
    assert offers.encode(found.body) == bytes(raw)


def test_a_second_signature_is_the_same_offer() -> None:
    class Hedged(SoftwareIdentity):
        def sign(self, label: bytes, material: bytes) -> bytes:
            signature = super().sign(label, material)
            s = secp256k1.ORDER - int.from_bytes(signature[32:], "big")
            return signature[:32] + s.to_bytes(32, "big")

    raw = offers.encode(offer_body())
    first = offers.read(_signed(raw), expected_identity=ALICE.public)
    other = offers.read(_signed(raw, Hedged(ALICE.expose_secret())), expected_identity=ALICE.public)
    assert first.digest == other.digest
    assert first.received != other.received
    with pytest.raises(OfferSignature):  # the other signature has a high s
        offers.check_signature(other)


def test_an_offer_of_somebody_else_is_foreign_whoever_signed() -> None:
    foreign = offers.sign(offer_body(identity=BOB.public), BOB).received
    with pytest.raises(OfferForeign):
        _parse(foreign)
    with pytest.raises(OfferForeign):
        _parse(_signed(foreign[:-64]))


def test_a_signature_by_somebody_else_is_a_forgery() -> None:
    with pytest.raises(OfferSignature):
        _parse(_signed(offers.encode(offer_body()), BOB))


def test_a_signature_under_another_label_is_a_forgery() -> None:
    raw = offers.encode(offer_body())
    with pytest.raises(OfferSignature):
        _parse(raw + ALICE.sign(b"kexkit/bare/1", raw))
    with pytest.raises(OfferSignature):
        _parse(raw + ALICE.sign_status(raw)[:64])


def test_an_expired_offer_starts_nothing_but_remains_evidence() -> None:
    raw = offers.sign(offer_body(), ALICE).received
    later = (NOW_S + 14 * 86400) * 1000
    assert _parse(raw, now_ms=later - 1).body.seq == NOW_MS
    with pytest.raises(OfferExpired):
        _parse(raw, now_ms=later)
    evidence = offers.read(raw, expected_identity=ALICE.public)
    offers.check_signature(evidence)
    assert evidence.body.seq == NOW_MS
    spoiled = offers.read(raw[:-1] + bytes((raw[-1] ^ 1,)), expected_identity=ALICE.public)
    with pytest.raises(OfferSignature):
        offers.check_signature(spoiled)


def test_an_unknown_critical_extension_is_unsupported_not_ignored() -> None:
    raw = offers.sign(offer_body(extensions=(Extension(0x8000, b""),)), ALICE).received
    with pytest.raises(OfferUnsupported):
        _parse(raw)


def test_an_unknown_format_is_unsupported() -> None:
    raw = offers.encode(offer_body())
    with pytest.raises(OfferUnsupported):
        _parse(_signed(b"\x02" + raw[1:]))


@pytest.mark.parametrize("installation", [PHONE, LAPTOP])
def test_installations_are_version_4_uuids_for_readers_too(installation: str) -> None:
    raw = offers.encode(offer_body())
    uuid = bytes.fromhex(installation.replace("-", ""))
    for at, byte in ((6, 0x10), (8, 0x00)):
        with pytest.raises(OfferMalformed):
            _parse(_signed(raw.replace(uuid, uuid[:at] + bytes((byte,)) + uuid[at + 1 :])))


def test_a_withdrawn_installation_offers_nothing() -> None:
    assert _parse(offers.sign(offer_body(entries=()), ALICE).received).body.entries == ()


def test_refusals_are_also_of_the_general_kinds() -> None:
    for special, general in (
        (OfferMalformed, Malformed),
        (OfferSignature, Forged),
        (OfferUnsupported, Unsupported),
        (OfferNotYetValid, Refusal),
    ):
        assert issubclass(special, general)


UNWRITABLE: list[dict[str, Any]] = [
    {"installation": "phone"},
    {"installation": PHONE.upper()},
    {"installation": "{" + PHONE + "}"},
    {"installation": "00000000-0000-1000-8000-000000000000"},
    {"identity": ALICE.public[:32]},
    {"identity": b"\x04" + ALICE.public[1:]},
    {"seq": -1},
    {"not_before": NOW_S, "not_after": NOW_S},
    {"not_before": NOW_S + 1, "not_after": NOW_S},
    {"not_before": -1, "not_after": 1},
    {"entries": (Entry("x3dh/1"), Entry("x3dh/1"))},
    {"entries": (Entry("\ud800/1"),)},
    {"entries": (Entry("x3dh/1", bytes(0x10000)),)},
    {"siblings": (Sibling(PHONE, 1),)},
    {"siblings": (Sibling(LAPTOP, 1), Sibling(LAPTOP, 2))},
    {
        "siblings": tuple(sorted((Sibling(LAPTOP, 1), Sibling(TABLET, 2)), key=lambda sibling: sibling.installation))[
            ::-1
        ]
    },
    {"extensions": (Extension(2, b""), Extension(1, b""))},
    {"extensions": (Extension(1, b""), Extension(1, b""))},
    {"extensions": (Extension(0x10000, b""),)},
]


@pytest.mark.parametrize("changes", UNWRITABLE, ids=str)
def test_what_readers_would_refuse_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        offers.encode(offer_body(**changes))


def test_an_offer_is_signed_by_whom_it_names() -> None:
    with pytest.raises(InvalidInput):
        offers.sign(offer_body(), BOB)


def test_an_identity_off_the_curve_is_malformed() -> None:
    nowhere = b"\x02" + bytes(31) + b"\x05"
    raw = _signed(offers.encode(evolve(offer_body(), identity=nowhere)))
    with pytest.raises(OfferMalformed):
        offers.parse(raw, expected_identity=nowhere, now_ms=NOW_MS)


NAMES = ["x3dh/1", "a/999", "noise-xx/1", "psk@example.org/1", "a" + "-" * 31 + "/1", "a@...x/1"]
NO_NAMES = [
    "",
    "x3dh",
    "x3dh/",
    "x3dh/0",
    "x3dh/01",
    "x3dh/1000",
    "X3dh/1",
    "3dh/1",
    "-a/1",
    "a_b/1",
    "a" * 33 + "/1",
    "a@ab/1",
    "a@" + "b" * 61 + "/1",
    "a@b@c.d/1",
    "x3dh/1 ",
    "x3dh/1\n",
    "x3dh/\u0661",
    "\u00e4/1",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_by_the_rules(name: str) -> None:
    assert offers.is_mechanism_name(name)
    _parse(offers.sign(offer_body(entries=(Entry(name),)), ALICE).received)


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_against_the_rules(name: str) -> None:
    assert not offers.is_mechanism_name(name)
    with pytest.raises(InvalidInput):
        offers.encode(offer_body(entries=(Entry(name),)))
    raw = offers.encode(offer_body(entries=(Entry("x3dh/1"),)))
    encoded = name.encode()
    spoiled = raw.replace(b"\x06x3dh/1", bytes((len(encoded),)) + encoded)
    with pytest.raises(OfferMalformed):
        _parse(_signed(spoiled))
