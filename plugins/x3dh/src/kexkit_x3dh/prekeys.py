"""Our own prekeys: made daily, kept a week longer, and the bundle that publishes the present one.

Rows of the drawer: one says which prekey is published and how; one for each prekey holds its private part until it is
to be forgotten; one for each opening that was accepted keeps it from being accepted again, and its value is the sign
of the ephemeral key that came.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

from attrs import evolve, field, frozen
from kexkit import secp256k1
from kexkit.api import Advert, Context, Have, Offer, Row, Unpicklable, Wants
from kexkit.errors import InvalidInput, Refusal, StoreCorrupt

from kexkit_x3dh import bundle, limits
from kexkit_x3dh.bundle import PublishedPrekey
from kexkit_x3dh.frames import KEY_BYTES

PUBLISHED_ROW: Final = b"published"
NEGOTIATED_TOPIC: Final = "negotiated-topic"
"""the trait of a device whose bundle says protocol version 1: it hears the topic of spec 54 that two people share"""
PROTOCOL_VERSION: Final = 1
_FORMAT: Final = 1
_PUBLISHED: Final = Struct(">BQ33s")
_PREKEY: Final = Struct(">BIQ32s")
_NS_IN_MS: Final = 1_000_000
_TIMESTAMP_MIN_MS: Final = 10**12


def prekey_row(public: bytes) -> bytes:
    return b"prekey" + public


def opening_row(initiator: bytes, ephemeral: bytes, prekey: bytes) -> bytes:
    """By x coordinates, and not by installation: one opening is one, whatever its envelope says besides."""
    return b"opening" + initiator + ephemeral[1:] + prekey[1:]


@frozen
class Prekey(Unpicklable):
    """One of ours, with its private part."""

    version: int
    until: int
    """milliseconds; it opens nothing from then on"""
    secret: bytes = field(repr=False)

    def row(self) -> Row:
        return Row(_PREKEY.pack(_FORMAT, self.version, self.until, self.secret), self.until)


def read_prekey(raw: bytes) -> Prekey:
    if len(raw) == _PREKEY.size and raw[0] == _FORMAT:
        _, version, until, secret = _PREKEY.unpack(raw)
        if secp256k1.is_secret(secret):
            return Prekey(version, until, secret)
    raise StoreCorrupt("A stored prekey is damaged.")


@frozen
class Published:
    """What we publish at present."""

    made: int
    """milliseconds: when the prekey was made"""
    prekey: bytes
    bundle: bytes

    def row(self) -> Row:
        return Row(_PUBLISHED.pack(_FORMAT, self.made, self.prekey) + self.bundle)

    def is_fresh(self, now: int) -> bool:
        """A prekey from the future was made under a wrong clock: everybody else's clock would refuse it."""
        return self.made - limits.AHEAD_MS <= now < self.made + limits.PREKEY_MS


def _read_published(raw: bytes) -> Published:
    if len(raw) <= _PUBLISHED.size or raw[0] != _FORMAT:
        raise StoreCorrupt("The stored bundle is damaged.")
    _, made, prekey = _PUBLISHED.unpack_from(raw)
    return Published(made, prekey, raw[_PUBLISHED.size :])


def offer(have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
    """The present bundle as it is, or signed anew when our siblings changed, or with a new prekey every day.

    A new prekey draws 32 bytes; nothing else draws any.
    """
    if not bundle.is_installation(ctx.me.installation):
        raise InvalidInput("This installation's id is not a UUID in lower case, so no bundle can list it.")
    if ctx.now < _TIMESTAMP_MIN_MS:
        raise InvalidInput("The clock stands before September 2001.", advice="Set the clock: others refuse the bundle.")
    if PUBLISHED_ROW not in have:
        return Wants(frozenset((PUBLISHED_ROW,)))
    stored = have[PUBLISHED_ROW]
    if stored is None:
        return _offer_new(None, None, siblings, ctx)
    published = _read_published(stored)
    row = prekey_row(published.prekey)
    if row not in have:
        return Wants(frozenset((row,)))
    secret = have[row]
    prekey = None if secret is None else read_prekey(secret)
    if prekey is None or not published.is_fresh(ctx.now):
        return _offer_new(published, prekey, siblings, ctx)
    return _offer_again(published, prekey, siblings, ctx)


def _offer_new(before: Published | None, old: Prekey | None, siblings: tuple[Advert, ...], ctx: Context) -> Offer:
    version = 1
    if before:
        listed = _listed(before).prekeys.get(ctx.me.installation)
        version = listed.version + 1 if listed else 1
    secret = secp256k1.generate_secret(ctx.rng)
    public = secp256k1.public_of(secret)
    prekey = Prekey(version, ctx.now + limits.PREKEY_END_MS, secret)
    keep = {prekey_row(public): prekey.row()}
    if before and old:
        until = min(old.until, ctx.now + limits.PREKEY_GRACE_MS)
        if until > ctx.now:
            keep[prekey_row(before.prekey)] = evolve(old, until=until).row()
    prekeys = _prekeys(public, version, siblings, ctx)
    made = bundle.make(ctx.identity, prekeys, ctx.now * _NS_IN_MS)
    return _offer(Published(ctx.now, public, made), keep)


def _offer_again(published: Published, prekey: Prekey, siblings: tuple[Advert, ...], ctx: Context) -> Offer:
    listed = _listed(published)
    prekeys = _prekeys(published.prekey, prekey.version, siblings, ctx)
    if listed.prekeys != prekeys:
        timestamp = max(ctx.now * _NS_IN_MS, listed.timestamp + 1)  # it grows even when the clock does not
        made = bundle.make(ctx.identity, prekeys, timestamp)
        published = Published(published.made, published.prekey, made)
    return _offer(published, {})


def _offer(published: Published, keep: Mapping[bytes, Row]) -> Offer:
    rows = {PUBLISHED_ROW: published.row(), **keep}
    return Offer(published.bundle, rows, published.made + limits.PREKEY_MS)


def _listed(published: Published) -> bundle.Bundle:
    """Our own bundle, as it was published."""
    try:
        return bundle.parse(published.bundle)
    except Refusal:
        raise StoreCorrupt("The stored bundle is damaged.") from None


def _prekeys(public: bytes, version: int, siblings: tuple[Advert, ...], ctx: Context) -> dict[str, PublishedPrekey]:
    """Ours, and those of the siblings that published last."""
    usable = [
        sibling
        for sibling in siblings
        if sibling.expires > ctx.now
        and sibling.device.installation != ctx.me.installation
        and bundle.is_installation(sibling.device.installation)
        and len(sibling.public) == KEY_BYTES
        and sibling.epoch <= limits.VERSION_MAX
    ]
    usable.sort(key=lambda sibling: (-sibling.issued, sibling.device.installation))
    prekeys = {
        sibling.device.installation: PublishedPrekey(
            sibling.public, sibling.epoch, PROTOCOL_VERSION if NEGOTIATED_TOPIC in sibling.traits else 0
        )
        for sibling in usable[: limits.SIBLINGS]
    }
    prekeys[ctx.me.installation] = PublishedPrekey(public, version, PROTOCOL_VERSION)
    return prekeys
