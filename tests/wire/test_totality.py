"""Any bytes give a value or one of our refusals: 100,000 random and mutated inputs for each decoder."""

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

from tests.spoiling import attempt, total
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


# name -> decoder, genuine input, refusals
DECODERS: dict[str, tuple[Callable[[bytes], object], bytes, tuple[type[Exception], ...]]] = {
    "protocol_message": (protocol_message.parse, MESSAGE, REFUSALS),
    "application": (application.unwrap, WRAPPED, REFUSALS),
    "chat_message": (_validated, TEXT, (*REFUSALS, Unsupported)),
    "waku": (waku.parse, ENVELOPE, REFUSALS),
    "frame": (payload26.decode_frame, FRAME, REFUSALS),
    "frame under its key": (_resealed, FRAME, REFUSALS),
    "symmetric": (lambda raw: payload26.open_symmetric(raw, KEY), SYMMETRIC, REFUSALS),
    "asymmetric": (lambda raw: payload26.open_asymmetric(raw, BOB), ASYMMETRIC, REFUSALS),
    "offer": (
        lambda raw: offers.read(raw, expected_identity=ALICE.public),
        OFFER,
        OFFER_REFUSALS,
    ),
    "offer, signed": (_resigned, OFFER, OFFER_REFUSALS),
    "data sync": (_unwrapped, confirmations.WRAPPED, OFFER_REFUSALS),
    "confirmation": (confirms.read_confirm, confirmations.CONFIRM, OFFER_REFUSALS),
    "verdict": (confirms.read_verdict, confirmations.VERDICT, REFUSALS),
    "contact JSON": (_as_json, DOCUMENT, REFUSALS),
    "contact QR": (_as_text, FULL.to_qr_text().encode(), REFUSALS),
}


@pytest.mark.parametrize("name", DECODERS)
def test_any_bytes_give_a_value_or_a_refusal(name: str) -> None:
    decoder, genuine, refusals = DECODERS[name]
    total(decoder, [genuine], refusals, seed=name)


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
        attempt(lambda raw: parse_contact_code(raw.decode()), text.encode(), REFUSALS)
