"""The signed statement that ties a Noise static to a person's identity and one installation of theirs.

    body      = 01 || identity 33 || installation 16 || static 32 || not_before u64 s || not_after u64 s        98 bytes
    statement = body || SIG(identity, T("kexkit/noise-static/1", body))                                        162 bytes

It says something *about* a key and proves nothing of who holds it: that, the handshake does. Neither alone opens a
session. Integers are big-endian; every statement has one encoding.
"""

from __future__ import annotations

from functools import lru_cache
from hmac import compare_digest
from struct import Struct
from typing import Final
from uuid import UUID

from attrs import frozen
from kexkit import secp256k1
from kexkit.api import Context, Device
from kexkit.errors import Forged, InvalidInput, Malformed, OfferExpired, OfferForeign, OfferNotYetValid, Replayed
from kexkit.identity import tagged_digest

from kexkit_noise import limits

LABEL: Final = b"kexkit/noise-static/1"
FORMAT: Final = 1
_BODY: Final = Struct(">B33s16s32sQQ")
_BODY_BYTES: Final = _BODY.size
STATEMENT_BYTES: Final = _BODY_BYTES + 64


@frozen
class Statement:
    """Parsed, not necessarily verified: `check` does that."""

    device: Device
    static: bytes
    not_before: int
    """seconds"""
    not_after: int
    """seconds"""
    signature: bytes

    @property
    def body(self) -> bytes:
        identity, installation = self.device.identity, installation_bytes(self.device.installation)
        return _BODY.pack(FORMAT, identity, installation, self.static, self.not_before, self.not_after)

    @property
    def encoded(self) -> bytes:
        return self.body + self.signature


@lru_cache(maxsize=1024)  # asked with every snapshot
def installation_bytes(installation: str) -> bytes:
    """The 16 bytes of an installation's id, or InvalidInput: statements know version 4 UUIDs in lower case alone."""
    try:
        uuid = UUID(installation)
    except ValueError:
        raise InvalidInput("An installation's id is not a UUID, so no statement can name it.") from None
    if uuid.version != 4 or str(uuid) != installation:
        raise InvalidInput("An installation's id is not a version 4 UUID in lower case, so no statement can name it.")
    return uuid.bytes


def make(static: bytes, *, not_before: int, not_after: int, ctx: Context) -> Statement:
    """Ours, about a static of ours."""
    unsigned = Statement(ctx.me, static, not_before, not_after, b"")
    signature = ctx.identity.sign(LABEL, unsigned.body)
    return Statement(ctx.me, static, not_before, not_after, signature)


def parse(raw: bytes) -> Statement:
    """Length and grammar."""
    if len(raw) != STATEMENT_BYTES:
        raise Malformed(f"A statement has {STATEMENT_BYTES} bytes.")
    form, identity, installation, static, not_before, not_after = _BODY.unpack_from(raw)
    if form != FORMAT:
        raise Malformed("A statement has a format that is not known here.")
    if identity[0] not in (2, 3):
        raise Malformed("A statement's identity is not a compressed key.")
    uuid = UUID(bytes=installation)
    if uuid.version != 4:
        raise Malformed("A statement's installation is not a version 4 UUID.")
    if not 0 < not_after - not_before <= limits.STATEMENT_LIFETIME_S:
        raise Malformed("A statement's lifetime is not between one second and 400 days.")
    return Statement(Device(identity, str(uuid)), static, not_before, not_after, raw[_BODY_BYTES:])


def check(raw: bytes, *, static: bytes, own_static: bytes, meant: Device | None, ctx: Context) -> Statement:
    """Everything that can be said of a statement without a store, cheapest first.

    `static` is the key that the handshake used, `own_static` ours in it, `meant` the device that an initiator wants.
    """
    stated = parse(raw)
    if not compare_digest(stated.static, static):
        raise Forged("A statement is about another static key than the handshake's.")
    if compare_digest(static, own_static) or stated.device == ctx.me:
        raise Forged("A statement is about ourselves: something of ours was sent back to us.")
    if meant is not None and stated.device != meant:
        raise OfferForeign("A statement is of another device than the one that was meant.")
    verify(stated, ctx.now)
    return stated


def verify(stated: Statement, now: int) -> None:
    """Its window at `now` (milliseconds), then its signature."""
    if stated.not_before * 1000 > now + limits.STATEMENT_AHEAD_S * 1000:
        raise OfferNotYetValid("A statement about a static key begins in the future.")
    if stated.not_after * 1000 <= now:
        raise OfferExpired("A statement about a static key has expired.")
    try:
        secp256k1.verify(stated.signature, tagged_digest(LABEL, stated.body), stated.device.identity)
    except Forged:
        raise Forged("The signature of a statement about a static key does not verify.") from None


# --- pins: the last static that an installation was seen to use -------------------------------------------------------

_PIN: Final = Struct(">B32sQ")


def pin_row(device: Device) -> bytes:
    return b"pin/" + device.identity + installation_bytes(device.installation)


def pin_value(stated: Statement) -> bytes:
    return _PIN.pack(FORMAT, stated.static, stated.not_before)


def check_pin(stated: Statement, stored: bytes | None) -> None:
    """A static other than the last needs a statement that is not older than the last: else whoever stole a key that
    was replaced could go on speaking with it for as long as its statement lives."""
    if stored is None or len(stored) != _PIN.size or stored[0] != FORMAT:
        return
    _, static, not_before = _PIN.unpack(stored)
    if stated.static != static and stated.not_before < not_before:
        raise Replayed("A static key is used that its owner has replaced.")
