"""The compact form of a contact code, for QR codes.

    text = "KEXKIT:" base32( body || first 4 bytes of T("kexkit/contact/1", body) )     without padding
    body = 01 || identity 33
        || p u8, p * ( installation 16 || seq u64 )      pins: each of these devices has offered at least this
        || o u8, o * lp16(signed offer) || b u8, b * lp16(bundle)

The check bytes find slips of the hand; they prove nothing.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from uuid import UUID

from attrs import frozen

from kexkit import limits
from kexkit.errors import InvalidInput, Limit, Malformed
from kexkit.identity import tagged_digest

COPY_AGAIN: Final = "Copy it again, from its first character to its last."
PREFIX: Final = "KEXKIT:"
_FORMAT: Final = 1
_CHECK: Final = 4
_OFFER_PIN_AT: Final = 34  # where an offer's installation and sequence number stand, 24 bytes
_PIN: Final = 24


@frozen
class Pin:
    """A device has made an offer with at least this sequence number; it is not to be taken for one without."""

    installation: str
    seq: int


@frozen
class Parts:
    identity: bytes
    pins: tuple[Pin, ...]
    offers: tuple[bytes, ...]
    bundles: tuple[bytes, ...]


def is_pin(pin: Pin) -> bool:
    try:
        return str(UUID(pin.installation)) == pin.installation and 0 <= pin.seq <= limits.OFFER_SEQUENCE_MAX
    except ValueError:
        return False


def _pin_bytes(pin: Pin) -> bytes:
    if not is_pin(pin):
        raise InvalidInput("A pin names no UUID in lower case or has a number out of range.")
    return UUID(pin.installation).bytes + pin.seq.to_bytes(8, "big")


def _pins_with_offers(pins: tuple[Pin, ...], offers: tuple[bytes, ...]) -> list[bytes]:
    """One pin a device, ascending: the highest that is known, from the offers themselves too."""
    highest: dict[bytes, bytes] = {}
    for raw in (*map(_pin_bytes, pins), *(offer[_OFFER_PIN_AT : _OFFER_PIN_AT + _PIN] for offer in offers)):
        if len(raw) != _PIN or raw[16] & 0x80:
            raise InvalidInput("An offer is too short or has a sequence number out of range.")
        highest[raw[:16]] = max(highest.get(raw[:16], b""), raw[16:])
    if len(highest) > limits.OFFERS:
        raise InvalidInput(f"A contact code pins at most {limits.OFFERS} devices.")
    return [installation + seq for installation, seq in sorted(highest.items())]


def _listed(items: list[bytes]) -> bytes:
    return bytes((len(items),)) + b"".join(len(item).to_bytes(2, "big") + item for item in items)


def encode(identity: bytes, pins: tuple[Pin, ...], offers: tuple[bytes, ...], bundles: tuple[bytes, ...]) -> str:
    """Pins always; then the offers, then the bundle, each if it still fits."""
    pinned = _pins_with_offers(pins, offers)
    head = b"".join((bytes((_FORMAT,)), identity, bytes((len(pinned),)), *pinned))
    room = limits.QR_BYTES - len(head) - 2 - _CHECK
    kept: tuple[list[bytes], list[bytes]] = ([], [])
    for chosen, candidates in zip(kept, (offers, bundles), strict=True):
        for candidate in candidates:
            if len(candidate) + 2 <= room:
                room -= len(candidate) + 2
                chosen.append(candidate)
    body = head + _listed(kept[0]) + _listed(kept[1])
    return PREFIX + base64.b32encode(body + _check(body)).decode().rstrip("=")


def _check(body: bytes) -> bytes:
    return tagged_digest(b"kexkit/contact/1", body)[:_CHECK]


def parse(text: str) -> Parts:
    """Text that starts with the prefix, in either case."""
    letters = text[len(PREFIX) :].upper()
    if len(letters) > -(-limits.QR_BYTES * 8 // 5):
        raise Limit(f"A QR contact code has more than {limits.QR_BYTES} bytes.")
    try:
        raw = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        raise Malformed("This is no QR contact code, or not a whole one.", advice=COPY_AGAIN) from None
    if base64.b32encode(raw).decode().rstrip("=") != letters:
        raise Malformed("A QR contact code is not in canonical base32.", advice=COPY_AGAIN)
    body, check = raw[:-_CHECK], raw[-_CHECK:]
    if _check(body) != check:
        raise Malformed("A QR contact code is incomplete or mistyped.", advice=COPY_AGAIN)
    return _Reader(body).parts()


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._raw):
            raise Malformed("A QR contact code is too short.")
        taken = self._raw[self._at : end]
        self._at = end
        return taken

    def _count(self, most: int) -> int:
        count = self._take(1)[0]
        if count > most:
            raise Limit("A QR contact code lists more than is allowed.")
        return count

    def _pin(self) -> Pin:
        installation = str(UUID(bytes=self._take(16)))
        seq = int.from_bytes(self._take(8), "big")
        if seq > limits.OFFER_SEQUENCE_MAX:
            raise Malformed("A QR contact code has a sequence number out of range.")
        return Pin(installation, seq)

    def _item(self) -> bytes:
        item = self._take(int.from_bytes(self._take(2), "big"))
        if not item:
            raise Malformed("A QR contact code has an empty part.")
        return item

    def parts(self) -> Parts:
        if self._take(1)[0] != _FORMAT:
            raise Malformed("A QR contact code has a format that is not known here. Upgrade kexkit.")
        identity = self._take(33)
        pins = tuple(self._pin() for _ in range(self._count(limits.OFFERS)))
        installations = [pin.installation for pin in pins]
        if installations != sorted(set(installations)):
            raise Malformed("A QR contact code's pins are not in ascending order.")
        offers = tuple(self._item() for _ in range(self._count(limits.OFFERS)))
        bundles = tuple(self._item() for _ in range(self._count(limits.CONTACT_CODE_BUNDLES)))
        if self._at != len(self._raw):
            raise Malformed("Something follows a QR contact code.")
        return Parts(identity, pins, offers, bundles)
