"""The mechanism: two devices that hold one secret get sessions without a round trip."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from attrs import evolve, field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kexkit.api import (
    Advert,
    Carriage,
    Context,
    Device,
    Forged,
    Have,
    Limit,
    Malformed,
    NoOffer,
    Offer,
    Opening,
    Replayed,
    Row,
    Session,
    Step,
    Unpicklable,
    Wants,
)

from kexkit_psk.limits import CLOCK_AHEAD, INSTALLATION_BYTES, OFFER_LIFE, OFFER_RENEWAL, OPENING_LIFE
from kexkit_psk.session import GIVES, HEADER, STAMP, TAG, PskSession, restored

NAME: Final = "psk@example.org/1"
ISSUED: Final = b"issued"
SEEN: Final = b"seen"


def framed(*fields: bytes) -> bytes:
    """Each field after its length, so that no two lists of fields give the same bytes."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in fields)


def name_of(device: Device) -> bytes:
    return framed(device.identity, device.installation.encode())


@frozen
class Psk(Unpicklable):
    """It holds configuration only: everything that changes is a row of its drawer or a session."""

    secret: bytes = field(repr=False)

    name = NAME
    carriage = Carriage.FRAME
    guarantees = GIVES

    # offer = when it was made 8 | commitment to the secret 32

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        if ISSUED not in have:
            return Wants(frozenset({ISSUED}))
        issued = int.from_bytes(have[ISSUED] or b"", "big")
        if ctx.now >= issued + OFFER_RENEWAL:
            issued = ctx.now
        when = issued.to_bytes(8, "big")
        public = when + self._commitment(when, ctx.me)
        return Offer(public, keep={ISSUED: Row(when)}, renew=issued + OFFER_RENEWAL)

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        if len(public) != 40:
            raise Malformed
        if not hmac.compare_digest(public[8:], self._commitment(public[:8], maker)):
            raise Forged("The other side holds another pre-shared secret.")
        issued = int.from_bytes(public[:8], "big")
        return (Advert(maker, public, epoch=0, issued=issued, expires=issued + OFFER_LIFE),)

    def _commitment(self, when: bytes, maker: Device) -> bytes:
        return hmac.digest(self.secret, framed(b"kexkit-psk offer", when, name_of(maker)), "sha256")

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step:
        if opening.peer is None or opening.advert is None:
            raise NoOffer
        stamp = ctx.now.to_bytes(8, "big") + ctx.rng(16)
        return Step(self._session(stamp, opening, opening.peer, ctx, we_began=True))

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if opening.peer is None or len(frame) < HEADER + TAG:
            raise Malformed
        began = int.from_bytes(frame[:8], "big")
        if not ctx.now - OPENING_LIFE < began <= ctx.now + CLOCK_AHEAD:
            raise Replayed("A session that began too long ago, or in the future.")
        session = self._session(frame[:STAMP], opening, opening.peer, ctx, we_began=False)
        seen = SEEN + session.id
        if seen not in have:
            return Wants(frozenset({seen}))
        if have[seen] is not None:
            raise Replayed
        step = session.receive(frame, have, ctx=ctx)
        return evolve(step, keep={seen: Row(b"", until=began + OPENING_LIFE)})

    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        if len(peer.installation.encode()) > INSTALLATION_BYTES:
            raise Limit
        first, second = (ctx.me, peer) if we_began else (peer, ctx.me)
        context = framed(NAME.encode(), stamp, opening.bind, name_of(first), name_of(second))
        # Whoever else holds the secret is still not one of these two: their identities' agreement goes in as well.
        material = framed(self.secret, ctx.identity.agree(peer.identity))
        keys = HKDF(SHA256(), 64, salt=None, info=context).derive(material)
        send_key, open_key = (keys[:32], keys[32:]) if we_began else (keys[32:], keys[:32])
        return PskSession(sha256(context).digest(), stamp, send_key, open_key, peer)

    def restore(self, snapshot: bytes) -> Session:
        return restored(snapshot)
