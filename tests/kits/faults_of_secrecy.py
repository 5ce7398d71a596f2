"""Faults in who can open what, in what a thief gets, in what is shown, and in time."""

from __future__ import annotations

from attrs import evolve, frozen
from kexkit.api import (
    Advert,
    Ask,
    Context,
    Cue,
    Device,
    Due,
    Guarantee,
    Have,
    Offer,
    Opening,
    Plain,
    Step,
    Wants,
)
from kexkit_psk.exchange import Psk
from kexkit_psk.session import GIVES, STAMP, PskSession

from tests.kits.faults import FAULTS, FORWARD, HEALING, ONCE, PICKLE, REPR, STRANGER, TALK, TRACE, fault, psk_of
from tests.kits.toy_ladder import LadderSession, Silent
from tests.kits.toy_ratchet import FULL, Ratchet, RatchetSession, kdf

# --- who and what for ------------------------------------------------------------------------------------------------


@fault(STRANGER)
class leaves_the_identities_out(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        return super()._session(stamp, opening, peer, evolve(ctx, identity=_NoIdentity()), we_began=we_began)


class _NoIdentity:
    public = bytes(33)

    def agree(self, public: bytes) -> bytes:
        return bytes(32)


@fault(STRANGER)
class checks_no_signature(Silent):
    def named(self, body: bytes) -> Device | None:
        return Device(body[:33], body[33:69].decode())


@fault("test_only_the_peer_can_open_what_is_sealed_to_them")
class meets_whoever_answers(Silent):
    def named(self, body: bytes) -> Device | None:
        return self.who if self.began else super().named(body)


@fault("test_the_peers_other_device_opens_nothing")
class leaves_the_devices_out(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        no_names = evolve(ctx, me=evolve(ctx.me, installation=""))
        session = super()._session(stamp, opening, evolve(peer, installation=""), no_names, we_began=we_began)
        return evolve(session, peer=peer)


@fault("test_a_stranger_who_sees_everything_opens_nothing")
class sends_the_text_in_clear(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        step = super().seal(plaintext, ctx=ctx)
        return evolve(step, frames=(step.frames[0] + plaintext + len(plaintext).to_bytes(4, "big"),))

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        if frame[:STAMP] != self.stamp:
            return super().receive(frame, have, ctx=ctx)
        size = int.from_bytes(frame[-4:], "big")
        return super().receive(frame[: len(frame) - 4 - size], have, ctx=ctx)


# --- thefts ----------------------------------------------------------------------------------------------------------

CLAIMS = GIVES | Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE


class _Claims(PskSession):
    @property
    def grade(self) -> Guarantee | None:
        return CLAIMS

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        step = super().receive(frame, have, ctx=ctx)
        return evolve(step, plain=(Plain(step.plain[0].body, CLAIMS),))


def _claiming(name: str, caught_by: str) -> None:
    make = psk_of(_Claims)

    def claiming() -> Psk:
        exchange = make()
        type(exchange).guarantees = CLAIMS  # type: ignore[misc, assignment]
        return exchange  # type: ignore[return-value]

    FAULTS[name] = (claiming, caught_by)


_claiming("claims FORWARD SECRECY under one key", FORWARD)
_claiming("claims POST COMPROMISE under one key", HEALING)


@fault(FORWARD)
class keeps_its_chain_where_it_was(RatchetSession):
    def advance(self, chain: bytes, number: int) -> tuple[bytes, bytes]:
        return chain, kdf(chain, number.to_bytes(4, "big"))


@fault(ONCE)
class keeps_a_skipped_key_after_its_use(RatchetSession):
    def used(self, row: bytes) -> tuple[bytes, ...]:
        return ()


@fault(HEALING)
class never_makes_a_new_key(RatchetSession):
    def next_key(self, ctx: Context) -> bytes:
        return kdf(self.root, b"not random at all")


@fault(FORWARD)
class promises_forward_secrecy_for_first_flights(RatchetSession):
    @property
    def grade(self) -> Guarantee | None:
        return FULL

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        step = super().receive(frame, have, ctx=ctx)
        return step if isinstance(step, Wants) else evolve(step, plain=(Plain(step.plain[0].body, FULL),))


# --- leaks -----------------------------------------------------------------------------------------------------------


@fault(REPR)
class shows_a_key_in_its_repr(PskSession):
    def __repr__(self) -> str:
        return f"<session {self.send_key.hex()}>"


@fault(REPR)
class shows_a_key_as_numbers(PskSession):
    def __repr__(self) -> str:
        return f"<session {list(self.open_key)}>"


@fault(PICKLE)
class is_a_session_that_is_pickled_like_anything(PskSession):
    __reduce__ = object.__reduce__  # type: ignore[assignment]


@fault(PICKLE)
class pickles_its_snapshot_as_a_session(PskSession):
    def __reduce__(self) -> object:  # type: ignore[override]
        return (restored_from, (self.snapshot(),))


def restored_from(snapshot: bytes) -> bytes:
    return snapshot


@fault(PICKLE)
class is_a_mechanism_that_is_pickled_like_anything(Psk):
    __reduce__ = object.__reduce__  # type: ignore[assignment]


@fault(PICKLE)
class pickles_its_secret_in_hex(Psk):
    def __reduce__(self) -> object:  # type: ignore[override]
        return (restored_from, (self.secret.hex(),))


@fault(PICKLE)
class makes_offers_that_are_pickled_like_anything(Ratchet):
    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        made = super().offer(have, siblings=siblings, ctx=ctx)
        return made if isinstance(made, Wants) else _OpenOffer(made.public, made.keep, made.renew)


@frozen
class _OpenOffer(Offer):
    def __reduce__(self) -> object:  # type: ignore[override]
        return (restored_from, (b"".join(row.value for row in self.keep.values()),))


@fault(TRACE)
class leaves_a_key_among_its_locals(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        key = self.open_key
        step = super().receive(frame, have, ctx=ctx)
        assert key
        return step


@fault("test_two_seals_of_one_session_never_share_a_keystream")
class counts_instead_of_drawing_a_nonce(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return super().seal(plaintext, ctx=evolve(ctx, rng=bytes))


# --- time and people -------------------------------------------------------------------------------------------------


@fault(TALK)
class is_due_for_ever(LadderSession):
    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(self) if isinstance(cue, Due) else super().cue(cue, ctx=ctx)

    @property
    def grade(self) -> Guarantee | None:
        return None


@fault(TALK)
class asks_what_nobody_answers(LadderSession):
    def question(self) -> Ask:
        return Ask("riddle", "What is it?")
