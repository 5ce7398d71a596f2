"""A device that exists twice: when that is told, to whom, and that nobody can pretend it who has no keys."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import Cloned, Forged, NotMine, Refusal, Replayed

from tests.noise.healing_support import SESSION, Couple, End, met, stream


def copied(end: End) -> End:
    """The same device, elsewhere: it draws other bytes."""
    copy = end.copy()
    copy.rng = stream("the copy's")
    return copy


def sign(reader: End, frame: bytes) -> Cloned:
    with pytest.raises(Cloned) as caught:
        reader.look(frame)
    assert caught.value.session == SESSION
    assert reader.refuses(frame) is Cloned, "it is refused again, the same way: nothing has changed"
    return caught.value


def two_that_answer() -> tuple[Couple, End]:
    """The responder owes the answer, twice over."""
    pair = met()
    return pair, copied(pair.responder)


def with_body_of(header: bytes, body: bytes) -> bytes:
    """The nametag and the sealed header of one frame, the rest of another."""
    return header[:67] + body[67:]


# --- what the peer sees ----------------------------------------------------------------------------------------------


def test_two_copies_in_one_chain_are_not_told_apart_until_they_turn() -> None:
    """The honest limit: the key of the place is gone, and anybody can set another text under a header that he saw."""
    pair = met()
    copy = copied(pair.initiator)
    assert pair.responder.open(pair.initiator.seal(b"the device says")) == b"the device says"
    assert pair.responder.refuses(copy.seal(b"the copy says")) is Replayed
    assert pair.responder.open(copy.seal(b"the copy is ahead")) == b"the copy is ahead"
    turn = pair.responder.seal(b"a turn")
    assert pair.initiator.open(turn) == copy.open(turn) == b"a turn"
    assert not sign(pair.responder, pair.initiator.seal(b"its last chain was shorter than what was opened")).ours
    assert pair.responder.open(copy.seal(b"the copy goes on")) == b"the copy goes on"
    assert not sign(pair.responder, pair.initiator.seal(b"another key in one chain")).ours


@pytest.mark.parametrize("heard", [1, 2, 5])
@pytest.mark.parametrize("of_the_copy", range(7))
def test_two_copies_that_answer_the_same_turn_are_told_by_any_message_of_the_second(
    heard: int, of_the_copy: int
) -> None:
    """At used places, at the next, and further on."""
    pair, copy = two_that_answer()
    for n in range(heard):
        pair.initiator.open(pair.responder.seal(b"the device %d" % n))
    for n in range(of_the_copy):
        copy.seal(b"lost %d" % n)
    told = sign(pair.initiator, copy.seal(b"the copy"))
    assert not told.ours
    assert pair.initiator.open(pair.responder.seal(b"the device goes on")) == b"the device goes on"


def test_a_copy_is_told_at_a_place_whose_key_is_kept_and_the_late_message_still_opens() -> None:
    pair, copy = two_that_answer()
    late, next_one = pair.responder.seal(b"late"), pair.responder.seal(b"in time")
    assert pair.initiator.open(next_one) == b"in time"
    assert not sign(pair.initiator, copy.seal(b"the copy")).ours
    assert pair.initiator.open(late) == b"late"


def test_once_the_peer_has_turned_again_the_chain_is_forgotten_and_with_it_the_sign() -> None:
    pair, copy = two_that_answer()
    pair.initiator.open(pair.responder.seal(b"one"))
    late = copy.seal(b"too late")
    pair.responder.open(pair.initiator.seal(b"a turn"))
    pair.initiator.open(pair.responder.seal(b"and back"))
    assert pair.initiator.refuses(late) is NotMine


# --- what the copied end sees on the shared topic --------------------------------------------------------------------


def test_our_own_messages_that_come_back_are_no_sign() -> None:
    pair = met()
    own = [pair.initiator.seal(b"%d" % n) for n in range(12)]
    for frame in own:
        assert pair.initiator.refuses(frame) is NotMine
    pair.responder.open(own[-1])
    pair.initiator.open(pair.responder.seal(b"a turn"))
    for frame in own:
        assert pair.initiator.refuses(frame) is NotMine


def test_a_place_of_ours_that_we_have_not_come_to_tells_that_we_exist_twice() -> None:
    """Two copies, or one store that was put back: its own messages of before come to it."""
    pair = met()
    copy = copied(pair.initiator)
    assert sign(pair.initiator, copy.seal(b"ahead")).ours


def test_who_answers_in_our_place_is_seen_before_and_after_we_answer() -> None:
    pair, copy = two_that_answer()
    frame = copy.seal(b"the copy's answer")
    assert sign(pair.responder, frame).ours
    pair.responder.seal(b"our answer")
    assert sign(pair.responder, frame).ours


def test_who_is_answered_in_our_place_is_seen_while_we_owe_the_answer() -> None:
    pair, copy = two_that_answer()
    pair.initiator.open(copy.seal(b"the copy's answer"))
    assert sign(pair.responder, pair.initiator.seal(b"an answer to the copy")).ours


def test_who_is_further_on_in_our_place_is_seen_while_we_speak() -> None:
    pair = met()
    copy = copied(pair.initiator)
    copy.open(pair.responder.seal(b"a turn that we have not seen"))
    assert sign(pair.initiator, copy.seal(b"the copy's answer")).ours


# --- nobody without keys ---------------------------------------------------------------------------------------------


def test_a_true_header_over_a_garbled_or_exchanged_text_is_no_sign() -> None:
    pair = met()
    late, one, two = (pair.initiator.seal(b"late"), pair.initiator.seal(b"one"), pair.initiator.seal(b"two"))
    pair.responder.open(one)
    for header in (one, late, two):
        for body in (one, late, two):
            frame = with_body_of(header, body)
            if frame not in (late, two):
                assert pair.responder.refuses(frame) in (Replayed, Forged)
                assert pair.initiator.refuses(frame) is NotMine
    turn = pair.responder.seal(b"a turn")
    assert pair.initiator.refuses(with_body_of(turn, one)) is Forged


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.data())
def test_who_sees_everything_and_has_no_keys_cannot_cause_the_sign(data: st.DataObject) -> None:
    """Any frame of an honest conversation, altered, cut, put together from two, at either end and at any time."""
    pair = met(data.draw(st.integers(0, 5)))
    seen: list[bytes] = []
    for _ in range(data.draw(st.integers(1, 12))):
        speaker = data.draw(st.sampled_from(pair.ends))
        frame = speaker.seal(b"text")
        seen.append(frame)
        if data.draw(st.booleans()):
            pair.other(speaker).open(frame)
        made = with_body_of(data.draw(st.sampled_from(seen)), data.draw(st.sampled_from(seen)))
        place = data.draw(st.integers(0, len(made)))
        made = made[:place] + data.draw(st.binary(max_size=2)) + made[place + data.draw(st.integers(0, 2)) :]
        for end in pair.ends:
            assert end.refuses(made) is not Cloned


def test_the_sign_tells_no_key_in_its_traceback() -> None:
    pair, copy = two_that_answer()
    pair.initiator.open(pair.responder.seal(b"one"))
    frame = copy.seal(b"two")
    with pytest.raises(Refusal) as caught:
        pair.initiator.value.open(frame, {}, now=0)
    error: BaseException | None = caught.value
    inside: list[str] = []
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            inside.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        error = error.__context__ or error.__cause__
    assert inside == ["test_the_sign_tells_no_key_in_its_traceback", "open"]
