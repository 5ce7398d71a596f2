"""Contact codes: how two people who know nothing of each other begin.

Three forms are read: Status's contact code (base64 of a bundle as JSON, with our offers in an extra key), kexkit's QR
form, and a bare public key (hexadecimal, or Status's `zQ3sh…`). A code proves nothing by itself: offers and bundles in
it are signed, and are checked where they are used. What it does say for certain is *which* identity was meant.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final

from attrs import field, frozen
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from kexkit import limits, secp256k1
from kexkit._pb.status import bundle_pb2 as pb
from kexkit._wire import contact_qr
from kexkit._wire.contact_qr import COPY_AGAIN, Pin
from kexkit.errors import InvalidInput, Limit, Malformed

_OFFERS_KEY: Final = "kexkit_offers"
_PINS_KEY: Final = "kexkit_pins"  # installation to sequence number, as text like protobuf's 64-bit numbers
_HEX_KEY: Final = re.compile(r"(?:0x)?(04[0-9a-f]{128}|0[23][0-9a-f]{64})", re.ASCII | re.IGNORECASE)
_SEQ: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MULTIBASE_PREFIX: Final = "zQ3sh"
_MULTICODEC: Final = b"\xe7\x01"  # secp256k1-pub, as a varint
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

__all__ = ["ContactCode", "Pin", "parse_contact_code"]


@frozen
class ContactCode:
    """Whom to talk to, and what is known of their devices."""

    identity: bytes
    """33 bytes"""
    bundles: tuple[bytes, ...] = field(default=(), repr=False)
    """at most one, as protobuf bytes"""
    offers: tuple[bytes, ...] = field(default=(), repr=False)
    """signed offers, as received"""
    pins: tuple[Pin, ...] = ()
    """lower bounds of what devices have offered, for those whose offer is not in the code"""

    def to_text(self) -> str:
        """Status's form, readable by its clients, which skip what is ours in it."""
        document: dict[str, Any] = json_format.MessageToDict(_status_bundle(self))
        if self.offers:
            document[_OFFERS_KEY] = [base64.b64encode(offer).decode() for offer in self.offers]
        if self.pins:
            document[_PINS_KEY] = {pin.installation: str(pin.seq) for pin in self.pins}
        text = base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()
        if len(text) > limits.CONTACT_CODE_CHARACTERS:
            raise InvalidInput(f"A contact code has at most {limits.CONTACT_CODE_CHARACTERS} characters.")
        return text

    def to_qr_text(self) -> str:
        """Capitals and digits, as QR codes pack best. Offers and the bundle are left out when they do not fit; the
        pins, which forbid to take the person for one without offers, never are."""
        _status_bundle(self)
        return contact_qr.encode(self.identity, self.pins, self.offers, self.bundles)


def _status_bundle(code: ContactCode) -> pb.Bundle:
    try:
        secp256k1.check_public(code.identity)
    except Malformed as refusal:
        raise InvalidInput(str(refusal)) from None
    if len(code.bundles) > limits.CONTACT_CODE_BUNDLES or len(code.offers) > limits.OFFERS:
        raise InvalidInput(f"A contact code has at most one bundle and {limits.OFFERS} offers.")
    if any(not offer or len(offer) > limits.OFFER_BYTES for offer in code.offers):
        raise InvalidInput(f"An offer has 1 to {limits.OFFER_BYTES} bytes.")
    if len(code.pins) > limits.OFFERS or not all(map(contact_qr.is_pin, code.pins)):
        raise InvalidInput(f"A contact code pins at most {limits.OFFERS} devices, by UUID in lower case.")
    if len({pin.installation for pin in code.pins}) != len(code.pins):
        raise InvalidInput("A contact code pins a device once.")
    if not code.bundles:
        return pb.Bundle(identity=code.identity)
    try:
        bundle = pb.Bundle.FromString(code.bundles[0])
    except DecodeError:
        raise InvalidInput("The bundle does not parse.") from None
    if bundle.identity != code.identity:
        raise InvalidInput("The bundle is of another identity.")
    return bundle


def parse_contact_code(text: str) -> ContactCode:
    """Any of the three forms. Raises Malformed or Limit."""
    if len(text) > limits.CONTACT_CODE_CHARACTERS:
        raise Limit(f"A contact code has more than {limits.CONTACT_CODE_CHARACTERS} characters.")
    text = "".join(text.split())  # copied text comes wrapped and indented
    key = _HEX_KEY.fullmatch(text)
    if key is not None:
        return ContactCode(_checked_identity(bytes.fromhex(key[1])))
    if text.startswith(_MULTIBASE_PREFIX):
        return ContactCode(_multibase_identity(text))
    if text[: len(contact_qr.PREFIX)].upper() == contact_qr.PREFIX:
        parts = contact_qr.parse(text)
        return ContactCode(_checked_identity(parts.identity), parts.bundles, parts.offers, parts.pins)
    return _parse_status_form(text)


def _checked_identity(key: bytes) -> bytes:
    """A valid key of 33 or 65 bytes, as 33."""
    if len(key) == 65:
        return secp256k1.compressed(key)
    secp256k1.check_public(key)
    return key


def _multibase_identity(text: str) -> bytes:
    """z (base 58) of the multicodec number of secp256k1 keys and the compressed key: always 49 characters."""
    number = 0
    for character in text[1:50]:
        digit = _BASE58.find(character)
        if digit < 0:
            raise Malformed("A contact code has a character that base 58 has not.")
        number = number * 58 + digit
    if len(text) != 49:
        raise Malformed("A contact code in base 58 has the wrong length.", advice=COPY_AGAIN)
    raw = number.to_bytes(35, "big")  # 48 digits that begin with our prefix are always below 2**280
    if not raw.startswith(_MULTICODEC):
        raise Malformed("A contact code in base 58 is of another kind of key.")
    return _checked_identity(raw[len(_MULTICODEC) :])


def _parse_status_form(text: str) -> ContactCode:
    document = _json_object(_from_base64(text))
    offers = _listed_offers(document.pop(_OFFERS_KEY, []))
    pins = _listed_pins(document.pop(_PINS_KEY, {}))
    try:
        bundle = json_format.ParseDict(document, pb.Bundle(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, ArithmeticError, RecursionError):
        raise Malformed("A contact code does not hold a bundle.") from None
    secp256k1.check_public(bundle.identity)
    bundles: tuple[bytes, ...] = ()
    if bundle.signed_pre_keys or bundle.signature:
        # Signatures cover fields, not bytes, so a bundle made from the fields is as good as the one that was encoded.
        bundles = (bundle.SerializeToString(deterministic=True),)
    return ContactCode(bundle.identity, bundles, offers, pins)


def _listed_offers(listed: Any) -> tuple[bytes, ...]:
    if not isinstance(listed, list) or not all(isinstance(offer, str) and offer for offer in listed):
        raise Malformed("A contact code's offers are not a list of non-empty texts.")
    if len(listed) > limits.OFFERS:
        raise Limit(f"A contact code has more than {limits.OFFERS} offers.")
    offers = tuple(map(_from_base64, listed))
    if any(len(offer) > limits.OFFER_BYTES for offer in offers):
        raise Limit(f"An offer has more than {limits.OFFER_BYTES} bytes.")
    return offers


def _listed_pins(listed: Any) -> tuple[Pin, ...]:
    if not isinstance(listed, dict) or not all(isinstance(seq, str) and _SEQ.fullmatch(seq) for seq in listed.values()):
        raise Malformed("A contact code's pins are not numbers by installation.")
    if len(listed) > limits.OFFERS:
        raise Limit(f"A contact code pins more than {limits.OFFERS} devices.")
    pins = tuple(Pin(installation, int(seq)) for installation, seq in listed.items())
    if not all(map(contact_qr.is_pin, pins)):
        raise Malformed("A contact code's pin names no UUID in lower case or has a number out of range.")
    return pins


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("This is no contact code, nor a public key.", advice=COPY_AGAIN) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Programs differ in which of two equal keys they take, so there must not be two."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError
    return document


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unique)
        json.dumps(document, ensure_ascii=False).encode()  # escapes may spell half a character: protobuf crashes on it
    except (ValueError, RecursionError):
        raise Malformed("This is no contact code, or not a whole one.", advice=COPY_AGAIN) from None
    if not isinstance(document, dict):
        raise Malformed("A contact code does not hold a JSON object.")
    return document
