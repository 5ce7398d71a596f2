"""Confirmations: who began a session tells inside it what was seen and chosen, and the other side judges (negotiation
1.6).

    confirm = 01 01 || sid 32 || identity_I 33 || lp8(installation_I) || identity_R 33 || lp8(installation_R)
           || D_R 32 || lp8(name) || mask u16 || previous 32, or zeros || lp16(signed offer of I)
           || v u8, v * ( installation of R 16 || seq u64 )
    N       = T("kexkit/confirm/1", confirm)
    verdict = 01 02 || sid 32 || N 32 || ruling u8 || seq u64 || D_R now 32 || c u8, c * lp16(signed offer)

Integers are big-endian, every value has one encoding, and nothing follows. Offers are carried as they came. Only the
grammar is judged here: whether sessions, people and choices agree is the reader's business.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final
from uuid import UUID

from attrs import field, frozen

from kexkit import limits
from kexkit._wire import offers
from kexkit.errors import InvalidInput, Limit, Malformed, Refusal
from kexkit.identity import tagged_digest

CONFIRM: Final = 1
VERDICT: Final = 2

_LABEL: Final = b"kexkit/confirm/1"
_FORMAT: Final = 1
_DIGEST: Final = 32
_IDENTITY: Final = 33
_NONE: Final = bytes(_DIGEST)


class Ruling(IntEnum):
    """What the responder says to what was chosen."""

    ACCEPTED = 0
    STALE = 1
    """our offers have changed, and with them the choice"""
    NOT_BEST = 2
    POLICY = 3
    YOUR_OFFER = 4
    """it does not verify, or is not good now"""
    ROLLBACK = 5
    """a later offer of yours is known here"""


@frozen
class View:
    """'Of this device of yours I have seen at least this.'"""

    installation: str
    """a version 4 UUID in lower case"""
    seq: int


@frozen
class Confirm:
    session: bytes
    initiator: bytes
    initiator_installation: str
    """that of the offer"""
    responder: bytes
    responder_installation: str
    """any text: a device without an offer may be called anything"""
    offer_digest: bytes
    """of the responder's offer that was chosen from, or what stands for none"""
    mechanism: str
    mask: int
    """bit i: entry i of the offer below was to be chosen from"""
    offer: bytes = field(repr=False)
    """the initiator's, signed"""
    views: tuple[View, ...] = ()
    """of the responder's devices, ascending"""
    previous: bytes | None = None
    """the session that this one replaces; never zeros"""


@frozen
class Verdict:
    session: bytes
    record: bytes
    """N of the confirmation that is answered"""
    ruling: Ruling
    seq: int
    """of the responder's offer now"""
    offer_digest: bytes
    offers: tuple[bytes, ...] = field(default=(), repr=False)
    """signed, those newer than what the initiator has seen"""


def record_digest(confirm: bytes) -> bytes:
    """N: both sides of an open session hold the same."""
    return tagged_digest(_LABEL, confirm)


def kind_of(raw: bytes) -> int:
    """CONFIRM or VERDICT."""
    if len(raw) < 2 or raw[0] != _FORMAT or raw[1] not in (CONFIRM, VERDICT):
        raise Malformed("A confirmation is of no known kind.")
    return raw[1]


# --- writing ---------------------------------------------------------------------------------------------------------


def encode_confirm(confirm: Confirm) -> bytes:
    """Its one encoding; InvalidInput if readers would refuse it."""
    try:
        raw = b"".join(
            (
                bytes((_FORMAT, CONFIRM)),
                confirm.session,
                confirm.initiator,
                _sized(1, confirm.initiator_installation.encode()),
                confirm.responder,
                _sized(1, confirm.responder_installation.encode()),
                confirm.offer_digest,
                _sized(1, confirm.mechanism.encode()),
                confirm.mask.to_bytes(2, "big"),
                _NONE if confirm.previous is None else confirm.previous,
                _sized(2, confirm.offer),
                bytes((len(confirm.views),)),
                *(UUID(view.installation).bytes + view.seq.to_bytes(8, "big") for view in confirm.views),
            )
        )
        if read_confirm(raw) != confirm:
            raise InvalidInput("A confirmation is not in canonical form.")
    except (OverflowError, ValueError):
        raise InvalidInput("A number or a text in a confirmation is out of range.") from None
    except Refusal as refusal:
        raise InvalidInput(str(refusal)) from None
    return raw


def encode_verdict(verdict: Verdict) -> bytes:
    """Its one encoding; InvalidInput if readers would refuse it."""
    try:
        raw = b"".join(
            (
                bytes((_FORMAT, VERDICT)),
                verdict.session,
                verdict.record,
                bytes((verdict.ruling,)),
                verdict.seq.to_bytes(8, "big"),
                verdict.offer_digest,
                bytes((len(verdict.offers),)),
                *(_sized(2, offer) for offer in verdict.offers),
            )
        )
        if read_verdict(raw) != verdict:
            raise InvalidInput("A verdict is not in canonical form.")
    except (OverflowError, ValueError):
        raise InvalidInput("A number in a verdict is out of range.") from None
    except Refusal as refusal:
        raise InvalidInput(str(refusal)) from None
    return raw


def _sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


# --- reading ---------------------------------------------------------------------------------------------------------


class _Reader:
    """Front to back; every departure from the grammar is Malformed."""

    def __init__(self, raw: bytes, kind: int) -> None:
        if len(raw) > limits.CONFIRM_BYTES:
            raise Limit(f"A confirmation has more than {limits.CONFIRM_BYTES} bytes.")
        if kind_of(raw) != kind:
            raise Malformed("A confirmation is of the other kind.")
        self._raw = raw
        self._at = 2

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._raw):
            raise Malformed("A confirmation is too short.")
        taken = self._raw[self._at : end]
        self._at = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def count(self, most: int) -> int:
        count = self.number(1)
        if count > most:
            raise Limit(f"A confirmation lists more than {most}.")
        return count

    def seq(self) -> int:
        seq = self.number(8)
        if seq > limits.OFFER_SEQUENCE_MAX:
            raise Malformed("A sequence number in a confirmation is out of range.")
        return seq

    def identity(self) -> bytes:
        identity = self.take(_IDENTITY)
        if identity[0] not in (2, 3):
            raise Malformed("An identity in a confirmation is not a compressed key.")
        return identity

    def installation(self) -> str:
        raw = self.take(self.number(1))
        if len(raw) > limits.INSTALLATION_BYTES:
            raise Limit(f"An installation id has more than {limits.INSTALLATION_BYTES} bytes.")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Malformed("An installation id in a confirmation is not valid UTF-8.") from None

    def mechanism(self) -> str:
        name = self.take(self.number(1)).decode("ascii", "replace")
        if not offers.is_mechanism_name(name):
            raise Malformed("A confirmation names a mechanism against the rules for names.")
        return name

    def offer(self) -> bytes:
        size = self.number(2)
        if not 0 < size <= limits.OFFER_BYTES:
            raise Limit(f"An offer in a confirmation does not have 1 to {limits.OFFER_BYTES} bytes.")
        return self.take(size)

    def view(self) -> View:
        uuid = UUID(bytes=self.take(16))
        if uuid.version != 4:
            raise Malformed("A device in a confirmation is not a version 4 UUID.")
        return View(str(uuid), self.seq())

    def finish(self) -> None:
        if self._at != len(self._raw):
            raise Malformed("Something follows a confirmation.")


def read_confirm(raw: bytes) -> Confirm:
    """Grammar only: the offer inside is **not** verified, and nothing is compared with the session."""
    reader = _Reader(raw, CONFIRM)
    session = reader.take(_DIGEST)
    initiator, initiator_installation = reader.identity(), reader.installation()
    responder, responder_installation = reader.identity(), reader.installation()
    offer_digest = reader.take(_DIGEST)
    mechanism = reader.mechanism()
    mask = reader.number(2)
    previous = reader.take(_DIGEST)
    offer = reader.offer()
    views = tuple(reader.view() for _ in range(reader.count(limits.CONFIRM_VIEWS)))
    reader.finish()
    devices = [view.installation for view in views]
    if devices != sorted(set(devices)):
        raise Malformed("A confirmation's devices are not in ascending order.")
    body = offers.read(offer, expected_identity=initiator).body
    if body.installation != initiator_installation:
        raise Malformed("A confirmation bears the offer of another device.")
    if mask >> len(body.entries):
        raise Malformed("A confirmation's mask goes beyond its offer.")
    return Confirm(
        session=session,
        initiator=initiator,
        initiator_installation=initiator_installation,
        responder=responder,
        responder_installation=responder_installation,
        offer_digest=offer_digest,
        mechanism=mechanism,
        mask=mask,
        offer=offer,
        views=views,
        previous=None if previous == _NONE else previous,
    )


def read_verdict(raw: bytes) -> Verdict:
    """Grammar only: each offer inside is to be read and verified like any other."""
    reader = _Reader(raw, VERDICT)
    session, record = reader.take(_DIGEST), reader.take(_DIGEST)
    try:
        ruling = Ruling(reader.number(1))
    except ValueError:
        raise Malformed("A verdict is none that is known.") from None
    verdict = Verdict(
        session=session,
        record=record,
        ruling=ruling,
        seq=reader.seq(),
        offer_digest=reader.take(_DIGEST),
        offers=tuple(reader.offer() for _ in range(reader.count(limits.VERDICT_OFFERS))),
    )
    reader.finish()
    return verdict
