"""Any bytes give a value or one of our refusals: 100,000 random and mutated inputs, the same in every run."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from kexkit._wire import application, chat_message, confirms, mvds, offers, payload26, protocol_message, waku
from kexkit._wire.protocol_message import Frame, ProtocolMessage
from kexkit.api import Envelope
from kexkit.contact import parse_contact_code
from kexkit.errors import (
    Forged,
    Limit,
    Malformed,
    OfferExpired,
    OfferForeign,
    OfferNotYetValid,
    OfferUnsupported,
    Unsupported,
)

from tests.wire import confirmations
from tests.wire.samples import ALICE, BOB, NOW_MS, offer_body, seeded
from tests.wire.test_contact import FULL

KEY = bytes(range(32))
REFUSALS = (Malformed, Limit, Forged)
OFFER_REFUSALS = (*REFUSALS, OfferForeign, OfferExpired, OfferNotYetValid, OfferUnsupported)

MESSAGE = protocol_message.encode(
    ProtocolMessage(
        "phone", (b"bundle",), {"laptop": b"slot", "none": b""}, b"public", (b"offer",), (Frame("a", "b/1", b"c"),)
    )
)
WRAPPED = application.wrap(b"payload", 1, ALICE)
TEXT = chat_message.encode(chat_message.ChatText(NOW_MS, NOW_MS, "hello", "0x04", display_name="Alice"))
ENVELOPE = waku.encode(
    Envelope("/waku/1/0x00000000/rfc26", b"payload", 1, NOW_MS * 10**6, ephemeral=True), meta=b"meta"
)
FRAME = payload26.encode_frame(b"data", b"padding", sign=ALICE)
SYMMETRIC = payload26.seal_symmetric(b"data", KEY, sign=ALICE, rng=seeded(1))
ASYMMETRIC = payload26.seal_asymmetric(b"data", BOB.public, sign=ALICE, rng=seeded(1))
OFFER = offers.sign(offer_body(), ALICE).received
DOCUMENT = base64.b64decode(FULL.to_text())


def _validated(raw: bytes) -> None:
    chat_message.validate(chat_message.parse(raw), now_ms=NOW_MS)


def _resealed(raw: bytes) -> None:
    """Spoiled inside, genuine outside: what a holder of the key can send."""
    payload26.open_symmetric(payload26.seal_frame_symmetric(raw, KEY, bytes(12)), KEY)


def _resigned(raw: bytes) -> None:
    """Spoiled, then signed: what the maker of an offer can publish. Read as whoever it names."""
    signed = raw[:-64] + ALICE.sign(b"kexkit/offer/1", raw[:-64])
    offers.parse(signed, expected_identity=raw[1:34], now_ms=NOW_MS)


def _unwrapped(raw: bytes) -> None:
    """As a receiver does: what is no payload must be a bare message."""
    found = mvds.unwrap(raw)
    for body in (raw,) if found is None else found.bodies:
        application.unwrap(body)
    if found is not None and found.confirm is not None:
        if confirms.kind_of(found.confirm) == confirms.CONFIRM:
            confirms.read_confirm(found.confirm)
        else:
            confirms.read_verdict(found.confirm)


def _as_text(raw: bytes) -> None:
    parse_contact_code(raw.decode("utf-8", "surrogateescape") if len(raw) % 2 else raw.decode("latin-1"))


def _as_json(raw: bytes) -> None:
    parse_contact_code(base64.b64encode(raw).decode())


# name -> decoder, genuine input, refusals, how many inputs
DECODERS: dict[str, tuple[Callable[[bytes], object], bytes, tuple[type[Exception], ...], int]] = {
    "protocol_message": (protocol_message.parse, MESSAGE, REFUSALS, 20_000),
    "application": (application.unwrap, WRAPPED, REFUSALS, 12_000),
    "chat_message": (_validated, TEXT, (*REFUSALS, Unsupported), 12_000),
    "waku": (waku.parse, ENVELOPE, REFUSALS, 12_000),
    "frame": (payload26.decode_frame, FRAME, REFUSALS, 8_000),
    "frame under its key": (_resealed, FRAME, REFUSALS, 4_000),
    "symmetric": (lambda raw: payload26.open_symmetric(raw, KEY), SYMMETRIC, REFUSALS, 4_000),
    "asymmetric": (lambda raw: payload26.open_asymmetric(raw, BOB), ASYMMETRIC, REFUSALS, 4_000),
    "offer": (
        lambda raw: offers.read(raw, expected_identity=ALICE.public),
        OFFER,
        OFFER_REFUSALS,
        10_000,
    ),
    "offer, signed": (_resigned, OFFER, OFFER_REFUSALS, 4_000),
    "data sync": (_unwrapped, confirmations.WRAPPED, OFFER_REFUSALS, 10_000),
    "confirmation": (confirms.read_confirm, confirmations.CONFIRM, OFFER_REFUSALS, 10_000),
    "verdict": (confirms.read_verdict, confirmations.VERDICT, REFUSALS, 10_000),
    "contact JSON": (_as_json, DOCUMENT, REFUSALS, 6_000),
    "contact QR": (_as_text, FULL.to_qr_text().encode(), REFUSALS, 4_000),
}


def mutated(genuine: bytes, rng: random.Random) -> bytes:
    raw = bytearray(genuine)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(6):
            case 0 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(raw):
                raw[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del raw[at : at + rng.randrange(1, 20)]
            case 3:
                raw[at:at] = rng.randbytes(rng.randrange(1, 12))
            case 4:
                raw[at:at] = raw[rng.randrange(len(raw) + 1) :][: rng.randrange(1, 60)]
            case _:
                del raw[at:]
    return bytes(raw)


def _attempt(decoder: Callable[[bytes], object], raw: bytes, refusals: tuple[type[Exception], ...]) -> bool:
    try:
        decoder(raw)
    except refusals:
        return False
    except Exception as escaped:
        pytest.fail(f"{type(escaped).__name__} escaped on {raw.hex()}")
    return True


@pytest.mark.parametrize("name", DECODERS)
def test_any_bytes_give_a_value_or_a_refusal(name: str) -> None:
    decoder, genuine, refusals, count = DECODERS[name]
    rng = random.Random(name)
    assert _attempt(decoder, genuine, refusals)
    refused = 0
    for number in range(count):
        raw = rng.randbytes(rng.randrange(300)) if number % 4 == 0 else mutated(genuine, rng)
        refused += not _attempt(decoder, raw, refusals)
    assert refused > count // 10


def test_a_hundred_thousand_inputs_were_tried() -> None:
    assert sum(count for *_, count in DECODERS.values()) >= 100_000


def _json_value(rng: random.Random, depth: int = 0) -> Any:
    choice = rng.randrange(8 if depth < 3 else 6)
    if choice == 6:
        return [_json_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if choice == 7:
        return {rng.choice(("identity", "version", "", "\udcff")): _json_value(rng, depth + 1) for _ in range(2)}
    return rng.choice((None, True, -1, 2**64, 1e308, float("inf"), "", "AAAA", "\ud800", "9" * 30, 10**400))


def test_any_json_gives_a_contact_or_a_refusal() -> None:
    rng = random.Random(7)
    genuine = json.loads(DOCUMENT)
    for _ in range(4000):
        document = json.loads(json.dumps(genuine))
        place = rng.choice((document, document["signedPreKeys"], document["signedPreKeys"]["phone"]))
        place[rng.choice((*place, "timestamp", "signature", "new"))] = _json_value(rng)
        text = base64.b64encode(json.dumps(document).encode()).decode()
        _attempt(lambda raw: parse_contact_code(raw.decode()), text.encode(), REFUSALS)
