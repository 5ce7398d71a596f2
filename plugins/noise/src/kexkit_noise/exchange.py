"""The eight Noise mechanisms, in the form that kexkit asks for. See `handshakes` and `sessions` for what they do."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from kexkit.api import (
    Advert,
    Carriage,
    Context,
    Device,
    Guarantee,
    Have,
    Offer,
    Opening,
    Session,
    Step,
    Unpicklable,
    Wants,
)
from kexkit.errors import InvalidInput, KexkitError, NoOffer, Unknown

from kexkit_noise import answering, calling, offers, sessions, snapshots
from kexkit_noise.keys import KEY_BYTES
from kexkit_noise.mechanisms import MECHANISMS, Mechanism
from kexkit_noise.offers import OwnStatic

BY_DEFAULT: Final = ("healing-noise-xk1/1", "noise-xk1/1", "noise-xx/1")
"""Best first. K1K1 shows observers who begins, and XXpsk0 needs a secret: they must be asked for."""


@frozen
class NoiseExchange(Unpicklable):
    """`name` is one of `MECHANISMS`. Those with a psk take it here, or from `Opening.secret`: 32 random bytes, for
    with a password whoever records message 1 could try all others."""

    name: str
    psk: bytes | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.name not in MECHANISMS:
            raise InvalidInput(f"There is no Noise mechanism {self.name}; there are: {', '.join(MECHANISMS)}.")
        if self.psk is not None and (len(self.psk) != KEY_BYTES or not self.mechanism.wants_psk):
            raise InvalidInput("A psk has 32 bytes, and belongs to XXpsk0 alone.")

    @property
    def mechanism(self) -> Mechanism:
        return MECHANISMS[self.name]

    @property
    def carriage(self) -> Carriage:
        return Carriage.BARE

    @property
    def guarantees(self) -> Guarantee:
        return self.mechanism.guarantees

    # --- offers ---

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        try:
            return offers.offer(have, ctx=ctx)
        except KexkitError as problem:  # the traceback of the inside has keys among its locals, here and below
            raise problem.with_traceback(None) from None

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        return offers.read(public, maker=maker, ctx=ctx)

    # --- beginnings ---

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        try:
            return self._initiate(opening, have, ctx)
        except KexkitError as problem:
            raise problem.with_traceback(None) from None

    def _initiate(self, opening: Opening, have: Have, ctx: Context) -> Step | Wants:
        if opening.advert is None or opening.to is None:
            raise NoOffer("Without an offer of the peer's there is nowhere to send a handshake.")
        own = offers.present(have, ctx.me)
        if isinstance(own, Wants):
            return own
        if own is None:
            raise NoOffer("This installation has made no static key yet.", advice="Publish an offer first.")
        psk = self._psk(opening)
        if psk is None and self.mechanism.wants_psk:
            raise NoOffer("This handshake needs a secret that both sides have.")
        return calling.call(self.mechanism, opening, own, psk, ctx)

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        try:
            return self._accept(frame, opening, have, ctx)
        except KexkitError as problem:
            raise problem.with_traceback(None) from None

    def _accept(self, frame: bytes, opening: Opening, have: Have, ctx: Context) -> Step | Wants:
        answering.opened_first(self.mechanism, frame, opening)
        row = offers.static_row(opening.offered[:KEY_BYTES])
        if row not in have:
            return Wants(frozenset((row,)))
        own = self._static(have[row], ctx)
        psk = self._psk(opening)
        if psk is None and self.mechanism.wants_psk:
            raise Unknown("This handshake needs a secret that both sides have, and none is here.")
        return answering.answer(self.mechanism, frame, opening, own, psk, ctx)

    def _static(self, raw: bytes | None, ctx: Context) -> OwnStatic:
        own = None if raw is None else offers.read_static(raw, ctx.me)
        if own is None or own.until <= ctx.now:
            raise Unknown("A handshake answers an offer of a static key that is gone.")
        return own

    def _psk(self, opening: Opening) -> bytes | None:
        if not self.mechanism.wants_psk:
            return None
        secret = opening.secret if opening.secret is not None else self.psk
        if secret is not None and len(secret) != KEY_BYTES:
            raise InvalidInput("A psk has 32 bytes.")
        return secret

    # --- storage ---

    def restore(self, snapshot: bytes) -> Session:
        try:
            kind, parts = snapshots.read(snapshot, self.mechanism.protocol_id)
            if kind == snapshots.CALLING:
                return calling.restore(self.mechanism, parts)
            if kind == snapshots.ANSWERING:
                return answering.restore(self.mechanism, parts)
            return sessions.restore(self.mechanism, parts)
        except KexkitError as problem:
            del snapshot
            raise problem.with_traceback(None) from None
