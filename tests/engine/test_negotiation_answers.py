"""Answers to confirmations that are not what they should be: the session is frozen, and what was said is said again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from kexkit._engine.consenting import Consent
from kexkit._negotiation import Confirming
from kexkit._transitions import State
from kexkit._wire.confirms import (
    Ruling,
    Verdict,
    encode_verdict,
    read_verdict,
)
from kexkit.api import Device
from kexkit.limits import QUIET_MS

from tests.engine.negotiating_peers import (
    ONE,
    ONLY_FRAME,
    PSK_NAME,
    Meeting,
    Said,
    edited,
    meeting,
)
from tests.engine.test_negotiation_refusals import NEW, OLD, first_flight, outdated

# --- what the responder says is not so -------------------------------------------------------------------------------


def answering(world: Meeting, change: Callable[[Verdict], Verdict | None], *, times: int = 1) -> None:
    """Bob's first answers are others than he gave."""
    bob = world.bob.me
    left = [times]

    def lie(raw: bytes | None) -> bytes | None:
        assert raw is not None
        said = change(read_verdict(raw))
        return None if said is None else encode_verdict(said)

    def edit(said: Said) -> bytes:
        if said.who != bob or said.verdict is None or not left[0]:
            return said.body
        left[0] -= 1
        return edited(said, lie)

    world.tap.edit = edit


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda verdict: evolve(verdict, record=bytes(32)), "ConfirmationMismatch"),
        (lambda verdict: evolve(verdict, session=bytes(32)), "ConfirmationMismatch"),
    ],
    ids=["record", "session"],
)
def test_an_answer_to_another_question_freezes_the_session_and_the_text_goes_over_a_new_one(
    change: Callable[[Verdict], Verdict], cause: str
) -> None:
    with meeting(18, OLD, OLD) as world:
        answering(world, change)
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        assert world.troubles("alice") == [cause]
        assert world.states("alice", "bob")[ONE][0] is State.FROZEN
        assert world.device("alice", "bob").attempts == 1
        world.until_rest()
        assert world.states("alice", "bob")[ONE][-1] is State.OPEN
        world.must_agree()


def test_a_device_that_makes_offers_and_answers_without_confirming_is_not_believed() -> None:
    with meeting(19, OLD, OLD) as world:
        world.introduce()
        first_flight(world, introduced=True)
        world.leave("bob")
        world.skip("alice")
        bob = world.bob.me
        world.tap.edit = lambda said: edited(said, lambda raw: None) if said.who == bob and said.texts else said.body
        world.send("bob", "alice", "without a confirmation")
        world.leave("bob")
        world.read("alice")
        assert world.troubles("alice") == ["ConfirmationMissing"]
        assert world.states("alice", "bob") == {ONE: [State.FROZEN]}
        assert not world.told("alice")
        assert len(world.alice.table("withheld")) == 1
        world.tap.edit = None
        world.until_rest()
        assert world.consent("alice", "bob", Consent.RELEASE) == 1
        assert sum(text == "without a confirmation" for text in world.told("alice")) == 1


@pytest.mark.parametrize("first", [Ruling.ACCEPTED, Ruling.POLICY])
def test_a_session_that_was_accepted_and_refused_is_frozen(first: Ruling) -> None:
    """Whichever was said first."""
    with meeting(20, OLD, OLD) as world:
        world.introduce()
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        (session,) = world.refs("bob", "alice")
        second = Ruling.POLICY if first is Ruling.ACCEPTED else Ruling.ACCEPTED
        rulings = iter([first, second])
        bob = world.bob.me

        def lie(said: Said) -> bytes:
            def change(raw: bytes | None) -> bytes:
                assert raw is not None
                return encode_verdict(evolve(read_verdict(raw), ruling=next(rulings)))

            return edited(said, change) if said.who == bob and said.session == session.id else said.body

        world.skip("alice")
        world.bob.queue.clear()
        world.tap.edit = lie
        for _ in range(2):
            world.send("bob", "alice")
        for envelope in world.leave("bob"):
            world.alice.receive(envelope)
        assert world.troubles("alice")[-1] == "ConfirmationConflict"
        assert next(State(ref.state) for ref in world.refs("alice", "bob") if ref.id == session.id) is State.FROZEN


def said_instead(who: Device, raw: bytes) -> Callable[[Said], bytes]:
    return lambda said: edited(said, lambda _: raw) if said.who == who else said.body


def test_the_answer_may_be_any_bytes_and_changes_nothing() -> None:
    with meeting(21, OLD, OLD) as world:
        first_flight(world)
        bob = world.bob.me
        world.leave("bob")
        world.skip("alice")
        for raw in (b"", b"\x00", b"\x01\x02", b"\x01\x03" + bytes(200), b"\x02" * 107):
            world.tap.edit = lambda said, raw=raw: (
                edited(said, lambda _: raw or b"\xff") if said.who == bob else said.body
            )
            world.send("bob", "alice")
            before = dict(world.alice.table("session"))
            world.leave("bob")
            world.read("alice")
            assert world.states("alice", "bob") == {ONE: [State.PROVISIONAL]}
            assert dict(world.alice.table("session")) == before
        assert not world.troubles("alice")
        world.tap.edit = None
        world.send("bob", "alice")
        world.settle()
        assert world.states("alice", "bob") == {ONE: [State.OPEN]}


def test_confirming_is_over_when_a_session_is_refused_or_frozen() -> None:
    with meeting(22, NEW, OLD) as world:
        outdated(world, NEW)
        world.send("alice", "bob")
        world.until_rest()
        refused = [ref for ref in world.refs("alice", "bob") if State(ref.state) is State.REFUSED]
        assert [ref.confirming for ref in refused] == [Confirming.SETTLED]
        assert refused[0].id not in world.alice.table("confirm")


# --- nobody answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_session_that_is_never_answered_is_given_up_after_so_long_and_what_was_said_in_it_is_said_again(
    beyond: int,
) -> None:
    """Its beginning may be too old to be read by then: without another one the chat would stand still for good."""
    with meeting(40, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob", "one")
        (first,) = world.refs("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        world.clock.now = first.since + QUIET_MS + beyond
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob", "two")
        assert (world.states("alice", "bob")[PSK_NAME][0] is State.STALE) == (beyond >= 0)
        world.until_rest()
        assert sorted(world.told("bob")) == ["one", "two"]
        world.must_agree()
