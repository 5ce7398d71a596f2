"""Our statics, and what a signed offer says of one.

    public, in an offer  = static 32 || not_before u64 s || not_after u64 s || SIG 64                          112 bytes

Identity and installation are the offer's, so together they are a statement. Each mechanism has a drawer of its own and
so a static of its own. At most two live: the present one, and the one before until no offer can name it any more.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct, error
from typing import Final

from attrs import evolve, field, frozen
from kexkit.api import Advert, Context, Device, Have, Offer, Row, Unpicklable, Wants
from kexkit.errors import Forged, InvalidInput, Malformed, OfferMalformed, OfferSignature, StoreCorrupt

from kexkit_noise import limits, statement
from kexkit_noise.keys import KeyPair, agree, key_pair
from kexkit_noise.statement import Statement

_FORMAT: Final = 1
_PUBLIC: Final = Struct(">32sQQ64s")
PUBLIC_BYTES: Final = _PUBLIC.size
PRESENT_ROW: Final = b"static"
_PRESENT: Final = Struct(">B32sQ")
"""which it is, and when the latest began that we ever stated, in seconds"""
_STATIC: Final = Struct(">BQ32sQQ64s")
_ANY_PRIVATE: Final = b"\x42" * 32
"""Agreeing with it tells points of low order from others; nothing is protected by it."""


@frozen
class OwnStatic(Unpicklable):
    """A static of ours, with the statement about it."""

    pair: KeyPair = field(repr=False)
    stated: Statement
    until: int
    """milliseconds: when its row goes"""
    latest: int = 0
    """seconds: when another of ours began, if that was later. Whoever has seen that one takes none that began before"""

    @property
    def public(self) -> bytes:
        """What an offer says of it."""
        stated = self.stated
        return _PUBLIC.pack(self.pair.public, stated.not_before, stated.not_after, stated.signature)

    def row(self, until: int) -> Row:
        stated = self.stated
        raw = _STATIC.pack(_FORMAT, until, self.pair.private, stated.not_before, stated.not_after, stated.signature)
        return Row(raw, until)

    def is_fresh(self, now: int) -> bool:
        """One from the future was made under a wrong clock: everybody else's clock would refuse it. Or it is ours that
        is wrong now; once it comes to that time, there must be one that begins later."""
        made = self.stated.not_before * 1000
        return made - limits.STATEMENT_AHEAD_S * 1000 <= now < self.renew

    @property
    def renew(self) -> int:
        made = self.stated.not_before
        end = made * 1000 + limits.STATIC_MS
        return min(end, (self.latest + 1) * 1000) if self.latest > made else end


def static_row(static: bytes) -> bytes:
    return b"static/" + static


def read_static(raw: bytes, me: Device) -> OwnStatic:
    try:
        form, until, private, not_before, not_after, signature = _STATIC.unpack(raw)
    except error:
        raise StoreCorrupt("A stored static key is damaged.") from None
    if form != _FORMAT:
        raise StoreCorrupt("A stored static key is of no known format.")
    pair = key_pair(private)
    return OwnStatic(pair, Statement(me, pair.public, not_before, not_after, signature), until)


def present(have: Have, me: Device) -> OwnStatic | Wants | None:
    """The static that we publish; None: there is none yet."""
    if PRESENT_ROW not in have:
        return Wants(frozenset((PRESENT_ROW,)))
    stored = have[PRESENT_ROW]
    if stored is None:
        return None
    if len(stored) != _PRESENT.size or stored[0] != _FORMAT:
        raise StoreCorrupt("What is stored of our static key is damaged.")
    _, public, latest = _PRESENT.unpack(stored)
    row = static_row(public)
    if row not in have:
        return Wants(frozenset((row,)))
    raw = have[row]
    return None if raw is None else evolve(read_static(raw, me), latest=latest)


def offer(have: Have, *, ctx: Context) -> Offer | Wants:
    """The present static again, or a new one every half year. A new one draws 32 bytes; nothing else draws any."""
    statement.installation_bytes(ctx.me.installation)
    before = present(have, ctx.me)
    if isinstance(before, Wants):
        return before
    if before is not None and before.is_fresh(ctx.now):
        return _offer(before, {})
    now_s = ctx.now // 1000
    if now_s <= 0:
        raise InvalidInput("The clock stands before 1970.", advice="Set the clock: others refuse the statement.")
    until = ctx.now + limits.STATIC_MS + limits.STATIC_GRACE_MS
    pair = key_pair(ctx.rng(32))
    stated = statement.make(pair.public, not_before=now_s, not_after=until // 1000, ctx=ctx)
    latest = max(now_s, before.latest, before.stated.not_before) if before is not None else now_s
    made = OwnStatic(pair, stated, until, latest)
    keep = {PRESENT_ROW: Row(_PRESENT.pack(_FORMAT, pair.public, latest)), static_row(pair.public): made.row(until)}
    if before is not None:
        end = min(before.until, ctx.now + limits.STATIC_GRACE_MS)
        if end > ctx.now:
            keep[static_row(before.pair.public)] = before.row(end)
    return _offer(made, keep)


def _offer(own: OwnStatic, keep: dict[bytes, Row]) -> Offer:
    return Offer(own.public, keep, own.renew)


def read(public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
    """Verified, or a Refusal. A newer static outdates the sessions of older ones, hence the epoch."""
    stated = stated_in(public, maker)
    try:
        agree(_ANY_PRIVATE, stated.static)
    except Malformed:
        raise OfferMalformed("An offer's static key is of low order.") from None
    try:
        statement.verify(stated, ctx.now)
    except Malformed as refusal:
        raise OfferMalformed(str(refusal)) from None
    except Forged as refusal:
        raise OfferSignature(str(refusal)) from None
    began = stated.not_before
    shown = frozenset({"static:" + sha256(stated.static).hexdigest()[:32]})
    return (Advert(maker, public, epoch=began, issued=began, expires=stated.not_after * 1000, traits=shown),)


def stated_in(public: bytes, maker: Device) -> Statement:
    """The statement in what `maker` offers: length and grammar."""
    if len(public) != PUBLIC_BYTES:
        raise OfferMalformed(f"An offer of a Noise mechanism has {PUBLIC_BYTES} bytes.")
    static, not_before, not_after, signature = _PUBLIC.unpack(public)
    stated = Statement(maker, static, not_before, not_after, signature)
    try:
        return statement.parse(stated.encoded)
    except (InvalidInput, Malformed, error) as refusal:
        raise OfferMalformed(f"An offer makes no statement: {refusal}") from None
