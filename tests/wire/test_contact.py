"""Contact codes in all their forms."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kexkit import limits, secp256k1
from kexkit._pb.status import bundle_pb2
from kexkit._wire import contact_qr, offers
from kexkit.contact import ContactCode, Pin, parse_contact_code
from kexkit.errors import InvalidInput, Limit, Malformed, Refusal

from tests.wire.samples import ALICE, BOB, LAPTOP, NOW_MS, PHONE, TABLET, offer_body, repeatable, sequences, uuids

KEY = secp256k1.uncompressed(ALICE.public).hex()
OFFER = offers.sign(offer_body(), ALICE).received
MULTIBASE = "zQ3sh"


def bundle(identity: bytes = ALICE.public, **prekeys: int) -> bytes:
    made = bundle_pb2.Bundle(identity=identity, signature=bytes(range(65)), timestamp=1729726800123456789)
    for installation, version in (prekeys or {"phone": 1, "laptop": 7}).items():
        made.signed_pre_keys[installation].signed_pre_key = BOB.public
        made.signed_pre_keys[installation].version = version
        made.signed_pre_keys[installation].protocol_version = 1
    return made.SerializeToString(deterministic=True)


FULL = ContactCode(ALICE.public, (bundle(),), (OFFER,), (Pin(LAPTOP, 5),))


def _text(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


def _document(code: ContactCode = FULL) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(base64.b64decode(code.to_text()))
    return loaded


def _base58(raw: bytes) -> str:
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = digits[rest] + text
    return "z" + text


CODES = [
    ContactCode(ALICE.public),
    ContactCode(ALICE.public, (bundle(),)),
    ContactCode(ALICE.public, (), (OFFER,)),
    FULL,
]


@pytest.mark.parametrize("code", CODES)
def test_a_code_comes_back_from_text(code: ContactCode) -> None:
    assert parse_contact_code(code.to_text()) == code


def test_the_text_is_a_bundle_in_protobufs_json() -> None:
    document = _document()
    assert document["identity"] == base64.b64encode(ALICE.public).decode()
    assert document["signedPreKeys"]["laptop"] == {
        "signedPreKey": base64.b64encode(BOB.public).decode(),
        "version": 7,
        "protocolVersion": 1,
    }
    assert document["timestamp"] == "1729726800123456789"
    assert document["kexkit_offers"] == [base64.b64encode(OFFER).decode()]
    assert document["kexkit_pins"] == {LAPTOP: "5"}


def test_field_names_of_the_schema_and_plain_numbers_are_read_too() -> None:
    """Older Status clients write JSON by the names of the schema, with 64-bit integers as numbers."""
    document = {
        "identity": base64.b64encode(ALICE.public).decode(),
        "signed_pre_keys": {"phone": {"signed_pre_key": base64.b64encode(BOB.public).decode(), "version": 1}},
        "signature": base64.b64encode(bytes(65)).decode(),
        "timestamp": 1729726800123456789,
    }
    read = bundle_pb2.Bundle.FromString(parse_contact_code(_text(document)).bundles[0])
    assert read.timestamp == 1729726800123456789
    assert read.signed_pre_keys["phone"].signed_pre_key == BOB.public


def test_unknown_keys_are_ignored() -> None:
    assert parse_contact_code(_text({**_document(), "avatar": {"deep": [1, 2]}})) == FULL


def test_space_around_and_inside_is_ignored() -> None:
    for text in (FULL.to_text(), FULL.to_qr_text(), "0x" + KEY):
        wrapped = "\n  ".join(text[at : at + 60] for at in range(0, len(text), 60))
        assert parse_contact_code(f"\t {wrapped}\r\n") == parse_contact_code(text)


@pytest.mark.parametrize("text", [KEY, "0x" + KEY, KEY.upper(), ALICE.public.hex(), "0x" + ALICE.public.hex()])
def test_a_bare_key_is_a_code(text: str) -> None:
    assert parse_contact_code(text) == ContactCode(ALICE.public)


def test_statuss_compressed_key_is_a_code() -> None:
    for identity in (ALICE.public, BOB.public):
        text = _base58(b"\xe7\x01" + identity)
        assert text.startswith(MULTIBASE)
        assert parse_contact_code(text) == ContactCode(identity)


def test_the_qr_form_keeps_everything_that_fits() -> None:
    text = FULL.to_qr_text()
    assert set(text) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    read = parse_contact_code(text)
    assert (read.identity, read.bundles, read.offers) == (FULL.identity, FULL.bundles, FULL.offers)
    assert read.pins == tuple(sorted((Pin(PHONE, NOW_MS), Pin(LAPTOP, 5)), key=lambda pin: pin.installation))
    assert parse_contact_code(text.lower()) == read


def test_what_does_not_fit_a_qr_code_leaves_its_pin() -> None:
    big = offers.sign(offer_body(entries=(offers.Entry("psk@example.org/1", bytes(700)),)), ALICE).received
    read = parse_contact_code(ContactCode(ALICE.public, (bundle(),), (big,)).to_qr_text())
    assert (read.offers, read.bundles) == ((), (bundle(),))
    assert read.pins == (Pin(PHONE, NOW_MS),)
    assert parse_contact_code(read.to_text()).pins == read.pins


@pytest.mark.parametrize("size", [limits.QR_BYTES - 1, limits.QR_BYTES, limits.QR_BYTES + 1])
def test_an_offer_is_in_a_qr_code_as_long_as_it_fits(size: int) -> None:
    empty = ContactCode(ALICE.public, pins=(Pin(PHONE, NOW_MS),)).to_qr_text()
    taken = len(base64.b32decode(empty.removeprefix(contact_qr.PREFIX) + "=" * (-len(empty[7:]) % 8))) + 2
    offer = OFFER.ljust(size - taken, b"\x00")
    assert parse_contact_code(ContactCode(ALICE.public, (), (offer,)).to_qr_text()).offers == (
        (offer,) if size <= limits.QR_BYTES else ()
    )


@pytest.mark.parametrize("offer", [OFFER[:57], OFFER[:50] + b"\x80" + OFFER[51:]], ids=["short", "sequence"])
def test_a_qr_code_is_not_made_of_what_is_no_offer(offer: bytes) -> None:
    with pytest.raises(InvalidInput):
        ContactCode(ALICE.public, (), (offer,)).to_qr_text()


def test_the_highest_pin_of_a_device_wins() -> None:
    for seq, expected in ((NOW_MS - 1, NOW_MS), (NOW_MS + 1, NOW_MS + 1)):
        read = parse_contact_code(ContactCode(ALICE.public, (), (OFFER,), (Pin(PHONE, seq),)).to_qr_text())
        assert read.pins == (Pin(PHONE, expected),)


@repeatable
@given(st.dictionaries(uuids, sequences, max_size=3))
def test_pins_come_back_from_both_forms(pinned: dict[str, int]) -> None:
    code = ContactCode(
        ALICE.public, pins=tuple(Pin(installation, pinned[installation]) for installation in sorted(pinned))
    )
    assert parse_contact_code(code.to_qr_text()) == code
    assert parse_contact_code(code.to_text()) == code


def test_a_mistyped_qr_text_is_noticed() -> None:
    text = FULL.to_qr_text()
    for at in range(len(contact_qr.PREFIX), len(text)):
        with pytest.raises(Malformed):
            parse_contact_code(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :])
        with pytest.raises(Malformed):
            parse_contact_code(text[:at])


def test_a_qr_text_has_one_spelling() -> None:
    text = FULL.to_qr_text()
    assert (len(text) - len(contact_qr.PREFIX)) % 8 != 0  # so the last letter carries bits of no meaning
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    with pytest.raises(Malformed):
        parse_contact_code(text[:-1] + letters[letters.index(text[-1]) + 1])


def test_a_key_that_stands_twice_is_malformed() -> None:
    raw = base64.b64decode(FULL.to_text())
    assert parse_contact_code(base64.b64encode(raw).decode()) == FULL
    for key in (b'"identity":' + json.dumps(_document()["identity"]).encode(), b'"a":1,"a":1'):
        with pytest.raises(Malformed):
            parse_contact_code(base64.b64encode(raw[:-1] + b"," + key + b"}").decode())


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": ""},
        {"identity": base64.b64encode(bytes(33)).decode()},
        {"identity": base64.b64encode(secp256k1.uncompressed(ALICE.public)).decode()},
        {"identity": 7},
        {"signedPreKeys": []},
        {"signedPreKeys": {"phone": None}},
        {"signedPreKeys": {"\ud800": {}}},
        {"timestamp": 2**63},
        {"timestamp": "soon"},
        {"timestamp": float("nan")},
        {"kexkit_offers": None},
        {"kexkit_offers": {}},
        {"kexkit_offers": [7]},
        {"kexkit_offers": [""]},
        {"kexkit_offers": ["not base64!"]},
        {"kexkit_pins": []},
        {"kexkit_pins": None},
        {"kexkit_pins": {PHONE: 5}},
        {"kexkit_pins": {PHONE: "-5"}},
        {"kexkit_pins": {PHONE: "05"}},
        {"kexkit_pins": {PHONE: str(2**63)}},
        {"kexkit_pins": {PHONE.upper(): "5"}},
        {"kexkit_pins": {"phone": "5"}},
    ],
    ids=str,
)
def test_a_spoiled_code_is_malformed_and_never_taken_for_a_smaller_one(changes: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse_contact_code(_text({**_document(), **changes}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "0x04" + "00" * 64,
        "02" + "ff" * 32,
        KEY[:-2],
        "zQ3sh",
        _base58(b"\xe7\x01" + ALICE.public)[:-1],
        _base58(b"\xe7\x01" + ALICE.public) + "1",
        _base58(b"\xe7\x01" + ALICE.public).replace("Q", "0"),
        "zQ3sh" + "z" * 44,
        "KEXKIT:",
        "KEXKIT:AAAA",
        "KEXKIT:AAAAA=",
        "KEXKIT:" + "\u0130" * 8,
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b'{"identity":"a","identity":"b"}').decode(),
        base64.b64encode(b"[" * 40_000).decode(),
        base64.b64encode(b'{"a":' * 9_000).decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b'{"timestamp":' + b"9" * 5000 + b"}").decode(),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_what_is_no_code_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_contact_code(text)


@pytest.mark.parametrize(
    "code",
    [
        ContactCode(bytes(33)),
        ContactCode(ALICE.public, (bundle(BOB.public),)),
        ContactCode(ALICE.public, (bundle(), bundle())),
        ContactCode(ALICE.public, (b"\xff",)),
        ContactCode(ALICE.public, (), (b"",)),
        ContactCode(ALICE.public, (), (OFFER,) * 4),
        ContactCode(ALICE.public, pins=(Pin("phone", 1),)),
        ContactCode(ALICE.public, pins=(Pin(PHONE, -1),)),
        ContactCode(ALICE.public, pins=(Pin(PHONE, 1), Pin(PHONE, 2))),
    ],
)
def test_a_code_that_cannot_be_read_is_not_written(code: ContactCode) -> None:
    with pytest.raises(InvalidInput):
        code.to_text()
    with pytest.raises(InvalidInput):
        code.to_qr_text()


def test_a_qr_code_pins_three_devices_at_most() -> None:
    pins = tuple(Pin(installation, 1) for installation in (LAPTOP, TABLET))
    ContactCode(ALICE.public, (), (OFFER,), pins).to_qr_text()
    fourth = Pin("ffffffff-ffff-4fff-bfff-ffffffffffff", 1)
    with pytest.raises(InvalidInput):
        ContactCode(ALICE.public, (), (OFFER,), (*pins, fourth)).to_qr_text()


def _qr(body: bytes) -> str:
    check = contact_qr._check(body)
    return contact_qr.PREFIX + base64.b32encode(body + check).decode().rstrip("=")


HEAD = b"\x01" + ALICE.public


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"\x02" + HEAD[1:] + bytes(3), Malformed),
        (HEAD + bytes(2), Malformed),
        (HEAD + bytes(4), Malformed),
        (HEAD + b"\x04" + bytes(200), Limit),
        (HEAD + b"\x00\x04" + bytes(200), Limit),
        (HEAD + b"\x00\x00\x02" + bytes(200), Limit),
        (HEAD + b"\x00\x01\x00\x00\x00", Malformed),
        (HEAD + b"\x02" + (bytes(16) + bytes(8)) * 2 + bytes(2), Malformed),
        (HEAD + b"\x01" + bytes(16) + b"\xff" * 8 + bytes(2), Malformed),
        (b"\x01\x02" + b"\xff" * 32 + bytes(3), Malformed),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_qr_body_follows_its_grammar(body: bytes, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        parse_contact_code(_qr(body))
