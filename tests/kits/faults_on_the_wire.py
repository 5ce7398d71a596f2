"""Faults that the network brings to light."""

from __future__ import annotations

from attrs import evolve
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit.api import (
    Context,
    Cue,
    Device,
    Guarantee,
    Have,
    Limit,
    Offer,
    Opening,
    Replayed,
    Row,
    Session,
    Step,
    Wants,
)
from kexkit.errors import Cloned, Forged
from kexkit_psk.exchange import Psk
from kexkit_psk.session import GIVES, HEADER, STAMP, PskSession

from tests.kits.faults import AGAIN_SAME, ALTERED, NOISE, ONCE, RESIZED, TWIN, fault, turned_into
from tests.kits.toy_ladder import AGAIN, Ladder, LadderSession
from tests.kits.toy_ratchet import Ratchet, RatchetSession, decrypt

HOUR = 3600 * 1000

# --- what the network does -------------------------------------------------------------------------------------------


@fault(RESIZED)
class raises_an_error_of_its_own_on_a_cut_frame(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        if frame[:STAMP] == self.stamp and len(frame) < HEADER:
            raise ValueError("frame too short")
        return super().receive(frame, have, ctx=ctx)


@fault(NOISE)
class raises_an_error_of_its_own_on_noise(Psk):
    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[object, ...]:  # type: ignore[override]
        if len(public) != 40:
            raise IndexError
        return super().read_offer(public, maker=maker, ctx=ctx)


@fault(ALTERED)
class leaves_its_tail_malleable(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        step = super().seal(plaintext, ctx=ctx)
        return evolve(step, frames=(step.frames[0] + b"tail",))

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        return super().receive(frame[:-4], have, ctx=ctx)


@fault(TWIN)
class takes_a_repeated_frame_for_the_sign_of_a_copy(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        try:
            return super().receive(frame, have, ctx=ctx)
        except Replayed:
            raise Cloned(session=self.id) from None


@fault(TWIN)
class takes_a_garbled_text_under_a_true_header_for_the_sign_of_a_copy(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        try:
            return super().receive(frame, have, ctx=ctx)
        except Forged:
            raise Cloned(session=self.id) from None


@fault(ONCE)
class opens_a_frame_again(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        return super(opens_a_frame_again, evolve(self, top=0, seen=0)).receive(frame, have, ctx=ctx)


@fault("test_a_first_flight_opens_once_even_when_its_session_is_over_if_it_says_so")
class forgets_its_openings(Psk):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step = super().accept(frame, opening, have, ctx=ctx)
        return step if isinstance(step, Wants) else evolve(step, keep={})


@fault("test_a_first_flight_opens_once_even_when_its_session_is_over_if_it_says_so")
class forgets_its_openings_while_it_still_takes_them(Psk):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step = super().accept(frame, opening, have, ctx=ctx)
        if isinstance(step, Wants):
            return step
        return evolve(step, keep={row: Row(kept.value, until=ctx.now + HOUR) for row, kept in step.keep.items()})


@fault("test_what_a_session_leaves_behind_ends")
class remembers_its_openings_for_ever(Psk):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step = super().accept(frame, opening, have, ctx=ctx)
        if isinstance(step, Wants):
            return step
        return evolve(step, keep={row: Row(kept.value) for row, kept in step.keep.items()})


@fault("test_a_frame_returned_to_its_sender_does_not_open")
class uses_one_key_for_both_directions(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        session = super()._session(stamp, opening, peer, ctx, we_began=we_began)
        key = min(session.send_key, session.open_key)
        return evolve(session, send_key=key, open_key=key)


@fault("test_frames_open_in_any_order_if_it_says_so")
class opens_in_order_only(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        if frame[:STAMP] == self.stamp and int.from_bytes(frame[STAMP : STAMP + 8], "big") != self.top:
            raise Replayed
        return super().receive(frame, have, ctx=ctx)


@fault("test_the_first_text_leaves_without_an_answer_if_it_says_so")
class cannot_seal_before_an_answer(PskSession):
    @property
    def grade(self) -> Guarantee | None:
        return GIVES if self.top else None


@fault("test_the_binding_is_in_the_transcript_if_it_says_so")
class ignores_what_it_should_bind(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        return super()._session(stamp, evolve(opening, bind=b""), peer, ctx, we_began=we_began)


@fault("test_an_offer_is_stable_until_it_is_renewed_and_then_replaces_the_old")
class renews_its_offer_as_it_was(Psk):
    def offer(self, have: Have, *, siblings: tuple[object, ...], ctx: Context) -> Offer | Wants:  # type: ignore[override]
        offer = super().offer(have, siblings=(), ctx=evolve(ctx, now=1_760_000_000_000))
        return offer if isinstance(offer, Wants) else evolve(offer, renew=ctx.now + AGAIN)


@fault("test_an_opening_to_the_last_offer_still_opens_after_the_renewal")
class drops_its_last_prekey_at_once(Ratchet):
    def offer(self, have: Have, *, siblings: tuple[object, ...], ctx: Context) -> Offer | Wants:  # type: ignore[override]
        offer = super().offer(have, siblings=(), ctx=ctx)
        if isinstance(offer, Wants):
            return offer
        keep = {row_id: evolve(row, until=row.until and offer.renew) for row_id, row in offer.keep.items()}
        return evolve(offer, keep=keep)


@fault(AGAIN_SAME)
class sends_a_lost_flight_as_other_bytes(LadderSession):
    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        step = super().cue(cue, ctx=ctx)
        return evolve(step, frames=tuple(frame[:-8] + ctx.rng(8) for frame in step.frames))


@fault(AGAIN_SAME)
class never_sends_a_lost_flight_again(LadderSession):
    due = None  # type: ignore[assignment]


HINT = "test_an_opening_to_an_outdated_offer_is_answered_with_the_present_one_if_it_travels_alone"


@fault(HINT)
class begins_though_its_offer_is_outdated(Ladder):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        return super().accept(frame, evolve(opening, hint=b""), have, ctx=ctx)


@fault(HINT)
class keeps_something_of_an_outdated_opening(Ladder):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step = super().accept(frame, opening, have, ctx=ctx)
        return evolve(step, keep={b"seen": Row(b"")}) if opening.hint and isinstance(step, Step) else step


@fault(HINT)
class tells_of_another_offer(Ladder):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        hint = opening.hint[:-1]
        return super().accept(frame, evolve(opening, hint=hint), have, ctx=ctx)


@fault("test_closing_ends_the_session_and_the_other_end_survives_it")
class does_not_end(PskSession):
    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(self)


@fault("test_a_restart_between_every_two_steps_changes_nothing")
class counts_anew_after_a_restart(Psk):
    def restore(self, snapshot: bytes) -> Session:
        return evolve(super().restore(snapshot), sent=0)


@fault("test_nothing_known_of_the_peer_is_no_offer_or_a_weak_session")
class takes_an_advert_for_granted(Psk):
    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step:
        assert isinstance(opening.advert, object)
        return super().initiate(evolve(opening, bind=opening.advert.public), have, ctx=ctx)  # type: ignore[union-attr]


@fault("test_openings_that_cross_lose_no_text")
class accepts_nobody_while_it_calls(Psk):
    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step:
        return evolve(super().initiate(opening, have, ctx=ctx), keep={b"busy": Row(b"", until=ctx.now + 1_000)})

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if b"busy" not in have:
            return Wants(frozenset({b"busy"}))
        if have[b"busy"] is not None:
            raise Limit
        return super().accept(frame, opening, have, ctx=ctx)


@fault("test_a_peer_that_lost_everything_begins_again")
class meets_everybody_once(Psk):
    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step:
        assert opening.peer is not None
        return evolve(super().initiate(opening, have, ctx=ctx), keep={opening.peer.identity: Row(b"met")})

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        assert opening.peer is not None
        if opening.peer.identity not in have:
            return Wants(frozenset({opening.peer.identity}))
        if have[opening.peer.identity] is not None:
            raise Limit
        return super().accept(frame, opening, have, ctx=ctx)


@fault("test_a_late_frame_of_an_earlier_turn_opens_and_a_lost_one_hurts_nobody_if_it_says_so")
class forgets_a_chain_when_it_turns(RatchetSession):
    def follow(
        self, frame: bytes, ratchet_key: bytes, before: int, number: int
    ) -> tuple[bytes | None, RatchetSession, dict[bytes, Row]]:
        body, successor, keep = super().follow(frame, ratchet_key, before, number)
        if ratchet_key != self.theirs:
            keep = {row_id: row for row_id, row in keep.items() if self.theirs not in row_id}
        return body, successor, keep


@fault("test_a_frame_does_not_open_in_another_session")
class has_one_key_for_all_sessions(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        session = super()._session(stamp, opening, peer, ctx, we_began=we_began)
        fixed = super()._session(bytes(STAMP), opening, peer, ctx, we_began=we_began)
        return evolve(turned_into(_OpenStamp, session), send_key=fixed.send_key, open_key=fixed.open_key)

    def restore(self, snapshot: bytes) -> Session:
        restored = super().restore(snapshot)
        assert isinstance(restored, PskSession)
        return turned_into(_OpenStamp, restored)


class _OpenStamp(PskSession):
    """The stamp says which session, and nothing protects it."""

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        header = self.stamp + self.sent.to_bytes(8, "big") + ctx.rng(12)
        sealed = ChaCha20Poly1305(self.send_key).encrypt(header[-12:], plaintext, header[STAMP:])
        return Step(evolve(self, sent=self.sent + 1), frames=(header + sealed,))

    def _opened(self, frame: bytes) -> bytes | None:
        return decrypt(self.open_key, frame[STAMP:HEADER], frame[HEADER:])
