"""Both ends make one choice, tell each other so inside the session, and go on telling until it is known to be known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kexkit._negotiation import choose
from kexkit._transitions import State
from kexkit._wire.confirms import Ruling, record_digest
from kexkit.api import Envelope, Guarantee
from kexkit.events import SessionOpened
from kexkit.limits import ANSWER_AGAIN_MS, CONFIRM_AGAIN_MS
from kexkit.policy import Policy
from kexkit.testing import Faults

from tests.engine.negotiating_peers import (
    BARE,
    FRAME,
    KITS,
    ONE,
    ONLY_FRAME,
    PSK_NAME,
    SLOT,
    THREE,
    TWO,
    Kit,
    Meeting,
    meeting,
    psk,
)
from tests.world.ciphers import watching
from tests.world.peer import Peer

EACH = pytest.mark.parametrize("kit", KITS.values(), ids=list(KITS))
OFFLINE = pytest.mark.parametrize("kit", [KITS["frame"], KITS["slot"]], ids=["frame", "slot"])
"""those of which the first text can leave without an answer"""
Envelopes = list[Envelope]
PLUGINS = {ONE: psk(ONE), TWO: psk(TWO), THREE: psk(THREE)}


def listing(*names: str, policy: Policy | None = None) -> Kit:
    kit = Kit(tuple(PLUGINS[name] for name in names))
    return kit if policy is None else Kit(kit.plugins, policy)


def until_bob_answers(world: Meeting) -> None:
    """His answer is in his outbox; nothing else is under way."""
    for _ in range(10):
        world.leave("alice")
        world.read("bob")
        if world.said("bob"):
            return
        world.leave("bob")
        world.read("alice")
        world.work("alice")
    raise AssertionError("bob never answers")


# --- the choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((ONE, TWO), (TWO, ONE)),
        ((ONE, TWO, THREE), (TWO, THREE, ONE)),
        ((ONE, TWO, THREE), (THREE, TWO)),
        ((THREE, ONE), (ONE, TWO, THREE)),
        ((ONE, THREE), (TWO, THREE)),
    ],
)
@pytest.mark.parametrize("beginner", ["alice", "bob"])
def test_whoever_begins_both_open_the_same_and_it_is_best_for_both(
    ours: tuple[str, ...], theirs: tuple[str, ...], beginner: str
) -> None:
    with meeting(1, listing(*ours), listing(*theirs)) as world:
        world.introduce()
        world.send(beginner, "bob" if beginner == "alice" else "alice")
        world.until_rest(2)
        best = choose(ours, theirs)
        assert best is not None
        assert world.states("alice", "bob") == {best: [State.OPEN]} == world.states("bob", "alice")
        world.must_agree()


def test_an_offer_lists_what_policy_allows_in_the_order_of_preference() -> None:
    two_of_three = Policy(Guarantee.SECRET, frozenset({TWO, THREE}))
    with meeting(2, listing(THREE, ONE, TWO, policy=two_of_three), ONLY_FRAME) as world:
        assert [entry.name for entry in world.offer_of("alice").body.entries] == [THREE, TWO]


def test_an_offer_lists_nothing_that_cannot_reach_what_policy_demands() -> None:
    demanding = Kit((psk(ONE), psk(TWO, Guarantee.FORWARD_SECRECY)), Policy())
    with meeting(3, demanding, ONLY_FRAME) as world:
        assert [entry.name for entry in world.offer_of("alice").body.entries] == [TWO]


def test_the_initiator_tells_what_it_allows_as_a_mask_over_its_own_offer() -> None:
    with meeting(4, listing(THREE, ONE, TWO), listing(TWO, ONE)) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        confirm = world.said("alice")[0].confirm
        assert confirm is not None
        assert confirm.offer == world.offer_of("alice").received
        assert confirm.mask == 0b111
        assert (confirm.mechanism, confirm.previous) == (ONE, None)
        assert confirm.offer_digest == world.offer_of("bob").digest


@EACH
def test_both_ends_of_an_open_session_hold_the_same_record(kit: Kit) -> None:
    with meeting(5, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        world.until_rest()
        (ours,), (theirs,) = world.refs("alice", "bob"), world.refs("bob", "alice")
        assert (ours.id, ours.record) == (theirs.id, theirs.record)
        first = next(said for said in world.said("alice") if said.confirm)
        assert first.raw is not None
        assert ours.record == record_digest(first.raw)


# --- how long it is told ---------------------------------------------------------------------------------------------


@OFFLINE
def test_the_confirmation_is_in_every_payload_in_the_same_bytes_until_it_is_answered(kit: Kit) -> None:
    with meeting(6, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        for _ in range(4):
            world.send("alice", "bob")
        assert len({said.raw for said in world.said("alice")}) == 1
        assert all(said.confirm is not None and said.texts for said in world.said("alice"))
        assert len(world.said("alice")) == 5
        world.settle()
        world.send("alice", "bob")
        assert world.said("alice")[-1].raw is None
        world.settle()
        world.must_agree()


def test_after_a_handshake_the_confirmation_leaves_at_once_and_is_in_every_text() -> None:
    with meeting(7, KITS["bare"], KITS["bare"]) as world:
        world.introduce()
        world.send("alice", "bob")
        while not world.said("alice"):
            world.leave("alice")
            world.read("bob")
            world.leave("bob")
            world.read("alice")
        (alone,) = world.said("alice")
        assert (alone.texts, alone.confirm is not None) == ((), True)
        world.work("alice")
        world.send("alice", "bob")
        assert {said.raw for said in world.said("alice")} == {alone.raw}
        assert [len(said.texts) for said in world.said("alice")] == [0, 1, 1]
        world.until_rest(1)
        world.must_agree()


@EACH
def test_the_responder_answers_at_once_and_in_every_payload_until_one_comes_without_a_confirmation(kit: Kit) -> None:
    with meeting(8, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        until_bob_answers(world)
        answer = world.said("bob")[0]
        assert answer.verdict is not None
        assert (answer.texts, answer.verdict.ruling) == ((), Ruling.ACCEPTED)
        for _ in range(3):
            world.send("bob", "alice")
        assert [len(said.texts) for said in world.said("bob")] == [0, 1, 1, 1]
        assert {said.raw for said in world.said("bob")} == {answer.raw}
        world.settle()
        world.send("alice", "bob")  # without one: now bob knows that his answer came
        world.settle()
        world.send("bob", "alice")
        assert world.said("bob")[-1].raw is None
        world.settle()
        world.must_agree()


def test_texts_of_an_open_session_travel_as_they_would_without_negotiation() -> None:
    """Once both know, nothing is wrapped any more: what Status sends bare stays bare."""
    with meeting(9, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        for who, whom in [("alice", "bob"), ("bob", "alice"), ("alice", "bob"), ("bob", "alice")]:
            world.send(who, whom)
            world.settle()
        last = world.said("bob")[-1]
        assert last.texts == (last.body,)


# --- loss, copies, order ---------------------------------------------------------------------------------------------


@EACH
def test_an_answer_that_is_lost_comes_again_with_the_next_text_of_either(kit: Kit) -> None:
    with meeting(10, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        until_bob_answers(world)
        world.leave("bob")
        world.skip("alice")  # the answer
        assert State.PROVISIONAL in [State(ref.state) for ref in world.refs("alice", "bob")]
        world.send("bob", "alice")
        world.leave("bob")
        world.read("alice")
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.OPEN]
        assert world.told("alice")


@EACH
def test_a_question_that_comes_again_is_answered_again_but_not_at_once(kit: Kit) -> None:
    with meeting(11, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        until_bob_answers(world)
        world.leave("bob")
        world.skip("alice")
        answered = len(world.said("bob"))
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.said("bob")) == answered, "each copy of a question is a frame of ours"
        world.clock.now += ANSWER_AGAIN_MS
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.said("bob")) == answered + 1
        world.settle()
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.OPEN]


def test_after_a_handshake_a_question_that_nobody_answers_is_asked_again_without_a_text() -> None:
    with meeting(12, KITS["bare"], KITS["bare"]) as world:
        world.introduce()
        world.send("alice", "bob")
        until_bob_answers(world)
        world.leave("bob")
        world.skip("alice")
        asked = len(world.said("alice"))
        world.pass_time(CONFIRM_AGAIN_MS - 1)
        assert len(world.said("alice")) == asked
        world.pass_time(1)
        assert [len(said.texts) for said in world.said("alice")[asked:]] == [0]
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.OPEN]
        world.must_agree()


def in_any_order(world: Meeting, change: Callable[[Envelopes], Envelopes]) -> None:
    """Alice's five first texts reach bob so, and then bob's five reach alice so."""
    for who, whom in [("alice", "bob"), ("bob", "alice"), ("alice", "bob")]:
        for _ in range(5):
            world.send(who, whom)
        envelopes = world.leave(who)
        world.skip(whom)
        for envelope in change(envelopes):
            world.peers[whom].receive(envelope)
    world.settle()


@pytest.mark.parametrize(
    "change",
    [lambda e: e[::-1], lambda e: e + e, lambda e: e[2:] + e[:2], lambda e: e[::-1] * 2, lambda e: e[1:] + e[:1]],
    ids=["reversed", "doubled", "rotated", "reversed and doubled", "first last"],
)
@OFFLINE
def test_order_and_copies_are_no_matter(kit: Kit, change: Callable[[Envelopes], Envelopes]) -> None:
    with meeting(13, kit, kit) as world:
        world.introduce()
        world.settle()
        in_any_order(world, change)
        world.quiesce(1)
        world.must_agree()
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.OPEN]
        assert [State(ref.state) for ref in world.refs("bob", "alice")] == [State.OPEN]
        assert not world.troubles("alice")
        assert not world.troubles("bob")


@pytest.mark.parametrize("seed", range(4))
@EACH
def test_a_bad_network_costs_nothing_but_time(kit: Kit, seed: int) -> None:
    with meeting(seed, kit, kit) as world:
        world.introduce()
        world.settle()
        world.network.set_faults(Faults(loss=0.3, duplication=0.3, reordering=0.3))
        for number in range(12):
            world.send(*(("alice", "bob") if number % 3 else ("bob", "alice")))
            world.settle()
            world.clock.now += 20_000
        world.quiesce(3)
        world.must_agree()
        assert State.OPEN in [State(ref.state) for ref in world.refs("alice", "bob")]
        assert not world.troubles("alice") + world.troubles("bob")


# --- restarts --------------------------------------------------------------------------------------------------------


class Restarting(Meeting):
    """After the nth step from now, both processes are killed and started again from their rows."""

    steps = 0
    fatal = -1

    @contextmanager
    def step(self, peer: Peer) -> Iterator[None]:
        with super().step(peer):
            yield
        self.steps += 1
        if self.steps == self.fatal:
            for each in self.peers.values():
                each.crash()


def conversation(world: Meeting) -> None:
    world.send("alice", "bob")
    world.settle()
    world.send("bob", "alice")
    world.settle()
    world.send("alice", "bob")
    world.pass_time(10_000)
    world.pass_time(CONFIRM_AGAIN_MS)


def restarted_at(kit: Kit, fatal: int) -> int:
    with watching() as ciphers:
        world = Restarting(14, ciphers, {"alice": kit, "bob": kit})
        world.introduce()
        world.settle()
        world.steps, world.fatal = 0, fatal
        conversation(world)
        taken = world.steps
        world.quiesce(1)
        world.must_agree()
        for who, whom in [("alice", "bob"), ("bob", "alice")]:
            assert [State(ref.state) for ref in world.refs(who, whom)] == [State.OPEN], f"killed after step {fatal}"
            assert not world.troubles(who)
        raws = {said.raw for said in world.said("alice") if said.confirm}
        assert len(raws) == 1
    return taken


@EACH
def test_both_may_be_killed_between_any_two_steps(kit: Kit) -> None:
    """All steps of a first conversation, one after another; each time the confirmation keeps its bytes."""
    total = restarted_at(kit, -1)
    assert total > 10
    for fatal in range(1, total + 1):
        restarted_at(kit, fatal)


# --- what is told ----------------------------------------------------------------------------------------------------


@EACH
def test_the_responder_opens_with_the_first_payload_and_the_initiator_with_the_answer(kit: Kit) -> None:
    with meeting(15, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        until_bob_answers(world)
        assert [State(ref.state) for ref in world.refs("bob", "alice")] == [State.OPEN]
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.PROVISIONAL]
        world.settle()
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.OPEN]
        (told,) = world.told_of("bob", SessionOpened)
        assert (told.session_id, told.ours) == (world.refs("alice", "bob")[0].id, False)


def test_of_several_exchanges_of_every_carriage_one_is_used_and_the_others_sleep() -> None:
    kit = Kit((BARE, FRAME, SLOT))
    with meeting(16, kit, Kit((SLOT, FRAME, BARE))) as world:
        world.introduce()
        world.send("alice", "bob")
        world.until_rest(1)
        assert world.states("alice", "bob") == {PSK_NAME: [State.OPEN]} == world.states("bob", "alice")
        assert {said.mechanism for said in world.tap.all} == {PSK_NAME}
        world.must_agree()
