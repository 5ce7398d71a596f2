"""Faults of names, grades, ids, values, rows and randomness."""

from __future__ import annotations

import os

from attrs import evolve
from kexkit.api import (
    Context,
    Device,
    Forged,
    Guarantee,
    Have,
    Offer,
    Opening,
    Row,
    Session,
    Step,
    Wants,
)
from kexkit_psk.exchange import Psk
from kexkit_psk.session import GIVES, HEADER, STAMP, PskSession

from tests.kits.faults import ALTERED, SETTLED, TALK, TWICE, fault
from tests.kits.toy_ladder import LadderSession

# --- names, grades, shapes -------------------------------------------------------------------------------------------


@fault("test_it_looks_like_a_key_exchange_and_its_name_says_whose_it_is")
class takes_a_name_of_the_projects_own(Psk):
    name = "psk/1"


@fault("test_it_looks_like_a_key_exchange_and_its_name_says_whose_it_is")
class lacks_an_argument(Psk):
    def accept(self, frame: bytes, opening: Opening, *, ctx: Context) -> Step | Wants:  # type: ignore[override]
        return super().accept(frame, opening, {}, ctx=ctx)


@fault(SETTLED)
class declares_what_no_session_gives(Psk):
    guarantees = GIVES | Guarantee.FORWARD_SECRECY


@fault(SETTLED)
class gives_what_it_does_not_declare(Psk):
    guarantees = GIVES & ~Guarantee.FROM_PEER


@fault(TALK)
class gives_a_list_for_its_frames(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        step = super().seal(plaintext, ctx=ctx)
        return evolve(step, frames=list(step.frames))


@fault(TALK)
class says_where_a_frame_goes_that_is_not_bare(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return evolve(super().seal(plaintext, ctx=ctx), to="/a/1/topic/proto")


@fault(TALK)
class writes_nothing_and_keeps_a_row(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        step = super().receive(frame, have, ctx=ctx)
        return evolve(step, session=self, keep={self.id: Row(b"")})


@fault(TALK)
class keeps_a_row_until_yesterday(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return evolve(super().seal(plaintext, ctx=ctx), keep={self.id: Row(b"", until=ctx.now - 1)})


@fault(TALK)
class keeps_a_row_under_too_long_an_id(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return evolve(super().seal(plaintext, ctx=ctx), keep={self.id + bytes(119): Row(b"")})


@fault(TALK)
class hears_another_object_each_time(LadderSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        step = super().seal(plaintext, ctx=ctx)
        return evolve(step, session=evolve(step.session, hears=frozenset(set(self.hears))))


@fault(TALK)
class sends_bare_frames_nowhere(LadderSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return evolve(super().seal(plaintext, ctx=ctx), to=None)


# --- identity of a session -------------------------------------------------------------------------------------------


@fault("test_both_ends_hold_one_session_and_know_each_other")
class has_an_id_for_each_end(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        session = super()._session(stamp, opening, peer, ctx, we_began=we_began)
        return evolve(session, id=bytes((we_began,)) + session.id[1:])


@fault("test_both_ends_hold_one_session_and_know_each_other")
class has_one_id_for_all_openings(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        return evolve(super()._session(stamp, opening, peer, ctx, we_began=we_began), id=bytes(32))


@fault(TALK)
class has_a_short_id(Psk):
    def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
        session = super()._session(stamp, opening, peer, ctx, we_began=we_began)
        return evolve(session, id=session.id[:16])


@fault("test_a_frame_of_another_session_is_not_mine")
class calls_another_sessions_frame_forged(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        if frame[:STAMP] != self.stamp:
            raise Forged
        return super().receive(frame, have, ctx=ctx)


# --- values, rows, randomness ----------------------------------------------------------------------------------------


@fault(TALK)
class changes_itself(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        step = super().seal(plaintext, ctx=ctx)
        object.__setattr__(self, "sent", self.sent + 1)
        return step


@fault(TALK)
class sets_the_clock(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        object.__setattr__(ctx, "now", ctx.now + 1)
        return super().seal(plaintext, ctx=ctx)


@fault(ALTERED)
class counts_forgeries(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        try:
            return super().receive(frame, have, ctx=ctx)
        except Forged:
            object.__setattr__(self, "top", self.top + 1)
            raise


@fault(TALK)
class wants_a_row_twice(Psk):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        return Wants(frozenset({b"it"})) if len(have) < 3 else super().accept(frame, opening, have, ctx=ctx)


@fault(TALK)
class never_wants_enough(Psk):
    def offer(self, have: Have, *, siblings: object, ctx: Context) -> Offer | Wants:  # type: ignore[override]
        return Wants(frozenset({bytes((len(have),))}))


@fault(TALK)
class wants_nothing_in_particular(Psk):
    def offer(self, have: Have, *, siblings: object, ctx: Context) -> Offer | Wants:  # type: ignore[override]
        return Wants(frozenset())


@fault(TALK)
class draws_before_it_wants(Psk):
    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        ctx.rng(8)
        return super().accept(frame, opening, have, ctx=ctx)


@fault(TWICE)
class draws_elsewhere(PskSession):
    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return super().seal(plaintext, ctx=evolve(ctx, rng=os.urandom))


@fault(TWICE)
class remembers_outside_its_snapshot(Psk):
    seen_so_far: dict[bytes, int] = {}  # noqa: RUF012

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step:
        self.seen_so_far[b"calls"] = self.seen_so_far.get(b"calls", 0) + 1
        step = super().initiate(opening, have, ctx=ctx)
        return evolve(step, session=evolve(step.session, sent=self.seen_so_far[b"calls"]))


@fault(TWICE)
class forgets_its_window_on_a_restart(Psk):
    def restore(self, snapshot: bytes) -> Session:
        return evolve(super().restore(snapshot), seen=0)


@fault("test_a_damaged_snapshot_is_a_typed_error")
class restores_anything(Psk):
    def restore(self, snapshot: bytes) -> Session:
        return super().restore(snapshot[:-1] if snapshot.endswith(b"\0") else snapshot)


@fault("test_a_damaged_snapshot_is_a_typed_error")
class stumbles_over_a_snapshot(Psk):
    def restore(self, snapshot: bytes) -> Session:
        bytes((snapshot[200],))
        return super().restore(snapshot)


@fault("test_a_snapshot_stays_of_one_size_and_rows_do_not_pile_up")
class grows(PskSession):
    def snapshot(self) -> bytes:
        return super().snapshot() + bytes(self.top)


@fault("test_a_snapshot_stays_of_one_size_and_rows_do_not_pile_up")
class piles_up_rows(PskSession):
    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        step = super().receive(frame, have, ctx=ctx)
        return evolve(step, keep={self.id + frame[STAMP:HEADER]: Row(b"opened")})
