"""Each decoder of the Noise mechanisms: 100,000 random and mutated inputs give values or typed errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from zlib import crc32

import pytest
from kexkit.errors import Refusal, StoreCorrupt, StoreNewer
from kexkit_noise import healing_frames, offers, payload, qr, sessions, statement
from kexkit_noise._noise import Handshake, Pattern
from kexkit_noise.healing import HealingSession
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_noise.plain import PlainSession

from tests.noise.handshake_pairs import begin
from tests.noise.meeting import Meeting, mechanism, pair_of, static_of
from tests.noise.test_qr import CODE
from tests.noise.test_statement import ALICE, BOB, check, stated
from tests.spoiling import total

STORED = (StoreCorrupt, StoreNewer)
HEALING, PLAIN = "healing-noise-xk1/1", "noise-xk1/1"
Decoder = Callable[[bytes], object]


@cache
def wire(name: str) -> list[bytes]:
    """Three messages of a handshake, and what is sealed after it."""
    pair = pair_of(name)
    frames = [sent.frame for sent in Meeting(pair).all()]
    return [*frames, *(sent.frame for sent in pair.alice.seal(b"text", pair.bob.me))]


@cache
def snapshots(name: str) -> list[bytes]:
    """Of the one who called and of the one who answered, under way and after it."""
    pair = pair_of(name)
    meeting, found = Meeting(pair), []

    def look() -> None:
        found.extend(session.snapshot() for party in (pair.alice, pair.bob) for session in party.sessions.values())

    second = meeting.second(meeting.first())
    look()
    pair.deliver(meeting.third(second))
    look()
    pair.say(pair.alice, b"text")
    look()
    return found


@cache
def running(name: str) -> list[bytes]:
    """What is inside the snapshot of a session that seals."""
    pair = pair_of(name)
    Meeting(pair).all()
    found = [session for party in (pair.alice, pair.bob) for session in party.sessions.values()]
    return [one.inner.snapshot() for one in found if isinstance(one, sessions.Running)]


def resigned(raw: bytes) -> None:
    """Spoiled, then signed: what a person can state."""
    signature = BOB.identity.sign(statement.LABEL, raw[:98])
    check(raw[:98] + signature, static=raw[50:82], meant=None)


def crc(raw: bytes) -> bytes:
    return raw[:-4] + crc32(raw[:-4]).to_bytes(4, "big")


def restored(name: str) -> Decoder:
    """Spoiled, then summed up again; what is inside has a sum of its own, and a decoder below."""
    exchange = mechanism(name)
    return lambda raw: exchange.restore(crc(raw))


def handshakes() -> list[bytes]:
    return [begin(pattern, initiator=initiator).encode() for pattern in Pattern for initiator in (True, False)]


def owned() -> list[bytes]:
    pair = pair_of(HEALING)
    own = static_of(pair.bob)
    return [own.row(own.until).value]


def offered() -> list[bytes]:
    return [pair_of(HEALING).bob.issued[0].offer.public]


def stated_payloads() -> list[bytes]:
    return [MECHANISMS[HEALING].write_payload(bytes(32), stated().encoded)]


READ_OFFER = mechanism(HEALING).read_offer
DECODERS: dict[str, tuple[Decoder, Callable[[], list[bytes]], tuple[type[Exception], ...]]] = {
    "PayloadV2": (lambda raw: payload.decode(raw, *range(256)), lambda: wire(PLAIN), (Refusal,)),
    "frame of a healing session": (healing_frames.read, lambda: wire(HEALING)[3:], (Refusal,)),
    "padding": (payload.unpad, lambda: [payload.pad(b"text"), payload.pad(bytes(300))], (Refusal,)),
    "payload of a handshake": (
        lambda raw: MECHANISMS[HEALING].read_payload(raw, stated=True),
        stated_payloads,
        (Refusal,),
    ),
    "statement": (statement.parse, lambda: [stated().encoded], (Refusal,)),
    "statement, signed": (resigned, lambda: [stated().encoded], (Refusal,)),
    "QR": (lambda raw: qr.read(raw.decode("latin-1")), lambda: [CODE.text.encode()], (Refusal,)),
    "stored static": (lambda raw: offers.read_static(raw, ALICE.me), owned, STORED),
    "stored handshake": (Handshake.decode, handshakes, STORED),
    "stored healing session": (lambda raw: HealingSession.restore(crc(raw)), lambda: running(HEALING), STORED),
    "stored plain session": (lambda raw: PlainSession.restore(crc(raw)), lambda: running(PLAIN), STORED),
    "snapshot": (mechanism(HEALING).restore, lambda: snapshots(HEALING), STORED),
    "snapshot of healing, summed up": (restored(HEALING), lambda: snapshots(HEALING), STORED),
    "snapshot of plain, summed up": (restored(PLAIN), lambda: snapshots(PLAIN), STORED),
}


@pytest.mark.parametrize("name", DECODERS)
def test_any_bytes_give_a_value_or_a_typed_error(name: str) -> None:
    decoder, genuine, refusals = DECODERS[name]
    total(decoder, genuine(), refusals, seed=name)
