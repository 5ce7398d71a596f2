"""What a Noise mechanism does over time: repeats, expiry, hints, ages and goodbyes."""

from __future__ import annotations

import random

import pytest
from kexkit.api import Answer, Close, Due, Session
from kexkit.errors import InvalidInput, Limit, Malformed, NotMine
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit_noise import limits, payload
from kexkit_noise.answering import Answering
from kexkit_noise.calling import Calling
from kexkit_noise.mechanisms import HINT_ID
from kexkit_noise.payload import PayloadV2
from kexkit_noise.sessions import Running

from tests.noise.meeting import DAY_MS, NAMES, Meeting, only, pair_of, refused

ALL = pytest.mark.parametrize("name", NAMES)
MARK = b"a text that must never be in a handshake"
SECOND = 1000


def due(party: Party) -> int:
    (session,) = party.sessions.values()
    assert session.due is not None
    return session.due


# --- repeats ----------------------------------------------------------------------------------------------------------


@ALL
def test_a_first_message_is_repeated_as_it_was_with_longer_and_longer_pauses_for_two_days(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    began, (session,) = pair.clock.now, pair.alice.sessions
    pauses = []
    while True:
        pauses.append(due(pair.alice) - pair.clock.now)
        pair.clock.now = due(pair.alice)
        took = pair.alice.cue(session, Due())
        if took.session is None:
            break
        assert [(sent.frame, sent.topic) for sent in took.sent] == [(first.frame, first.topic)]
    assert pauses[:6] == [*limits.RESEND_MS, limits.RESEND_MS[-1]]
    assert pair.clock.now - began == limits.HANDSHAKE_MS == sum(pauses)
    assert pair.alice.sessions == {}


@ALL
@pytest.mark.parametrize("later", [-1, 0, 1])
def test_a_repeated_first_message_is_answered_with_the_same_second_but_not_too_often(name: str, later: int) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    second = Meeting(pair).second(first)
    assert pair.bob.receive(first).sent == ()
    pair.clock.now += limits.ANSWER_GAP_MS + later
    again = pair.bob.receive(first)
    assert [sent.frame for sent in again.sent] == ([] if later < 0 else [second.frame])
    assert len(pair.bob.sessions) == 1
    assert pair.bob.receive(first).sent == (again.sent if later < 0 else ())
    pair.deliver(Meeting(pair).third(second))
    assert refused(lambda: pair.bob.receive(first)) is not None
    assert len(pair.bob.sessions) == 1


@ALL
def test_only_the_same_first_message_is_a_repeated_one(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    Meeting(pair).second(first)
    answering = only(pair.bob, Answering)
    pair.clock.now += limits.ANSWER_GAP_MS
    for other in (first.frame[:-1] + bytes((first.frame[-1] ^ 1,)), first.frame + b"\0", first.frame[:16], b""):
        with pytest.raises(NotMine):
            answering.receive(other, {}, ctx=pair.bob.context)


def test_a_first_message_is_repeated_less_often_than_it_is_answered() -> None:
    assert min(limits.RESEND_MS) > limits.ANSWER_GAP_MS


@ALL
@pytest.mark.parametrize("later", [-1, 0])
def test_a_responder_repeats_nothing_by_itself_and_gives_up_after_thirty_days(name: str, later: int) -> None:
    pair = pair_of(name)
    Meeting(pair).second(Meeting(pair).first())
    (session,) = pair.bob.sessions
    assert due(pair.bob) == pair.clock.now + limits.ANSWERING_MS
    pair.clock.now = due(pair.bob) + later
    took = pair.bob.cue(session, Due())
    assert (took.session is None, took.sent) == (later == 0, ())


@ALL
def test_texts_sealed_behind_a_third_message_open_however_late_it_is_read(name: str) -> None:
    """Bob was away for four weeks; Alice gave up waiting for him, and hears him all the same."""
    pair = pair_of(name)
    third = Meeting(pair).third(Meeting(pair).second(Meeting(pair).first()))
    text = pair.alice.seal(MARK, pair.bob.me)
    for _ in range(9):
        pair.advance(3 * DAY_MS)
    assert not pair.alice.can_seal(pair.bob.me)
    assert pair.settle([third], text) == [MARK]
    pair.say(pair.bob, b"back again")
    pair.say(pair.alice, b"welcome")


@ALL
def test_a_third_message_is_repeated_until_the_responder_is_heard(name: str) -> None:
    pair = pair_of(name)
    third = Meeting(pair).third(Meeting(pair).second(Meeting(pair).first()))
    (session,) = pair.alice.sessions
    for _ in range(3):
        pair.clock.now = due(pair.alice)
        assert [(sent.frame, sent.topic) for sent in pair.alice.cue(session, Due()).sent] == [
            (third.frame, third.topic)
        ]
    pair.deliver(third)
    pair.say(pair.alice, b"this does not stop it: it is heard by nobody but Bob")
    assert only(pair.alice, Running).flight is not None
    pair.say(pair.bob, b"this does")
    assert only(pair.alice, Running).flight is None
    assert due(pair.alice) == only(pair.alice, Running).began + limits.SESSION_MS


@ALL
def test_a_session_whose_responder_is_never_heard_seals_no_more_after_two_days(name: str) -> None:
    """The responder may have given up before message 3 came: then it seals to nobody."""
    pair = pair_of(name)
    third = Meeting(pair).third(Meeting(pair).second(Meeting(pair).first()))
    (session,) = pair.alice.sessions
    began = pair.clock.now
    pair.deliver(third)
    (late,) = pair.bob.seal(b"late", pair.alice.me)
    while only(pair.alice, Running).grade is not None:
        assert pair.clock.now < began + limits.HANDSHAKE_MS
        pair.clock.now = due(pair.alice)
        pair.alice.cue(session, Due())
    assert pair.clock.now == began + limits.HANDSHAKE_MS
    with pytest.raises(InvalidInput):
        only(pair.alice, Running).seal(b"to nobody", ctx=pair.alice.context)
    assert pair.settle([late]) == [b"late"], "it goes on receiving"
    assert pair.alice.can_seal(pair.bob.me), "and the responder is there after all"
    pair.say(pair.alice, b"so it seals again")
    pair.clock.now = due(pair.alice)
    assert pair.clock.now == began + limits.SESSION_MS
    pair.alice.cue(session, Due())
    pair.say(pair.bob, b"its age is another matter")
    assert not pair.alice.can_seal(pair.bob.me)


@ALL
def test_a_session_that_seals_no_more_is_the_same_after_a_restart_and_so_is_one_that_seals_again(name: str) -> None:
    pair = pair_of(name)
    third = Meeting(pair).third(Meeting(pair).second(Meeting(pair).first()))
    (session,) = pair.alice.sessions
    pair.deliver(third)
    (late,) = pair.bob.seal(b"late", pair.alice.me)
    while only(pair.alice, Running).grade is not None:
        pair.clock.now = due(pair.alice)
        pair.alice.cue(session, Due())
    retired = restarted(pair.alice)
    assert (retired.grade, retired.due) == (None, only(pair.alice, Running).due)
    pair.settle([late])
    heard = restarted(pair.alice)
    assert heard.grade == only(pair.alice, Running).grade is not None
    assert heard.due == only(pair.alice, Running).due


def restarted(party: Party) -> Session:
    return party.exchange.restore(only(party, Running).snapshot())


@ALL
def test_messages_that_are_lost_doubled_and_out_of_order_are_survived(name: str) -> None:
    """Everything that was ever sent comes at any time and many times; a text that was sealed opens once."""
    for seed in range(5):
        pair, dice = pair_of(name), random.Random(seed)
        wire = [Meeting(pair).first()]
        for _ in range(60):
            sent = dice.choice(wire)
            for reader in (pair.alice, pair.bob):
                if reader.me != sent.sender and reader.hears(sent):
                    took = []
                    refused(lambda reader=reader, took=took, sent=sent: took.append(reader.receive(sent)))  # type: ignore[misc]
                    wire += [answer for each in took for answer in each.sent if answer not in wire]
            pair.clock.now += dice.randrange(60) * SECOND
        assert pair.alice.can_seal(pair.bob.me)
        assert len(pair.alice.sessions) == len(pair.bob.sessions) == 1
        pair.say(pair.alice, b"it works")
        pair.say(pair.bob, b"both ways")


@ALL
@pytest.mark.parametrize("later", [-1, 0])
def test_an_initiator_waits_two_days(name: str, later: int) -> None:
    pair = pair_of(name)
    (session,) = [pair.alice.initiate(pair.bob.me).session]
    pair.clock.now += limits.HANDSHAKE_MS + later
    assert (pair.alice.cue(session or b"", Due()).session is None) == (later == 0)


# --- an outdated offer ------------------------------------------------------------------------------------------------


@ALL
def test_an_opening_to_an_outdated_offer_is_answered_with_a_hint_and_no_session(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    pair.bob.hint = b"our present signed offer"
    took = pair.deliver(first)
    assert took.session is None
    assert pair.bob.sessions == {}
    (hint,) = took.sent
    assert hint.frame == payload.encode(
        PayloadV2(only(pair.alice, Calling).nametag, HINT_ID, b"", b"our present signed offer")
    )
    before = pair.alice.state()
    assert pair.alice.receive(hint).offers == (b"our present signed offer",)
    assert pair.alice.state() == before, "anybody could say it: the handshake goes on"
    pair.bob.hint = b""
    pair.deliver(Meeting(pair).third(Meeting(pair).second(first)))
    pair.say(pair.alice, b"the handshake was not over")


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_hint_is_as_long_as_an_offer_at_most(beyond: int) -> None:
    pair = pair_of("healing-noise-xk1/1")
    pair.bob.hint = bytes(limits.HINT_BYTES + beyond)
    (hint,) = pair.deliver(Meeting(pair).first()).sent
    if beyond > 0:
        with pytest.raises(Limit):
            pair.alice.receive(hint)
    else:
        assert pair.alice.receive(hint).offers == (pair.bob.hint,)


def test_a_hint_is_nothing_but_a_hint() -> None:
    pair = pair_of("healing-noise-xk1/1")
    Meeting(pair).first()
    calling = only(pair.alice, Calling)
    for bad in (PayloadV2(calling.nametag, HINT_ID, b"\0" * 33, b"x"), PayloadV2(calling.nametag, HINT_ID, b"", b"")):
        with pytest.raises(Malformed):
            calling.receive(payload.encode(bad), {}, ctx=pair.alice.context)
    with pytest.raises(NotMine):
        calling.receive(payload.encode(PayloadV2(bytes(16), HINT_ID, b"", b"x")), {}, ctx=pair.alice.context)


def test_a_running_session_takes_no_hint() -> None:
    pair = pair_of("healing-noise-xk1/1")
    first = Meeting(pair).first()
    pair.bob.hint = b"an offer"
    (hint,) = pair.bob.receive(first).sent
    pair.bob.hint = b""
    Meeting(pair).third(Meeting(pair).second(first))
    assert refused(lambda: only(pair.alice, Running).receive(hint.frame, {}, ctx=pair.alice.context)) is not None


# --- ages and ends ----------------------------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("early", [1, 0])
def test_a_session_seals_for_thirty_days_receives_for_thirty_more_and_is_forgotten(name: str, early: int) -> None:
    pair = pair_of(name)
    pair.meet()
    late = pair.bob.seal(b"late", pair.alice.me)
    (session,) = pair.alice.sessions
    running = only(pair.alice, Running)
    pair.clock.now = running.began + limits.SESSION_MS - early
    assert pair.alice.cue(session, Due()).session == session
    assert (only(pair.alice, Running).grade is not None) == bool(early)
    if early:
        return
    assert pair.settle(late) == [b"late"]
    pair.clock.now = due(pair.alice)
    assert pair.clock.now == running.began + limits.SESSION_MS + limits.SESSION_LINGER_MS
    assert pair.alice.cue(session, Due()).session is None


@ALL
@pytest.mark.parametrize("early", [1, 0])
def test_a_device_that_slept_through_both_ends_of_a_session_is_not_due_in_the_past(name: str, early: int) -> None:
    pair = pair_of(name)
    pair.meet()
    (session,) = pair.alice.sessions
    pair.clock.now = only(pair.alice, Running).began + limits.SESSION_MS + limits.SESSION_LINGER_MS - early
    pair.alice.cue(session, Due())
    assert [kept.due for kept in pair.alice.sessions.values()] == [pair.clock.now + 1] * early


@ALL
def test_a_session_begins_anew_when_the_last_has_worn_out(name: str) -> None:
    pair = pair_of(name)
    pair.meet()
    pair.settle(pair.advance(limits.SESSION_MS))
    assert not pair.alice.can_seal(pair.bob.me)
    pair.meet()
    assert len(pair.alice.sessions) == 2


@ALL
def test_a_goodbye_ends_both_ends_and_only_the_sealed_one_does(name: str) -> None:
    """37's public termination stands in clear on the topic, where whoever saw the handshake can write it."""
    pair = pair_of(name)
    pair.meet()
    running = only(pair.bob, Running)
    clear = payload.encode(PayloadV2(running.inner.marker[:16], 0, b"", running.inner.marker))
    (topic,) = [hear.topic for hear in running.hears]
    for frame in (clear, running.inner.marker):
        assert refused(lambda frame=frame: pair.bob.receive(Sent(pair.alice.me, None, frame, topic))) is not None
    (goodbye,) = pair.alice.cue(running.id, Close()).sent
    took = pair.deliver(goodbye)
    assert (took.session, took.plain) == (None, ())
    assert pair.bob.sessions == {}
    pair.settle(took.sent)
    assert pair.alice.sessions == {}


@ALL
def test_a_text_cannot_say_goodbye(name: str) -> None:
    pair = pair_of(name)
    pair.meet()
    running = only(pair.alice, Running)
    with pytest.raises(InvalidInput):
        running.seal(running.inner.marker, ctx=pair.alice.context)
    pair.say(pair.alice, bytes(32))


@ALL
def test_a_handshake_that_is_closed_ends_in_silence_and_an_answer_means_nothing_to_it(name: str) -> None:
    pair = pair_of(name)
    Meeting(pair).second(Meeting(pair).first())
    for party in (pair.alice, pair.bob):
        (session,) = party.sessions
        assert party.cue(session, Answer(b"yes")).session == session
        took = party.cue(session, Close())
        assert (took.session, took.sent) == (None, ())
