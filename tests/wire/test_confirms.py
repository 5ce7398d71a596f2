"""Confirmations and verdicts: one encoding for each value, and what departs from it is refused."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from kexkit import limits
from kexkit._wire import confirms, offers
from kexkit._wire.confirms import Confirm, Ruling, Verdict, View
from kexkit.errors import InvalidInput, Malformed, OfferForeign, OfferMalformed, OfferUnsupported, Refusal

from tests.spoiling import mutated
from tests.wire import confirmations
from tests.wire.confirmations import CONFIRM, HERS, OFFER, VERDICT, confirm, verdict
from tests.wire.samples import ALICE, BOB, LAPTOP, NOW_MS, PHONE, TABLET, offer_body, repeatable


@repeatable
@given(confirmations.confirms())
def test_a_confirmation_comes_back(value: Confirm) -> None:
    raw = confirms.encode_confirm(value)
    assert confirms.read_confirm(raw) == value
    assert confirms.kind_of(raw) == confirms.CONFIRM


@repeatable
@given(confirmations.verdicts)
def test_a_verdict_comes_back(value: Verdict) -> None:
    raw = confirms.encode_verdict(value)
    assert confirms.read_verdict(raw) == value
    assert confirms.kind_of(raw) == confirms.VERDICT


def test_what_is_read_is_written_as_it_came() -> None:
    """So no two encodings have one value, whatever a peer makes of them."""
    rng = random.Random(5)
    read = 0
    for _ in range(6000):
        raw = mutated(CONFIRM, rng)
        try:
            value = confirms.read_confirm(raw)
        except Refusal:
            continue
        assert confirms.encode_confirm(value) == raw
        read += raw != CONFIRM
    for _ in range(6000):
        raw = mutated(VERDICT, rng)
        try:
            told = confirms.read_verdict(raw)
        except Refusal:
            continue
        assert confirms.encode_verdict(told) == raw
        read += raw != VERDICT
    assert read > 500


def test_the_layout_is_the_written_one() -> None:
    """Byte by byte, by hand."""
    view = min(LAPTOP, TABLET), max(LAPTOP, TABLET)
    assert (
        b"".join(
            (
                b"\x01\x01",
                b"\x01" * 32,
                ALICE.public,
                b"\x24" + PHONE.encode(),
                BOB.public,
                b"\x10" + "Bob's télephone".encode(),
                b"\x02" * 32,
                b"\x06x3dh/1",
                b"\x00\x03",
                b"\x0b" * 32,
                len(OFFER).to_bytes(2, "big") + OFFER,
                b"\x02",
                bytes.fromhex(view[0].replace("-", "")) + bytes(7) + b"\x07",
                bytes.fromhex(view[1].replace("-", "")) + bytes(8),
            )
        )
        == CONFIRM
    )
    tag = sha256(b"kexkit/confirm/1").digest()
    record = sha256(tag + tag + CONFIRM).digest()
    assert confirms.record_digest(CONFIRM) == record
    offered = len(HERS).to_bytes(2, "big") + HERS + b"\x00\x41" + b"\x05" * 65
    fixed = b"\x01" * 32 + record + b"\x01" + bytes(7) + b"\x0c" + b"\x04" * 32
    assert b"\x01\x02" + fixed + b"\x02" + offered == VERDICT


def test_the_rulings_have_the_written_numbers() -> None:
    assert [ruling.name for ruling in sorted(Ruling)] == [
        "ACCEPTED",
        "STALE",
        "NOT_BEST",
        "POLICY",
        "YOUR_OFFER",
        "ROLLBACK",
    ]
    assert [int(ruling) for ruling in sorted(Ruling)] == list(range(6))


def test_no_session_before_is_written_as_zeros() -> None:
    raw = confirms.encode_confirm(confirm(previous=None))
    assert raw == CONFIRM.replace(b"\x0b" * 32, bytes(32))
    assert confirms.read_confirm(raw).previous is None


@pytest.mark.parametrize("raw", [CONFIRM, VERDICT], ids=["confirmation", "verdict"])
def test_every_shorter_and_every_longer_form_is_refused(raw: bytes) -> None:
    read = confirms.read_confirm if raw is CONFIRM else confirms.read_verdict
    for size in range(len(raw)):
        with pytest.raises(Malformed):
            read(raw[:size])
    for more in (b"\x00", raw):
        with pytest.raises(Malformed):
            read(raw + more)


def test_the_two_kinds_are_never_taken_for_each_other() -> None:
    with pytest.raises(Malformed):
        confirms.read_verdict(CONFIRM)
    with pytest.raises(Malformed):
        confirms.read_confirm(VERDICT)
    for wrong in (b"", b"\x01", b"\x01\x00", b"\x01\x03", b"\x00\x01", b"\x02\x01", b"\x02\x02"):
        with pytest.raises(Malformed):
            confirms.kind_of(wrong + bytes(300) * (len(wrong) == 2))


def _with(old: bytes, new: bytes, raw: bytes = CONFIRM) -> bytes:
    assert raw.count(old) == 1
    return raw.replace(old, new)


_VIEWS = CONFIRM[-48:-24], CONFIRM[-24:]
_SPOILED = {
    "identity of the initiator": _with(b"\x01" * 32 + ALICE.public, b"\x01" * 32 + b"\x04" + ALICE.public[1:]),
    "identity of the responder": _with(BOB.public, b"\x00" + BOB.public[1:]),
    "installation that is no text": _with("é".encode(), b"\xc3\xff"),
    "installation in a longer encoding": _with("é".encode(), b"\xc1\xa9"),
    "surrogate": _with("él".encode(), b"\xed\xa0\x80"),
    "mechanism in capitals": _with(b"\x06x3dh/1\x00\x03", b"\x06X3DH/1\x00\x03"),
    "mechanism with a zero": _with(b"\x06x3dh/1\x00\x03", b"\x07x3dh/01\x00\x03"),
    "no mechanism": _with(b"\x06x3dh/1\x00\x03", b"\x00\x00\x03"),
    "mask beyond the offer": _with(b"\x06x3dh/1\x00\x03", b"\x06x3dh/1\x00\x04"),
    "mask far beyond the offer": _with(b"\x06x3dh/1\x00\x03", b"\x06x3dh/1\x80\x01"),
    "devices in another order": CONFIRM[:-48] + _VIEWS[1] + _VIEWS[0],
    "a device twice": CONFIRM[:-48] + _VIEWS[0] * 2,
    "a device that is no version 4 UUID": CONFIRM[:-48] + bytes(16) + CONFIRM[-32:],
    "a sequence number beyond the bound": CONFIRM[:-8] + b"\x80" + bytes(7),
    "offer of another device": _with(b"\x24" + PHONE.encode(), b"\x24" + LAPTOP.encode()),
    "installation's UUID in capitals": _with(PHONE.encode(), PHONE.upper().encode()),
}


@pytest.mark.parametrize("name", _SPOILED)
def test_what_the_grammar_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(Malformed):
        confirms.read_confirm(_SPOILED[name])


def test_the_offer_inside_is_of_whom_the_confirmation_names() -> None:
    raw = _with(b"\x01" * 32 + ALICE.public, b"\x01" * 32 + BOB.public)
    with pytest.raises(OfferForeign):
        confirms.read_confirm(raw)
    for broken, expected in ((bytes(100), OfferUnsupported), (b"\x01" * 64, OfferMalformed)):
        sized = len(broken).to_bytes(2, "big") + broken
        with pytest.raises(expected):
            confirms.read_confirm(_with(len(OFFER).to_bytes(2, "big") + OFFER, sized))


def test_the_offer_inside_is_carried_and_not_judged() -> None:
    """Its dates and its signature are for who accepts it; then it is evidence, also when it has expired."""
    old = offers.encode(offer_body(not_before=0, not_after=1)) + bytes(64)
    raw = confirms.encode_confirm(confirm(offer=old))
    assert confirms.read_confirm(raw).offer == old
    with pytest.raises(Refusal):
        offers.parse(old, expected_identity=ALICE.public, now_ms=NOW_MS)


@pytest.mark.parametrize("number", [6, 7, 0x80, 0xFF])
def test_a_ruling_that_is_not_known_is_refused(number: int) -> None:
    with pytest.raises(Malformed):
        confirms.read_verdict(VERDICT[:66] + bytes((number,)) + VERDICT[67:])


def test_a_verdict_bears_no_empty_offer() -> None:
    with pytest.raises(Refusal):
        confirms.read_verdict(confirms.encode_verdict(verdict(offers=()))[:-1] + b"\x01\x00\x00")


@pytest.mark.parametrize(
    "changes",
    [
        {"session": bytes(31)},
        {"session": bytes(33)},
        {"initiator": ALICE.public[1:]},
        {"initiator": BOB.public},
        {"initiator_installation": "\ud800"},
        {"responder_installation": "\ud800"},
        {"responder_installation": "a" * 256},
        {"offer_digest": b""},
        {"mechanism": "X3DH/1"},
        {"mask": -1},
        {"mask": 4},
        {"mask": 2**16},
        {"previous": bytes(32)},
        {"previous": b""},
        {"offer": b""},
        {"offer": bytes(2**16)},
        {"views": (View(LAPTOP.upper(), 1),)},
        {"views": (View("phone", 1),)},
        {"views": (View(LAPTOP, -1),)},
        {"views": (View(LAPTOP, 2**64),)},
        {"views": (View(LAPTOP, 1), View(LAPTOP, 2))},
    ],
    ids=lambda changes: "-".join(f"{name}" for name in changes),
)
def test_what_readers_would_refuse_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        confirms.encode_confirm(confirm(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"session": b""},
        {"session": bytes(31), "record": bytes(33)},
        {"record": bytes(33)},
        {"ruling": 6},
        {"ruling": 256},
        {"seq": -1},
        {"seq": 2**63},
        {"offers": (b"",)},
        {"offers": (bytes(2**16),)},
        {"offer_digest": bytes(31)},
    ],
)
def test_a_verdict_that_readers_would_refuse_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        confirms.encode_verdict(verdict(**changes))


@repeatable
@given(st.sampled_from([field.name for field in Confirm.__attrs_attrs__]), confirmations.confirms())
def test_every_field_is_in_the_record(name: str, other: Confirm) -> None:
    """N names all of it: two confirmations that differ anywhere have different records."""
    value = confirm()
    changed = getattr(other, name)
    if name in ("offer", "initiator_installation"):  # they go together
        value = evolve(value, mask=0)
        one = evolve(value, offer=other.offer, initiator_installation=other.initiator_installation)
    else:
        one = evolve(value, **{name: changed & 0b11 if name == "mask" else changed})
    records = {confirms.record_digest(confirms.encode_confirm(each)) for each in (value, one)}
    assert len(records) == 1 + (one != value)


def test_the_longest_confirmation_fits_the_bound() -> None:
    body = offer_body(entries=(), siblings=(), extensions=())
    room = limits.OFFER_BYTES - 64 - len(offers.encode(evolve(body, entries=(offers.Entry("a/1"),))))
    largest = offers.encode(evolve(body, entries=(offers.Entry("a/1", bytes(room)),))) + bytes(64)
    assert len(largest) == limits.OFFER_BYTES
    raw = confirms.encode_confirm(
        confirm(
            responder_installation="r" * limits.INSTALLATION_BYTES,
            mechanism="a" * 16 + "@" + "b" * 60 + "/99",
            mask=1,
            offer=largest,
            views=tuple(View(f"{at}0000000-0000-4000-8000-000000000000", at) for at in range(limits.CONFIRM_VIEWS)),
        )
    )
    assert len(raw) < limits.CONFIRM_BYTES
