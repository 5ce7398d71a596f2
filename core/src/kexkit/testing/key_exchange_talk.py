"""The part of `KeyExchangeKit` in which nobody does wrong: texts arrive, and nothing depends on luck."""

from __future__ import annotations

import random

from kexkit._registry import mechanism_problem
from kexkit._shapes import shape_problem
from kexkit.api import Advert, Carriage, Close, Due, Guarantee, KeyExchange, Opening
from kexkit.errors import KexkitError, NoOffer, NotMine, Refusal
from kexkit.testing.key_exchange_case import AGES, LASTING, KeyExchangeCase, any_bytes, talk, texts
from kexkit.testing.key_exchange_party import Party
from kexkit.testing.key_exchange_rules import ask, check_step, demand, typed_errors_only
from kexkit.testing.pair import Pair


class Talks(KeyExchangeCase):
    def test_it_looks_like_a_key_exchange_and_its_name_says_whose_it_is(self) -> None:
        exchange = self.make()
        demand(not (problem := shape_problem(exchange, KeyExchange)), f"the mechanism {problem}")
        demand(not (problem := mechanism_problem(exchange.name)), problem or "")
        demand(isinstance(exchange.carriage, Carriage), "carriage is a Carriage")
        demand(isinstance(exchange.guarantees, Guarantee), "guarantees is a Guarantee")
        demand(self.make().name == exchange.name, "two of the mechanism have two names")

    def test_an_offer_is_stable_until_it_is_renewed_and_then_replaces_the_old(self) -> None:
        pair = self.pair()
        first = _advert(pair)
        pair.publish(pair.bob)
        again = _advert(pair)
        demand((again.epoch, again.issued) >= (first.epoch, first.issued), "an offer made again is older")
        renew = pair.bob.issued[0].offer.renew
        demand(renew <= again.expires, "the offer expires before it is renewed")
        pair.advance(renew - pair.clock.now)
        later = _advert(pair)
        demand((later.epoch, later.issued) > (first.epoch, first.issued), "a renewed offer does not replace the old")
        demand(later.expires > pair.clock.now, "the renewed offer has expired")

    def test_texts_of_any_size_open_in_both_directions(self) -> None:
        for initiator in ("alice", "bob"):
            pair = self.pair()
            pair.meet(getattr(pair, initiator))
            for size in (0, 1, 15, 16, 17, 255, 256, 1_000, self.largest):
                for sender in (pair.alice, pair.bob):
                    pair.say(sender, bytes(number % 251 for number in range(size)))

    def test_both_ends_hold_one_session_and_know_each_other(self) -> None:
        pair = self.pair()
        pair.meet()
        mine, theirs = pair.alice.session_with(pair.bob.me), pair.bob.session_with(pair.alice.me)
        demand(mine.id == theirs.id, "the two ends compute different session ids")
        demand(mine.peer == pair.bob.me, "the initiator's session does not name its peer")
        demand(theirs.peer == pair.alice.me, "the responder's session does not name its peer")
        pair.meet()
        demand(pair.alice.session_with(pair.bob.me).id != mine.id, "two openings have one session id")

    def test_a_settled_session_gives_all_that_is_declared(self) -> None:
        pair = self.pair()
        pair.meet()
        talk(pair, turns=2)
        wanted = self.make().guarantees & LASTING
        for session in (pair.alice.session_with(pair.bob.me), pair.bob.session_with(pair.alice.me)):
            grade = session.grade or Guarantee.NONE
            demand(wanted in grade, f"declared, and never given by a session: {wanted & ~grade}")
        opened = pair.log[-1].took.plain[0].grade
        demand(wanted in opened, f"declared, and never given to an opened text: {wanted & ~opened}")

    def test_the_first_text_leaves_without_an_answer_if_it_says_so(self) -> None:
        pair = self.pair()
        took = pair.alice.initiate(pair.bob.me)
        if not self.declares(Guarantee.OFFLINE_START):
            pair.settle(took.sent)
            return
        demand(pair.alice.can_seal(pair.bob.me), "it declares OFFLINE_START, and initiate() gives no grade")
        frames = [frame for text in texts(3) for frame in pair.alice.seal(text, pair.bob.me)]
        demand(pair.settle(took.sent, frames) == texts(3), "texts sealed before any answer do not open")

    def test_an_opening_to_the_last_offer_still_opens_after_the_renewal(self) -> None:
        pair = self.pair()
        took = pair.alice.initiate(pair.bob.me)
        offline = self.declares(Guarantee.OFFLINE_START)
        sent = took.sent + (pair.alice.seal(b"on its way", pair.bob.me) if offline else ())
        pair.clock.now = pair.bob.issued[0].offer.renew
        pair.bob.expire_rows()
        pair.publish(pair.bob)
        opened = pair.settle(sent)
        demand(not offline or opened == [b"on its way"], "the reader's new offer made the letter unreadable")

    def test_frames_open_in_any_order_if_it_says_so(self) -> None:
        pair = self.pair()
        pair.meet()
        out_of_order = self.declares(Guarantee.OUT_OF_ORDER)
        for turn in range(3):
            for sender in (pair.alice, pair.bob):
                sealed = [sender.seal(text, pair.other(sender).me) for text in texts(12, f"{turn}")]
                if out_of_order:
                    random.Random(turn).shuffle(sealed)  # noqa: S311  # a test's dice
                opened = pair.settle(*sealed)
                demand(sorted(opened) == sorted(texts(12, f"{turn}")), "not every frame opened once")

    def test_a_late_frame_of_an_earlier_turn_opens_and_a_lost_one_hurts_nobody_if_it_says_so(self) -> None:
        if not self.declares(Guarantee.OUT_OF_ORDER):
            return
        pair = self.pair()
        pair.meet()
        late = [pair.alice.seal(text, pair.bob.me) for text in texts(6, "late")]
        pair.settle(late[5])
        talk(pair, turns=1)
        demand(pair.settle(*late[1:5]) == texts(6, "late")[1:5], "frames that were overtaken do not open")
        pair.say(pair.alice, b"the beginning of a turn")
        last = [pair.alice.seal(text, pair.bob.me) for text in texts(3, "last of its turn")]
        pair.say(pair.bob, b"a turn")
        pair.say(pair.alice, b"and another")
        demand(pair.settle(*last) == texts(3, "last of its turn"), "frames overtaken by a whole turn do not open")

    def test_a_restart_between_every_two_steps_changes_nothing(self) -> None:
        pair = self.pair()
        for party in pair.parties:
            party.restarts = True
        _whole_story(pair)

    def test_equal_randomness_gives_equal_steps_on_the_session_and_on_its_snapshot(self) -> None:
        pair = self.pair()
        for party in pair.parties:
            party.twice = True
        _whole_story(pair)

    def test_openings_that_cross_lose_no_text(self) -> None:
        pair = self.pair()
        flights = [*pair.alice.initiate(pair.bob.me).sent, *pair.bob.initiate(pair.alice.me).sent]
        for sender in (pair.alice, pair.bob):
            if sender.can_seal(pair.other(sender).me):
                flights += sender.seal(sender.me.installation.encode(), pair.other(sender).me)
        opened = pair.settle(flights)
        early = [party for party in (pair.alice, pair.bob) if self.declares(Guarantee.OFFLINE_START)]
        demand(
            sorted(opened) == sorted(p.me.installation.encode() for p in early), "a text of crossing openings is lost"
        )
        for _ in range(16):
            if _common(pair):
                break
            pair.settle(pair.advance(max(pair.next_due() - pair.clock.now, 1)))
        common = _common(pair)
        demand(common, "after crossing openings the two share no session")
        for session_id in common:
            for sender in (pair.alice, pair.bob):
                sent = sender.seal(b"over it", pair.other(sender).me, session=sender.sessions[session_id])
                demand(pair.settle(sent) == [b"over it"], "a session that crossed another does not work")

    def test_a_peer_that_lost_everything_begins_again(self) -> None:
        pair = self.pair()
        pair.meet()
        pair.advance(1)
        pair.bob.sessions.clear()
        pair.bob.drawer.clear()
        pair.bob.issued.clear()
        pair.publish(pair.bob)
        pair.meet(pair.bob)
        demand(len(pair.alice.sessions) == 2, "a new opening did not make a session of its own")

    def test_a_frame_of_another_session_is_not_mine(self) -> None:
        pair = self.pair()
        pair.meet()
        first = pair.alice.session_with(pair.bob.me)
        pair.meet()
        for sent in pair.alice.seal(b"of the second", pair.bob.me):
            try:
                pair.bob.receive_in(first.id, sent.frame)
            except NotMine:
                continue
            except Refusal as refusal:
                demand(False, f"a session says {type(refusal).__name__} to another's frame; NotMine lets core go on")
            demand(False, "a session took another's frame")

    def test_a_snapshot_stays_of_one_size_and_rows_do_not_pile_up(self) -> None:
        pair = self.pair()
        pair.meet()
        talk(pair, turns=4, burst=1)
        sizes, rows = _sizes(pair), _rows(pair)
        talk(pair, turns=25, burst=4)
        demand(_sizes(pair) == sizes, f"snapshots grew or shrank over 200 texts: from {sizes} to {_sizes(pair)} bytes")
        demand(_rows(pair) <= rows, f"the drawers grew over 200 texts that all arrived: {rows} rows to {_rows(pair)}")
        if self.declares(Guarantee.OUT_OF_ORDER):
            for _ in range(40):
                pair.alice.seal(b"lost", pair.bob.me)
            pair.say(pair.alice, b"after forty that were lost")
            demand(_sizes(pair) == sizes, "snapshots grow with texts that were lost: keep their keys as rows")

    def test_what_a_session_leaves_behind_ends(self) -> None:
        """Whoever can open sessions could otherwise fill the other's disk."""
        pair = self.pair()
        left: list[int] = []
        for _ in range(3):
            pair.meet()
            for party in (pair.alice, pair.bob):
                for session_id in list(party.sessions):
                    party.cue(session_id, Close())
            pair.advance(AGES)
            left.append(max(len(party.drawer) for party in (pair.alice, pair.bob)))
        demand(left[-1] <= left[0], "each session leaves a row behind that has no `until`: they pile up for ever")

    def test_a_lost_flight_is_sent_again_as_the_same_bytes(self) -> None:
        pair = self.pair()
        took = pair.alice.initiate(pair.bob.me)
        if not took.sent or took.session is None:
            return
        for _ in range(2):
            session = pair.alice.sessions[took.session]
            if session.grade is not None and session.due is None:
                return
            due = session.due
            demand(
                due is not None, "a flight was sent, nothing can be sealed, and no `due` sends it again if it is lost"
            )
            pair.clock.now = max(pair.clock.now, due or 0)
            again = pair.alice.cue(took.session, Due())
            if again.session is None:
                return
            demand(
                [sent.frame for sent in again.sent] in ([], [sent.frame for sent in took.sent]),
                "a flight is sent again as other bytes: its reader cannot tell it from a new one",
            )
        pair.settle(took.sent)

    def test_an_opening_to_an_outdated_offer_is_answered_with_the_present_one_if_it_travels_alone(self) -> None:
        """Then no session begins, nothing is kept, and who began is told, and may begin again."""
        if self.make().carriage is not Carriage.BARE:
            return
        pair, offer = self.pair(), b"the present offer, signed"
        first, *_ = pair.alice.initiate(pair.bob.me).sent
        before, pair.bob.hint = pair.bob.state(), offer
        took = pair.deliver(first)
        pair.bob.hint = b""
        demand(took.session is None and not took.plain, "an opening to an outdated offer began a session")
        demand(pair.bob.state() == before, "an opening to an outdated offer left something behind")
        demand(len(took.sent) == 1, "an opening to an outdated offer is not answered with one frame")
        demand(pair.deliver(took.sent[0]).offers == (offer,), "the present offer does not reach who began")
        pair.meet()

    def test_closing_ends_the_session_and_the_other_end_survives_it(self) -> None:
        pair = self.pair()
        pair.meet()
        session = pair.alice.session_with(pair.bob.me)
        crossing = pair.bob.seal(b"under way", pair.alice.me)
        goodbye = pair.alice.cue(session.id, Close())
        if goodbye.session is not None:
            rests = pair.alice.sessions[session.id]
            demand(rests.grade is None, "after Close the session still seals")
            demand(rests.due is not None, "after Close the session hears on, and no `due` ends it")
            opened = [plain.body for plain in pair.deliver(crossing[0]).plain]
            demand(opened == [b"under way"], "after Close the session hears on, but a text that was under way is lost")
        for sent in goodbye.sent:
            try:
                pair.deliver(sent)
            except Refusal:
                continue
        pair.meet()
        pair.advance(AGES)
        demand(session.id not in pair.alice.sessions, "a session that was closed hears on for ever")

    def test_nothing_known_of_the_peer_is_no_offer_or_a_weak_session(self) -> None:
        pair = self.pair()
        opening = Opening(pair.bob.me, None, b"", None)
        alice = pair.alice
        try:
            step = ask(
                lambda have: alice.exchange.initiate(opening, have, ctx=alice.context),
                lambda row_id: None,
                lambda: len(alice.rng.drawn),
            )
        except NoOffer:
            return
        check_step(alice.exchange, None, step, pair.clock.now)

    def test_a_damaged_snapshot_is_a_typed_error(self) -> None:
        pair = self.pair()
        pair.meet()
        exchange, snapshot = self.make(), pair.alice.session_with(pair.bob.me).snapshot()
        for damaged in (b"", snapshot[:1], snapshot[:-1], snapshot + b"\0", b"\xff" + snapshot[1:]):
            try:
                typed_errors_only(lambda damaged=damaged: exchange.restore(damaged))  # type: ignore[misc]  # bound early
            except KexkitError:
                continue
            demand(False, "restore() takes a damaged snapshot")
        for noise in any_bytes(self.random_inputs // 4, beginnings=[snapshot]):
            try:
                typed_errors_only(lambda noise=noise: exchange.restore(noise))  # type: ignore[misc]  # bound early
            except KexkitError:
                continue


def _advert(pair: Pair) -> Advert:
    return pair.alice.adverts[pair.bob.me]


def _whole_story(pair: Pair) -> None:
    pair.meet()
    talk(pair, turns=2)
    late = [pair.bob.seal(text, pair.alice.me) for text in texts(4)]
    pair.settle(*late)
    pair.meet(pair.bob)
    talk(pair, turns=1)


def _common(pair: Pair) -> set[bytes]:
    """Sessions in which both ends can seal."""

    def open_ones(party: Party) -> set[bytes]:
        return {session.id for session in party.sessions.values() if session.grade is not None}

    return open_ones(pair.alice) & open_ones(pair.bob)


def _sizes(pair: Pair) -> tuple[int, ...]:
    return tuple(len(s.snapshot()) for party in (pair.alice, pair.bob) for s in party.sessions.values())


def _rows(pair: Pair) -> int:
    return sum(len(party.drawer) for party in (pair.alice, pair.bob))
