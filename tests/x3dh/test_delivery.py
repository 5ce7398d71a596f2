"""Whatever the network does, a message opens once, and no key is used twice with one vector."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import Refusal
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit.testing.pair import Pair
from kexkit_x3dh import cipher

from tests.x3dh.support import met, seal, session, strangers

# who seals, and what happens to the frame: delivered now, late, twice, never
FATES = ("now", "late", "twice", "never")


def deliver_once(pair: Pair, sent: Sent, text: bytes, opened: set[bytes]) -> None:
    reader = pair.reader_of(sent)
    took = reader.receive(sent)
    assert took.texts == [text]
    assert text not in opened
    opened.add(text)


def must_refuse(pair: Pair, sent: Sent) -> None:
    with pytest.raises(Refusal):
        pair.reader_of(sent).receive(sent)


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(FATES)), max_size=40),
    st.randoms(use_true_random=False),
    st.booleans(),
)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_each_message_opens_once_under_loss_repetition_and_any_order(
    story: list[tuple[bool, str]], dice: random.Random, restarting: bool
) -> None:
    pair = strangers()
    for party in (pair.alice, pair.bob):
        party.restarts = restarting
    pair.alice.initiate(pair.bob.me)
    late: list[tuple[Sent, bytes]] = []
    done: list[Sent] = []
    opened: set[bytes] = set()
    for number, (by_alice, fate) in enumerate(story):
        bob_began = bool(pair.bob.sessions)
        sender = pair.alice if by_alice or not bob_began else pair.bob
        text = f"{number}".encode()
        sent = seal(sender, pair.other(sender), text)
        if fate == "late":
            late.append((sent, text))
        elif fate != "never":
            deliver_once(pair, sent, text, opened)
            done.append(sent)
            if fate == "twice":
                must_refuse(pair, sent)
        if late and dice.random() < 0.3:
            overdue, words = late.pop(dice.randrange(len(late)))
            deliver_once(pair, overdue, words, opened)
            done.append(overdue)
    dice.shuffle(late)
    for sent, text in late:
        deliver_once(pair, sent, text, opened)
    for sent in [*done, *(sent for sent, _ in late)]:
        must_refuse(pair, sent)


def test_openings_that_cross_give_two_sessions_and_both_read_both() -> None:
    pair = strangers()
    for party in (pair.alice, pair.bob):
        party.initiate(pair.other(party).me)
    crossing = [seal(pair.alice, pair.bob, b"from alice"), seal(pair.bob, pair.alice, b"from bob")]
    for sent in crossing:
        assert pair.reader_of(sent).receive(sent).texts
    assert set(pair.alice.sessions) == set(pair.bob.sessions)
    for session_id in pair.alice.sessions:
        for sender in (pair.alice, pair.bob):
            reader = pair.other(sender)
            (sent,) = sender.seal(b"again", reader.me, session=sender.sessions[session_id])
            assert reader.receive(sent).session == session_id


def test_the_ephemeral_stays_on_every_frame_until_the_responder_is_heard() -> None:
    pair = strangers()
    pair.alice.initiate(pair.bob.me)
    first = [seal(pair.alice, pair.bob, b"%d" % n) for n in range(3)]
    assert pair.bob.receive(first[2]).texts == [b"2"]  # any of them opens the session
    answer = seal(pair.bob, pair.alice, b"heard")
    assert len(seal(pair.alice, pair.bob).frame) > len(answer.frame) + 70
    pair.alice.receive(answer)
    assert len(seal(pair.alice, pair.bob).frame) < len(answer.frame) + 4
    assert pair.settle(first[:2]) == [b"0", b"1"]


def test_sessions_that_share_a_prekey_find_their_own_frames() -> None:
    """Alice begins twice with one prekey; both sessions are past their first flights and name no ephemeral."""
    pair = met()
    pair.meet()
    both = list(pair.alice.sessions)
    prekeys = {session(pair.bob, pair.alice).parties.prekey for _ in both}
    assert len(both) == 2
    assert len(prekeys) == 1
    sent: list[tuple[Sent, bytes]] = []
    for turn in range(3):
        for sender in (pair.alice, pair.bob):
            for session_id in both:
                text = f"{turn} {sender.me.installation} {session_id.hex()}".encode()
                (frame,) = sender.seal(text, pair.other(sender).me, session=sender.sessions[session_id])
                sent.append((frame, session_id))
        for frame, session_id in reversed(sent):
            assert pair.reader_of(frame).receive(frame).session == session_id
        sent.clear()


def forks(party: Party) -> Iterator[Party]:
    """The same device, put back from one copy of its store several times."""
    for number in range(3):
        yield party.copy(seed=f"fork {number}")


def test_no_key_meets_one_vector_twice_even_from_a_store_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[bytes, bytes]] = []
    genuine = cipher.seal

    def watched(message_key: bytes, vector: bytes, body: bytes, header: bytes) -> bytes:
        used.append((message_key, vector))
        return genuine(message_key, vector, body, header)

    monkeypatch.setattr(cipher, "seal", watched)
    pair = met()
    for turn in range(4):
        for sender in (pair.alice, pair.bob):
            for fork in forks(sender):
                for number in range(3):
                    seal(fork, pair.other(sender), b"%d" % number)
            pair.say(sender, b"turn %d" % turn)
    assert len(set(used)) == len(used)
    assert len({key for key, _ in used}) < len(used)  # the copies did use the same keys
