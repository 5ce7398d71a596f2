"""Signed offers: what one installation of a person supports, in order of preference (negotiation 1.2).

    body  = 01 || identity 33 || installation 16 || seq u64 || not_before u64 s || not_after u64 s
         || n u8, n * ( lp8(name) || lp16(public) ) || k u8, k * ( installation 16 || seq u64 )
         || e u8, e * ( type u16 || lp16(value) )
    D     = T("kexkit/offer/1", body)        signed offer = body || signature 64 over D

Integers are big-endian. Every value has one encoding, and nothing follows the signature. What is stored, pinned and
compared is the caller's business; received bytes are kept and forwarded as they came.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from uuid import UUID

from attrs import field, frozen

from kexkit import limits, secp256k1
from kexkit.api import Identity
from kexkit.errors import (
    Forged,
    InvalidInput,
    Malformed,
    OfferExpired,
    OfferForeign,
    OfferMalformed,
    OfferNotYetValid,
    OfferSignature,
    OfferTooLarge,
    OfferUnsupported,
)
from kexkit.identity import tagged_digest

_LABEL: Final = b"kexkit/offer/1"
_FORMAT: Final = 1
_SIGNATURE: Final = 64
_CRITICAL: Final = 0x8000
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}(@[a-z0-9.-]{3,60})?/[1-9][0-9]{0,2}", re.ASCII)


@frozen
class Entry:
    """A mechanism that the installation supports. No public bytes: its keys are published elsewhere."""

    name: str
    public: bytes = b""


@frozen
class Sibling:
    """'My other device has published at least this.'"""

    installation: str
    seq: int


@frozen
class Extension:
    type: int
    value: bytes


@frozen
class OfferBody:
    identity: bytes
    installation: str
    """a version 4 UUID in lower case"""
    seq: int
    not_before: int
    """seconds"""
    not_after: int
    """seconds"""
    entries: tuple[Entry, ...]
    """best first; none: the installation is withdrawn"""
    siblings: tuple[Sibling, ...] = ()
    extensions: tuple[Extension, ...] = ()


@frozen
class SignedOffer:
    body: OfferBody
    digest: bytes
    """D: it names the offer, whatever its signature"""
    received: bytes = field(repr=False)
    """as it came, or as we made it"""


def is_mechanism_name(name: str) -> bool:
    return len(name) <= limits.MECHANISM_NAME_BYTES and _NAME.fullmatch(name) is not None


def digest(body: bytes) -> bytes:
    return tagged_digest(_LABEL, body)


@lru_cache(maxsize=64)  # our own few, asked for with every message
def offer_digest(signed: bytes) -> bytes:
    """D of a signed offer that is known to be one."""
    return digest(signed[:-_SIGNATURE])


def bare_digest(identity: bytes, installation: str) -> bytes:
    """What stands for the offer of an installation that never made one."""
    return tagged_digest(b"kexkit/bare/1", identity + _lp8(_encoded(installation)))


def opening_bind(name: str, offer_digest: bytes) -> bytes:
    """What both ends of a session bind: the mechanism and the responder's offer."""
    return tagged_digest(b"kexkit/opening/1", _lp8(_encoded(name)) + offer_digest)


def hello_tag(name: str, offer_digest: bytes) -> bytes:
    """The tag of a frame that opens a session over `name` to the maker of this offer, where frames travel alone
    (docs/protocols/noise-openings.md: the label is the one of Noise's first message)."""
    return tagged_digest(b"kexkit/noise hello/1", _lp8(_encoded(name)) + offer_digest)[: limits.BARE_TAG_BYTES]


# --- writing ---------------------------------------------------------------------------------------------------------


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("A name is not valid Unicode.") from None


def _lp8(data: bytes) -> bytes:
    if len(data) > 0xFF:
        raise InvalidInput("A name has more than 255 bytes.")
    return bytes((len(data),)) + data


def _lp16(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise InvalidInput("A value has more than 65535 bytes.")
    return len(data).to_bytes(2, "big") + data


def _uuid_bytes(installation: str) -> bytes:
    try:
        uuid = UUID(installation)
    except ValueError:
        raise InvalidInput("An offer's installation is not a UUID.") from None
    if uuid.version != 4 or str(uuid) != installation:
        raise InvalidInput("An offer's installation is not a version 4 UUID in lower case.")
    return uuid.bytes


def encode(body: OfferBody) -> bytes:
    """The body's one encoding; InvalidInput if readers would refuse it."""
    try:
        raw = b"".join(
            (
                bytes((_FORMAT,)),
                body.identity,
                _uuid_bytes(body.installation),
                *(number.to_bytes(8, "big") for number in (body.seq, body.not_before, body.not_after)),
                bytes((len(body.entries),)),
                *(_lp8(_encoded(entry.name)) + _lp16(entry.public) for entry in body.entries),
                bytes((len(body.siblings),)),
                *(_uuid_bytes(sibling.installation) + sibling.seq.to_bytes(8, "big") for sibling in body.siblings),
                bytes((len(body.extensions),)),
                *(extension.type.to_bytes(2, "big") + _lp16(extension.value) for extension in body.extensions),
            )
        )
        if len(raw) + _SIGNATURE > limits.OFFER_BYTES:
            raise InvalidInput(f"An offer has at most {limits.OFFER_BYTES} bytes.")
        if _Reader(raw).body() != body:
            raise InvalidInput("An offer is not in canonical form.")
    except (OverflowError, ValueError):
        raise InvalidInput("A number in an offer is out of range.") from None
    except Malformed as refusal:
        raise InvalidInput(str(refusal)) from None
    return raw


def sign(body: OfferBody, identity: Identity) -> SignedOffer:
    if body.identity != identity.public:
        raise InvalidInput("An offer is signed by the identity that it names.")
    raw = encode(body)
    return SignedOffer(body, digest(raw), raw + identity.sign(_LABEL, raw))


# --- reading ---------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads a body front to back; every departure from the grammar is OfferMalformed."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._raw):
            raise OfferMalformed("An offer is too short.")
        taken = self._raw[self._at : end]
        self._at = end
        return taken

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _seq(self) -> int:
        seq = self._number(8)
        if seq > limits.OFFER_SEQUENCE_MAX:
            raise OfferMalformed("An offer's sequence number is out of range.")
        return seq

    def _count(self, most: int) -> int:
        count = self._number(1)
        if count > most:
            raise OfferMalformed("An offer lists more than is allowed.")
        return count

    def _installation(self) -> str:
        uuid = UUID(bytes=self._take(16))
        if uuid.version != 4:
            raise OfferMalformed("An offer's installation is not a version 4 UUID.")
        return str(uuid)

    def _entry(self) -> Entry:
        raw = self._take(self._number(1))
        name = raw.decode("ascii", "replace")
        if not is_mechanism_name(name):
            raise OfferMalformed("An offer names a mechanism against the rules for names.")
        return Entry(name, self._take(self._number(2)))

    def body(self) -> OfferBody:
        if self._number(1) != _FORMAT:
            raise OfferUnsupported("An offer has a format that is not known here.")
        identity = self._take(33)
        if identity[0] not in (2, 3):
            raise OfferMalformed("An offer's identity is not a compressed key.")
        body = OfferBody(
            identity=identity,
            installation=self._installation(),
            seq=self._seq(),
            not_before=self._number(8),
            not_after=self._number(8),
            entries=tuple(self._entry() for _ in range(self._count(limits.OFFER_ENTRIES))),
            siblings=tuple(
                Sibling(self._installation(), self._seq()) for _ in range(self._count(limits.OFFER_SIBLINGS))
            ),
            extensions=tuple(
                Extension(self._number(2), self._take(self._number(2)))
                for _ in range(self._count(limits.OFFER_EXTENSIONS))
            ),
        )
        if self._at != len(self._raw):
            raise OfferMalformed("Something follows an offer's body.")
        _check_relations(body)
        return body


def _check_relations(body: OfferBody) -> None:
    """What the grammar demands of fields together."""
    names = [entry.name for entry in body.entries]
    if len(set(names)) != len(names):
        raise OfferMalformed("An offer names a mechanism twice.")
    siblings = [sibling.installation for sibling in body.siblings]
    if siblings != sorted(set(siblings)) or body.installation in siblings:
        raise OfferMalformed("An offer's siblings are not other installations in ascending order.")
    types = [extension.type for extension in body.extensions]
    if types != sorted(set(types)):
        raise OfferMalformed("An offer's extensions are not in ascending order.")
    if not 0 < body.not_after - body.not_before <= limits.OFFER_LIFETIME_S:
        raise OfferMalformed("An offer's lifetime is not between one second and 30 days.")


def read(raw: bytes, *, expected_identity: bytes) -> SignedOffer:
    """Everything that is cheap and does not depend on the time; the signature is **not** checked yet. `check_signature`
    does, after what only the caller can compare (the highest sequence number seen, a token bucket)."""
    offer = read_any(raw, expected_identity=expected_identity)
    if is_critical(offer.body):
        raise OfferUnsupported("An offer has a critical extension that is not known here.")
    return offer


def is_critical(body: OfferBody) -> bool:
    """It says something without which it must not be used, and which nobody here knows."""
    return any(extension.type & _CRITICAL for extension in body.extensions)


def read_any(raw: bytes, *, expected_identity: bytes) -> SignedOffer:
    """`read`, of one that may be critical: unusable, but evidence that its maker makes offers."""
    if len(raw) > limits.OFFER_BYTES:
        raise OfferTooLarge(f"An offer has more than {limits.OFFER_BYTES} bytes.")
    if len(raw) <= _SIGNATURE:
        raise OfferMalformed("An offer is too short.")
    body = _Reader(raw[:-_SIGNATURE]).body()
    if body.identity != expected_identity:
        raise OfferForeign
    return SignedOffer(body, digest(raw[:-_SIGNATURE]), raw)


def check_window(not_before: int, not_after: int, now_ms: int) -> None:
    """Whether a session may begin with it now, by its dates in seconds. As evidence of what was offered they do not
    count: an offer that is over, or from a clock that is ahead of ours, begins nothing, but it exists."""
    if not_before * 1000 > now_ms + limits.OFFER_AHEAD_S * 1000:
        raise OfferNotYetValid
    if not_after * 1000 <= now_ms:
        raise OfferExpired


def check_signature(offer: SignedOffer) -> None:
    try:
        secp256k1.verify(offer.received[-_SIGNATURE:], offer.digest, offer.body.identity)
    except Forged:
        raise OfferSignature from None
    except Malformed:
        raise OfferMalformed("An offer's identity is not on the curve.") from None


def parse(raw: bytes, *, expected_identity: bytes, now_ms: int) -> SignedOffer:
    """A verified offer that is good now, or a typed refusal."""
    offer = read(raw, expected_identity=expected_identity)
    check_window(offer.body.not_before, offer.body.not_after, now_ms)
    check_signature(offer)
    return offer
