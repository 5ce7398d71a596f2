"""Every bound of a healing session, at one less, itself and one more."""

from __future__ import annotations

import pytest
from kexkit.errors import Cloned, Forged, InvalidInput, Limit, Malformed, NotMine, Refusal
from kexkit_noise import limits
from kexkit_noise.healing_state import Listening
from kexkit_noise.keys import key_pair

from tests.noise.healing_support import End, begun, couple, met, split_of, stream
from tests.vectors import healing_noise_reference as reference


def far_ahead(count: int) -> tuple[reference.End, End]:
    """A peer that keeps to no limit, with so many messages of its first chain sealed, and us."""
    draw, split = stream("far"), split_of("far")
    ours, theirs = key_pair(draw(32)), key_pair(draw(32))
    peer = reference.End.begin(split.k1, split.k2, split.h, theirs.private, ours.public, initiator=True)
    for _ in range(count):
        peer.seal(b"lost", b"", bytes(12))
    return peer, End(begun(split, ours, theirs.public, initiator=False), stream("us"))


@pytest.mark.parametrize(("skipped", "opens"), [(998, True), (999, True), (1000, False)])
def test_a_chain_is_followed_to_its_thousandth_message(skipped: int, opens: bool) -> None:
    assert limits.CHAIN_MESSAGES == 1000
    peer, us = far_ahead(skipped)
    frame = peer.seal(b"far", b"", bytes(12)).frame
    if not opens:
        assert us.refuses(frame) is NotMine
        return
    assert us.open(frame) == b"far"
    assert us.kept_keys() == skipped


@pytest.mark.parametrize("received", [1000, 999, 993])
def test_however_much_of_a_chain_has_come_it_has_no_message_after_its_thousandth(received: int) -> None:
    peer, us = far_ahead(received - 1)
    us.open(peer.seal(b"the last that came", b"", bytes(12)).frame)
    for _ in range(1000 - received):
        peer.seal(b"lost", b"", bytes(12))
    assert us.refuses(peer.seal(b"the thousand and first", b"", bytes(12)).frame) is NotMine


@pytest.mark.parametrize(("length", "opens"), [(999, True), (1000, True), (1001, False)])
def test_a_last_chain_is_followed_to_a_length_of_a_thousand(length: int, opens: bool) -> None:
    peer, us = far_ahead(0)
    us.open(peer.seal(b"first", b"", bytes(12)).frame)
    for _ in range(length - 1):
        peer.seal(b"lost", b"", bytes(12))
    peer.open(us.seal(b"answer"))
    frame = peer.seal(b"turned", stream("new")(32), bytes(12)).frame
    if not opens:
        assert us.refuses(frame) is Limit
        return
    assert us.open(frame) == b"turned"
    assert us.kept_keys() == length - 1


@pytest.mark.parametrize(("skipped", "opens"), [(998, True), (999, True), (1000, False)])
def test_the_next_chain_is_followed_to_its_thousandth_message(skipped: int, opens: bool) -> None:
    peer, us = far_ahead(1)
    us.open(peer.seal(b"first", b"", bytes(12)).frame)
    peer.open(us.seal(b"answer"))
    for _ in range(skipped):
        peer.seal(b"lost", stream("new")(32), bytes(12))
    frame = peer.seal(b"far", stream("new")(32), bytes(12)).frame
    if not opens:
        assert us.refuses(frame) is NotMine
        return
    assert us.open(frame) == b"far"
    assert us.kept_keys() == skipped + 1


def test_a_last_chain_shorter_than_what_came_of_it_is_a_copys() -> None:
    peer, us = far_ahead(0)
    for _ in range(3):
        us.open(peer.seal(b"text", b"", bytes(12)).frame)
    peer.open(us.seal(b"answer"))
    peer.sent = 2
    assert us.refuses(peer.seal(b"lies", stream("new")(32), bytes(12)).frame) is Cloned


def test_a_responder_cannot_have_had_a_chain_before_its_first() -> None:
    pair = couple()
    sending = pair.responder.value.ratchet.sending
    assert isinstance(sending, Listening)
    sending.n = 1  # type: ignore[misc]  # slots are open at run time
    assert pair.initiator.refuses(pair.responder.seal(b"lies")) is Forged


def test_after_a_thousand_texts_without_an_answer_a_session_seals_no_more_until_one_comes() -> None:
    pair = couple()
    for n in range(limits.CHAIN_MESSAGES):
        assert pair.initiator.value.grade is not None
        frame = pair.initiator.seal(b"%d" % n)
    assert pair.initiator.value.worn
    assert pair.initiator.value.grade is None
    with pytest.raises(InvalidInput):
        pair.initiator.seal(b"one too many")
    pair.responder.open(frame)
    pair.initiator.open(pair.responder.seal(b"an answer"))
    assert pair.responder.open(pair.initiator.seal(b"on")) == b"on"


@pytest.mark.parametrize(("before", "seals"), [(2**20 - 2, True), (2**20 - 1, True), (2**20, False)])
def test_a_session_seals_until_it_has_seen_a_million_messages(before: int, seals: bool) -> None:
    assert limits.SESSION_MESSAGES == 2**20
    pair = met()
    pair.initiator.value.ratchet.count = before  # type: ignore[misc]  # slots are open at run time
    assert pair.initiator.value.worn is not seals
    if seals:
        assert pair.responder.open(pair.initiator.seal(b"text")) == b"text"
        assert pair.initiator.value.worn is (before == 2**20 - 1)
    else:
        with pytest.raises(InvalidInput):
            pair.initiator.seal(b"text")
        assert pair.initiator.open(pair.responder.seal(b"it still opens")) == b"it still opens"


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_text_has_at_most_so_many_bytes(more: int) -> None:
    pair, text = met(), bytes(limits.BODY_BYTES + more)
    if more > 0:
        with pytest.raises(InvalidInput):
            pair.initiator.seal(text)
        return
    frame = pair.initiator.seal(text)
    assert len(frame) <= limits.PAYLOAD_BYTES
    assert pair.responder.open(frame) == text


@pytest.mark.parametrize(("more", "refusal"), [(-1, Malformed), (0, Malformed), (1, Limit)])
def test_a_frame_longer_than_a_payload_is_not_looked_at(more: int, refusal: type[Refusal]) -> None:
    assert met().responder.refuses(bytes(limits.PAYLOAD_BYTES + more)) is refusal
