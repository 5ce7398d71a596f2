"""The key exchange x3dh/1: X3DH and the Double Ratchet as status-go speaks them, in the form that kexkit asks for."""

from __future__ import annotations

from typing import ClassVar, Final

from attrs import frozen
from kexkit import secp256k1
from kexkit.api import (
    NOTHING,
    Advert,
    Carriage,
    Context,
    Device,
    Guarantee,
    Have,
    Offer,
    Opening,
    Plain,
    Row,
    Session,
    Step,
    Wants,
)
from kexkit.errors import Forged, KexkitError, Malformed, NoOffer, Replayed, StoreCorrupt, Unknown

from kexkit_x3dh import agreement, bundle, direct, frames, limits, parties, prekeys, session, snapshots, state
from kexkit_x3dh.bundle import BundlePolicy
from kexkit_x3dh.frames import DirectFrame, RatchetFrame
from kexkit_x3dh.limits import PRODUCTION, Limits

NAME: Final = "x3dh/1"
_NS_IN_MS: Final = 1_000_000


@frozen
class X3DH:
    """Randomness is drawn in this order: `offer`, when a new prekey is due: its 32 bytes; `initiate`: the 32 bytes of
    the ephemeral key; `accept`: none. See `session` for what follows."""

    name: ClassVar[str] = NAME
    carriage: ClassVar[Carriage] = Carriage.SLOT
    guarantees: ClassVar[Guarantee] = session.GROWN

    bounds: Limits = PRODUCTION
    policy: BundlePolicy = BundlePolicy.STRICT

    # --- offers ---

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        try:
            return prekeys.offer(have, siblings=siblings, ctx=ctx)
        except KexkitError as error:  # the traceback of the inside has keys among its locals, here and below
            raise error.with_traceback(None) from None

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        """One advert for each installation listed, in order of their ids."""
        read = bundle.read(public, maker=maker.identity, now=ctx.now, policy=self.policy)
        expires = read.timestamp // _NS_IN_MS + limits.ADVERT_MS
        return tuple(
            Advert(
                device=Device(maker.identity, installation),
                public=prekey.public,
                epoch=prekey.version,
                issued=read.timestamp,
                expires=expires,
                traits=frozenset({prekeys.NEGOTIATED_TOPIC} if prekey.protocol_version >= 1 else ()),
            )
            for installation, prekey in read.prekeys.items()
        )

    # --- beginnings ---

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if opening.advert is not None:
            try:
                return self._begin(opening.advert, ctx)
            except KexkitError as error:
                raise error.with_traceback(None) from None
        if opening.peer is None:
            raise NoOffer("Nothing is known of whom to begin with.")
        return Step(direct.begin(ctx.me, opening.peer))

    def _begin(self, advert: Advert, ctx: Context) -> Step:
        if advert.expires <= ctx.now:
            raise NoOffer("The peer's prekey has expired.", advice="Wait for a newer bundle.")
        peer, prekey = advert.device, advert.public
        agreement.installation_bytes(peer.installation)
        secp256k1.check_public(prekey)
        ephemeral = secp256k1.generate_secret(ctx.rng)
        secret = agreement.initiator_secret(ctx.identity, ephemeral, peer=peer.identity, prekey=prekey)
        who = parties.began(ctx.me, peer, prekey=prekey, ephemeral=secp256k1.public_of(ephemeral))
        return Step(session.begin(who, secret, self.bounds))

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        try:
            return self._accept(frame, opening, have, ctx)
        except KexkitError as error:
            raise error.with_traceback(None) from None

    def _accept(self, frame: bytes, opening: Opening, have: Have, ctx: Context) -> Step | Wants:
        read = frames.read(frame)
        if isinstance(read, DirectFrame):
            return Step(None, plain=(Plain(direct.open_frame(read, ctx.identity), direct.GRADE),))
        if not read.ephemeral:
            raise Unknown("A frame belongs to a session that is not here.")
        if opening.peer is None:
            raise Malformed("A session's first message names no sender.")
        return self._answer(read, opening.peer, have, ctx)

    def _answer(self, frame: RatchetFrame, peer: Device, have: Have, ctx: Context) -> Step | Wants:
        """A first message: the secret is made anew from the prekey, and forgotten as the ratchet turns."""
        who = parties.answered(ctx.me, peer, prekey=frame.prekey, ephemeral=frame.ephemeral)
        own, seen = prekeys.prekey_row(frame.prekey), prekeys.opening_row(peer.identity, frame.ephemeral, frame.prekey)
        if own not in have or seen not in have:
            return Wants(frozenset((own, seen)))
        if have[seen] is not None:
            if have[seen] != frame.ephemeral[:1]:
                raise Forged("An opening comes again with the negative of its ephemeral key.")
            raise Replayed("An opening comes again.")
        stored = have[own]
        prekey = None if stored is None else prekeys.read_prekey(stored)
        if prekey is None or prekey.until <= ctx.now:
            raise Unknown("A session is begun with a prekey that is not here: of another device, or expired.")
        secret = agreement.responder_secret(ctx.identity, prekey.secret, peer=peer.identity, ephemeral=frame.ephemeral)
        step = session.answer(who, secret, prekey.secret, self.bounds).take(frame, NOTHING, ctx.now)
        assert isinstance(step, Step)  # a session without skipped keys wants none
        remembered = {seen: Row(frame.ephemeral[:1], prekey.until)}
        return Step(step.session, plain=step.plain, keep={**step.keep, **remembered})

    # --- storage ---

    def restore(self, snapshot: bytes) -> Session:
        try:
            return self._restore(*snapshots.read(snapshot))
        except KexkitError as error:
            del snapshot
            raise error.with_traceback(None) from None

    def _restore(self, kind: int, content: bytes) -> Session:
        if kind == snapshots.DIRECT:
            return direct.restore(content)
        who, changing = parties.unpack(content)
        heard, root, sending, receiving = state.unpack(changing)
        if not (who.ours or heard):
            raise StoreCorrupt("A stored session contradicts itself.")
        return session.RatchetSession(who, self.bounds, heard, root, sending, receiving)
