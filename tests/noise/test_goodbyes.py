"""The end of a session: what was under way is opened, what is said into it is answered with the goodbye, and then the
keys are gone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from kexkit.api import Close, Due
from kexkit.errors import InvalidInput
from kexkit.testing.key_exchange_party import Party, Sent, Took
from kexkit.testing.pair import Pair
from kexkit_noise import limits
from kexkit_noise.healing import HealingSession
from kexkit_noise.healing_state import Listening, Speaking
from kexkit_noise.plain import PlainSession
from kexkit_noise.sessions import Running

from tests.noise.meeting import NAMES, Meeting, only, pair_of, refused

ALL = pytest.mark.parametrize("name", NAMES)
EACH_KIND = pytest.mark.parametrize("name", ["healing-noise-xk1/1", "noise-xk1/1"])


def met(name: str) -> Pair:
    """Every step is done twice, the second time from stored bytes."""
    pair = pair_of(name, twice=True)
    pair.meet()
    return pair


def close(party: Party) -> tuple[Sent, ...]:
    (session,) = party.sessions
    return party.cue(session, Close()).sent


def due(party: Party) -> int:
    (session,) = party.sessions.values()
    assert session.due is not None
    return session.due


def come_due(pair: Pair, party: Party) -> Took:
    pair.clock.now = max(pair.clock.now, due(party))
    (session,) = party.sessions
    return party.cue(session, Due())


@ALL
def test_in_order_both_ends_are_gone_after_one_goodbye_each(name: str) -> None:
    pair = met(name)
    (goodbye,) = close(pair.alice)
    took = pair.deliver(goodbye)
    assert (took.session, took.plain, len(took.sent)) == (None, (), 1)
    took = pair.deliver(took.sent[0])
    assert (took.session, took.plain, took.sent) == (None, (), ())
    for party in (pair.alice, pair.bob):
        assert party.sessions == {}


@ALL
def test_who_has_said_goodbye_seals_no_more(name: str) -> None:
    pair = met(name)
    close(pair.alice)
    running = only(pair.alice, Running)
    assert running.grade is None
    with pytest.raises(InvalidInput):
        running.seal(b"one more", ctx=pair.alice.context)
    assert pair.alice.cue(running.id, Close()).sent == (), "it is said once"


@ALL
@pytest.mark.parametrize("turned", [False, True])
def test_a_text_that_crosses_the_goodbye_is_opened_and_answered_with_the_same_goodbye(name: str, turned: bool) -> None:
    pair = met(name)
    if turned:  # Bob has a key of hers to turn to
        pair.say(pair.alice, b"your turn")
    texts = [pair.bob.seal(text, pair.alice.me)[0] for text in (b"one", b"two", b"three")]
    (goodbye,) = close(pair.alice)
    pair.clock.now += limits.GOODBYE_GAP_MS
    took = pair.deliver(texts[2])
    assert [plain.body for plain in took.plain] == [b"three"]
    assert [sent.frame for sent in took.sent] == [goodbye.frame]
    took = pair.deliver(texts[0])
    assert ([plain.body for plain in took.plain], took.sent) == ([b"one"], ()), "not for each text"
    (answer,) = pair.deliver(goodbye).sent
    assert pair.bob.sessions == {}
    assert pair.deliver(answer).sent == ()
    took = pair.deliver(texts[1])
    assert [plain.body for plain in took.plain] == [b"two"]
    assert pair.alice.sessions == {}, "nothing can be missing any more"


@ALL
def test_texts_that_the_goodbye_overtook_are_opened_and_then_the_session_is_gone(name: str) -> None:
    pair = met(name)
    first, second = (pair.alice.seal(text, pair.bob.me)[0] for text in (b"one", b"two"))
    (goodbye,) = close(pair.alice)
    (answer,) = pair.deliver(goodbye).sent
    (running,) = pair.bob.sessions.values()
    assert running.grade is None
    before = pair.bob.state()
    for _ in range(2):
        assert refused(lambda: pair.bob.receive(goodbye)) is not None
        assert pair.bob.state() == before, "a copy of the goodbye changes nothing"
    pair.deliver(answer)
    took = pair.deliver(second)
    assert ([plain.body for plain in took.plain], took.sent) == ([b"two"], ())
    took = pair.deliver(first)
    assert [plain.body for plain in took.plain] == [b"one"]
    assert pair.bob.sessions == {}
    assert pair.alice.sessions == {}


@ALL
def test_goodbyes_that_cross_are_answered_by_nobody(name: str) -> None:
    pair = met(name)
    hers, his = close(pair.alice), close(pair.bob)
    for sent in (*hers, *his):
        took = pair.deliver(sent)
        assert (took.session, took.sent) == (None, ())


@ALL
def test_a_goodbye_that_is_not_answered_is_said_again_at_longer_and_longer_intervals_and_then_no_more(
    name: str,
) -> None:
    pair = met(name)
    began = pair.clock.now
    (goodbye,) = close(pair.alice)
    said = [began]
    while pair.alice.sessions:
        took = come_due(pair, pair.alice)
        if took.session is not None:
            assert [sent.frame for sent in took.sent] == [goodbye.frame]
            said.append(pair.clock.now)
        else:
            assert took.sent == ()
    assert pair.clock.now == began + limits.SESSION_LINGER_MS
    gaps = [after - before for before, after in pairwise(said)]
    assert tuple(gaps[: len(limits.GOODBYE_MS)]) == limits.GOODBYE_MS
    assert set(gaps[len(limits.GOODBYE_MS) :]) == {limits.GOODBYE_MS[-1]}


@ALL
def test_what_waits_for_overtaken_texts_ends_in_time(name: str) -> None:
    pair = met(name)
    pair.alice.seal(b"never comes", pair.bob.me)
    (goodbye,) = close(pair.alice)
    pair.deliver(goodbye)
    ended = pair.clock.now
    for beyond in (-1, 0):
        pair.clock.now = ended + limits.SESSION_LINGER_MS + beyond
        (session,) = pair.bob.sessions
        assert (pair.bob.cue(session, Due()).session is None) == (beyond == 0)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@EACH_KIND
def test_texts_are_answered_with_a_goodbye_once_in_so_long(name: str, beyond: int) -> None:
    pair = met(name)
    close(pair.alice)
    pair.clock.now += limits.GOODBYE_GAP_MS
    assert len(pair.deliver(pair.bob.seal(b"one", pair.alice.me)[0]).sent) == 1
    pair.clock.now += limits.GOODBYE_GAP_MS + beyond
    assert len(pair.deliver(pair.bob.seal(b"two", pair.alice.me)[0]).sent) == (beyond >= 0)


@EACH_KIND
def test_a_clock_that_was_set_back_does_not_keep_the_goodbye_unsaid(name: str) -> None:
    pair = met(name)
    close(pair.alice)
    pair.clock.now -= 10 * limits.GOODBYE_GAP_MS
    assert len(pair.deliver(pair.bob.seal(b"one", pair.alice.me)[0]).sent) == 1


@ALL
def test_a_session_too_old_to_seal_still_says_goodbye(name: str) -> None:
    pair = met(name)
    pair.clock.now += limits.SESSION_MS
    for party in (pair.alice, pair.bob):
        (session,) = party.sessions
        party.cue(session, Due())
    (goodbye,) = close(pair.alice)
    (answer,) = pair.deliver(goodbye).sent
    assert pair.deliver(answer).session is None
    assert pair.bob.sessions == {}


@ALL
def test_a_goodbye_before_the_handshake_was_heard_heals_when_its_last_message_came_late(name: str) -> None:
    pair = pair_of(name)
    third = Meeting(pair).third(Meeting(pair).second(Meeting(pair).first()))
    (goodbye,) = close(pair.alice)
    assert refused(lambda: pair.deliver(goodbye)) is not None
    pair.deliver(third)
    pair.clock.now += limits.GOODBYE_GAP_MS
    took = pair.deliver(pair.bob.seal(b"are you there?", pair.alice.me)[0])
    assert [plain.body for plain in took.plain] == [b"are you there?"]
    assert pair.settle(took.sent) == []
    assert pair.alice.sessions == pair.bob.sessions == {}


def test_a_chain_with_no_place_left_for_a_goodbye_says_it_when_the_other_end_turns() -> None:
    pair = pair_of("healing-noise-xk1/1")
    pair.meet()
    crossing = pair.bob.seal(b"crossing", pair.alice.me)[0]
    while only(pair.alice, Running).grade is not None:
        (last,) = pair.alice.seal(b"on and on", pair.bob.me)
    assert close(pair.alice) == ()
    took = pair.deliver(crossing)
    if took.sent:  # his text was a turn already: then there is a new chain, and it is said there
        (goodbye,) = took.sent
    else:
        pair.deliver(last)
        (goodbye,) = pair.deliver(pair.bob.seal(b"a turn", pair.alice.me)[0]).sent
    (answer,) = pair.deliver(goodbye).sent
    pair.deliver(answer)
    assert pair.alice.sessions == {}
    assert only(pair.bob, Running).grade is None


def test_both_kinds_of_flight_have_as_many_pauses() -> None:
    """What is stored of one is a number of tries, and its phase says which pauses are meant."""
    assert len(limits.GOODBYE_MS) == len(limits.RESEND_MS)


# --- what a thief finds ----------------------------------------------------------------------------------------------


def test_the_key_that_opens_all_that_a_plain_end_ever_said_goes_with_its_goodbye() -> None:
    pair = met("noise-xk1/1")
    before = only(pair.alice, Running).inner
    assert isinstance(before, PlainSession)
    key = before.fixed.packed[35:67]
    assert key in before.snapshot()
    crossing = pair.bob.seal(b"crossing", pair.alice.me)[0]
    close(pair.alice)
    assert key not in only(pair.alice, Running).snapshot()
    pair.deliver(crossing)
    assert key not in only(pair.alice, Running).snapshot()


def test_what_only_sealing_needs_goes_with_the_goodbye() -> None:
    """The chain at once; the root key as soon as the peer has turned to our last key, which is then gone as well."""
    pair = met("healing-noise-xk1/1")
    turns = pair.bob.seal(b"a turn", pair.alice.me)[0]
    close(pair.alice)
    inner = only(pair.alice, Running).inner
    assert isinstance(inner, HealingSession)
    assert isinstance(inner.ratchet.sending, Speaking)
    assert inner.ratchet.sending.chain == bytes(32)
    pair.deliver(turns)
    inner = only(pair.alice, Running).inner
    assert isinstance(inner, HealingSession)
    assert isinstance(inner.ratchet.sending, Listening)
    assert inner.ratchet.root == bytes(32)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_session_of_too_many_messages_still_says_goodbye(monkeypatch: pytest.MonkeyPatch, beyond: int) -> None:
    pair = pair_of("healing-noise-xk1/1")
    pair.meet()
    inner = only(pair.alice, Running).inner
    assert isinstance(inner, HealingSession)
    monkeypatch.setattr(limits, "SESSION_MESSAGES", inner.ratchet.count - beyond)
    assert (only(pair.alice, Running).grade is None) == (beyond >= 0)
    (goodbye,) = close(pair.alice)
    pair.settle(pair.deliver(goodbye).sent)
    assert pair.alice.sessions == pair.bob.sessions == {}


def test_when_both_have_said_goodbye_only_the_keys_of_missing_messages_are_left() -> None:
    pair = met("healing-noise-xk1/1")
    hers = pair.alice.seal(b"late", pair.bob.me)[0]
    his = pair.bob.seal(b"late too", pair.alice.me)[0]
    (goodbye,) = close(pair.alice)
    (answer,) = pair.deliver(goodbye).sent
    pair.deliver(answer)
    for party in (pair.alice, pair.bob):
        running = only(party, Running)
        assert not isinstance(running.inner, PlainSession)
        ratchet = running.inner.ratchet
        assert ratchet.root == ratchet.receiving.chain == bytes(32)  # type: ignore[union-attr]
        assert not hasattr(ratchet.sending, "secret")
        assert sum(len(row) == 49 and row[32:33] == b"k" for row in party.drawer) == 1
    assert [plain.body for plain in pair.deliver(hers).plain] == [b"late"]
    assert [plain.body for plain in pair.deliver(his).plain] == [b"late too"]
    assert pair.alice.sessions == pair.bob.sessions == {}
