"""The bounds of negotiating, at one less, at the bound, at one more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from kexkit import _records as records
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit.events import Waiting
from kexkit.limits import (
    ANSWER_AGAIN_MS,
    ATTEMPT_AGAIN_MS,
    ATTEMPTS,
    CONFIRM_AGAIN_MS,
    OWN_OFFER_GRACE_MS,
    OWN_OFFER_LIFETIME_MS,
    OWN_OFFERS,
    PROVISIONAL_MS,
    PROVISIONAL_TEXTS,
    QUIET_MS,
)

from tests.engine.negotiating_peers import (
    LADDER,
    ONE,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    TWO,
    Kit,
    Meeting,
    Said,
    edited,
    meeting,
    psk,
)
from tests.kits.toy_ladder import AGAIN, TRIES
from tests.world.world import HOUR

AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])
OFFLINE = pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT], ids=["frame", "slot"])
BOTH = Kit((psk(ONE), psk(TWO)))
NEWER = Kit((psk(TWO), psk(ONE)))
NOW = 1_800_000_000_000


def silent(world: Meeting) -> None:
    """Bob is switched off."""
    world.introduce()
    world.settle()
    world.network.offline("bob")


def texts_in(world: Meeting, who: str) -> int:
    return sum(len(said.texts) for said in world.said(who))


# --- before the peer has confirmed -----------------------------------------------------------------------------------


@AROUND
@OFFLINE
def test_so_many_texts_leave_before_the_peer_has_confirmed(kit: Kit, beyond: int) -> None:
    with meeting(1, kit, kit) as world:
        silent(world)
        for _ in range(PROVISIONAL_TEXTS + beyond):
            world.send("alice", "bob")
        world.leave("alice")
        assert texts_in(world, "alice") == PROVISIONAL_TEXTS + min(beyond, 0)
        assert len(world.alice.table("waiting")) == max(beyond, 0)
        assert world.causes("alice") == ({"Unconfirmed"} if beyond > 0 else set())
        world.network.online("bob")
        world.quiesce()
        world.must_agree()


@AROUND
@OFFLINE
def test_for_so_long_texts_leave_before_the_peer_has_confirmed(kit: Kit, beyond: int) -> None:
    with meeting(2, kit, kit) as world:
        silent(world)
        world.send("alice", "bob")
        world.leave("alice")
        began = world.refs("alice", "bob")[0].since
        world.clock.now = began + PROVISIONAL_MS + beyond
        world.send("alice", "bob")
        assert texts_in(world, "alice") == (2 if beyond < 0 else 1)
        assert world.causes("alice") == (set() if beyond < 0 else {"Unconfirmed"})
        assert [State(ref.state) for ref in world.refs("alice", "bob")] == [State.PROVISIONAL]
        world.network.online("bob")
        world.quiesce()
        world.must_agree()


def test_what_is_due_between_leaves_nothing_in_the_provisional_session_uncounted() -> None:
    """Texts that waited for keys are counted like those that left at once, over restarts too."""
    with meeting(3, ONLY_FRAME, ONLY_FRAME) as world:
        silent(world)
        for _ in range(PROVISIONAL_TEXTS // 2):
            world.send("alice", "bob")
        world.crash("alice")
        world.send_together("alice", "bob", PROVISIONAL_TEXTS)
        assert texts_in(world, "alice") == PROVISIONAL_TEXTS


@AROUND
def test_a_question_is_asked_again_after_so_long_and_then_after_twice_as_long(beyond: int) -> None:
    with meeting(4, ONLY_BARE, ONLY_BARE) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        while not world.said("alice"):
            world.leave("alice")
            world.read("bob")
            world.leave("bob")
            world.read("alice")
        world.network.offline("bob")
        world.work("alice")
        asked = [world.refs("alice", "bob")[0].since]
        alone = sum(not said.texts for said in world.said("alice"))
        world.clock.now = asked[0] + CONFIRM_AGAIN_MS + beyond
        world.work("alice")
        assert sum(not said.texts for said in world.said("alice")) == alone + (beyond >= 0)
        times = []
        for _ in range(70):
            before = len(world.said("alice"))
            world.clock.now += CONFIRM_AGAIN_MS // 2
            world.work("alice")
            if len(world.said("alice")) > before:
                times.append(world.clock.now)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert len(gaps) >= 3
        assert all(later > earlier * 1.5 for earlier, later in pairwise(gaps)), gaps


@AROUND
def test_an_answer_is_given_again_after_so_long_and_no_sooner(beyond: int) -> None:
    with meeting(5, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.said("bob")) == 1
        world.clock.now += ANSWER_AGAIN_MS + beyond
        for _ in range(3):
            world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.said("bob")) == (1 if beyond < 0 else 2)


# --- attempts --------------------------------------------------------------------------------------------------------


def always_wrong(world: Meeting) -> None:
    """Whatever bob's answers to confirmations are, they arrive as answers to something else."""
    bob = world.bob.me

    def edit(said: Said) -> bytes:
        if said.who != bob or said.verdict is None:
            return said.body
        return edited(said, lambda raw: (raw or b"")[:34] + bytes(32) + (raw or b"")[66:])

    world.tap.edit = edit


def begun(world: Meeting) -> int:
    """How many sessions alice has begun."""
    return len({said.session for said in world.said("alice")})


def test_so_many_beginnings_may_fail_each_waits_longer_and_none_is_over_anything_else() -> None:
    """Two mechanisms are there, and only the better one is ever tried: a failure never makes the choice less."""
    with meeting(6, BOTH, BOTH) as world:
        world.introduce()
        world.settle()
        always_wrong(world)
        world.send("alice", "bob")
        world.settle()
        assert begun(world) == 1
        for turn in range(ATTEMPTS - 1):
            world.pass_time(ATTEMPT_AGAIN_MS * 5**turn - 1)
            assert begun(world) == turn + 1
            world.pass_time(1)
            assert begun(world) == turn + 2
        world.pass_time(ATTEMPT_AGAIN_MS * 5**ATTEMPTS)
        assert begun(world) == ATTEMPTS == world.device("alice", "bob").attempts
        assert {said.mechanism for said in world.said("alice")} == {ONE}
        assert cause_now(world) == {"NegotiationFailed"}
        assert len(world.alice.table("waiting")) == 2, "both texts wait, and neither is lost"


def cause_now(world: Meeting) -> set[str]:
    """Why a text that is sent now waits."""
    before = len(world.told_of("alice", Waiting))
    world.send("alice", "bob")
    return {event.cause for event in world.told_of("alice", Waiting)[before:]}


def test_handshakes_that_nobody_answers_are_failures_too() -> None:
    """The mechanism gives up by itself, after some minutes; then it waits longer each time, and in the end for good."""
    with meeting(18, Kit((LADDER,)), Kit((LADDER,))) as world:
        silent(world)
        world.send("alice", "bob")
        begun_at: list[int] = []
        known: set[bytes] = set()
        for _ in range(2 * HOUR // AGAIN):
            world.clock.now += AGAIN
            world.work("alice")
            new = {ref.id for ref in world.refs("alice", "bob")} - known
            known |= new
            begun_at += [world.clock.now] * len(new)
        gaps = [later - earlier for earlier, later in pairwise(begun_at)]
        assert len(gaps) == 3, "after that bob's keys have expired"
        for turn, gap in enumerate(gaps):
            assert ATTEMPT_AGAIN_MS * 5**turn <= gap <= ATTEMPT_AGAIN_MS * 5**turn + (TRIES + 3) * AGAIN
        assert world.device("alice", "bob").attempts == len(begun_at)
        assert len(world.alice.table("waiting")) == 1


@AROUND
def test_after_so_many_failures_nothing_begins(beyond: int) -> None:
    with meeting(7, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        preset_attempts(world, ATTEMPTS + beyond, resume=0)
        assert cause_now(world) == (set() if beyond < 0 else {"NegotiationFailed"})
        assert bool(world.refs("alice", "bob")) == (beyond < 0)


@AROUND
def test_after_a_failure_nothing_begins_for_so_long(beyond: int) -> None:
    with meeting(8, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        always_wrong(world)
        world.send("alice", "bob")
        world.settle()
        failed_at = world.clock.now
        assert world.device("alice", "bob").resume == failed_at + ATTEMPT_AGAIN_MS
        world.clock.now = failed_at + ATTEMPT_AGAIN_MS + beyond
        assert cause_now(world) == ({"NegotiationFailed"} if beyond < 0 else set())


def preset_attempts(world: Meeting, attempts: int, *, resume: int) -> None:
    from kexkit.api import Change

    key = records.peer_key(world.bob.me.identity)
    row = world.alice.rows.read((key,))[key]
    person = records.read_peer(row.value)
    for device in person.devices:
        device.attempts, device.resume = attempts, resume
    world.alice.rows.commit(Change({key: row.revision}, {key: records.write(person)}))
    world.alice.crash()


def test_a_newer_offer_forgives_what_failed() -> None:
    with meeting(9, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        preset_attempts(world, ATTEMPTS, resume=NOW * 2)
        assert cause_now(world) == {"NegotiationFailed"}
        world.equip("bob", Kit((*ONLY_FRAME.plugins, psk(ONE))))
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.until_rest()
        assert world.device("alice", "bob").attempts == 0
        world.must_agree()


def test_the_same_offer_again_forgives_nothing() -> None:
    with meeting(10, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        preset_attempts(world, ATTEMPTS, resume=0)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.settle()
        assert world.device("alice", "bob").attempts == ATTEMPTS
        assert cause_now(world) == {"NegotiationFailed"}


def test_a_person_may_try_again_what_failed() -> None:
    with meeting(11, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        preset_attempts(world, ATTEMPTS, resume=0)
        assert cause_now(world) == {"NegotiationFailed"}
        world.consent("alice", "bob", Consent.AGAIN)
        world.settle()
        world.must_agree()


def test_a_session_that_opens_forgives_what_failed_before() -> None:
    with meeting(12, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        always_wrong(world)
        world.send("alice", "bob")
        world.settle()
        assert world.device("alice", "bob").attempts == 1
        world.tap.edit = None
        world.pass_time(ATTEMPT_AGAIN_MS)
        world.until_rest(1)
        assert world.device("alice", "bob").attempts == 0
        assert world.device("alice", "bob").resume == 0
        world.must_agree()


# --- what was replaced -----------------------------------------------------------------------------------------------


def replaced(world: Meeting) -> bytes:
    """The session over the one mechanism that gave way to the other; both ends have opened the new one."""
    world.introduce()
    world.send("alice", "bob")
    world.settle()
    world.send("bob", "alice")
    world.settle()
    (old,) = world.refs("alice", "bob")
    world.equip("bob", NEWER)
    world.give("alice", world.offer_of("bob").received, of="bob")
    world.send("alice", "bob")
    world.settle()
    assert world.states("alice", "bob") == {ONE: [State.STALE], TWO: [State.OPEN]}
    return bytes(old.id)


@AROUND
def test_what_was_replaced_hears_until_it_was_quiet_for_so_long(beyond: int) -> None:
    with meeting(13, NEWER, Kit((psk(ONE),))) as world:
        old = replaced(world)
        since = next(ref.since for ref in world.refs("alice", "bob") if ref.id == old)
        world.clock.now = since + QUIET_MS + beyond
        world.work("alice")
        assert (old in world.alice.table("session")) == (beyond < 0)
        assert (old in {ref.id for ref in world.refs("alice", "bob")}) == (beyond < 0)
        assert (old in world.alice.table("place")) == (beyond < 0)


def test_what_still_comes_in_a_replaced_session_keeps_it() -> None:
    with meeting(14, NEWER, Kit((psk(ONE),))) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()
        (old,) = world.refs("alice", "bob")
        world.send("bob", "alice", "very late")
        late = world.leave("bob")
        world.skip("alice")
        world.equip("bob", NEWER)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob")
        world.settle()
        world.clock.now += QUIET_MS - 1
        for envelope in late:
            world.alice.receive(envelope)
        assert "very late" in world.told("alice")
        world.clock.now += 1
        world.work("alice")
        world.clock.now += QUIET_MS - 2
        world.work("alice")
        assert old.id in world.alice.table("session")
        world.clock.now += 1
        world.work("alice")
        assert old.id not in world.alice.table("session")


# --- our own offers --------------------------------------------------------------------------------------------------


def kept_offers(world: Meeting, who: str) -> set[bytes]:
    return set(world.peers[who].table("offered"))


@AROUND
def test_an_offer_of_ours_is_answered_until_so_long_after_its_end(beyond: int) -> None:
    with meeting(15, ONLY_BARE, ONLY_BARE) as world:
        first = world.offer_of("alice")
        end = first.body.not_after * 1000 + OWN_OFFER_GRACE_MS
        assert first.digest in kept_offers(world, "alice")
        world.clock.now = end + beyond
        world.work("alice")
        assert (first.digest in kept_offers(world, "alice")) == (beyond < 0)
        routes = {records.read_route(row.value).offer for row in world.alice.table("route").values()}
        assert (first.digest in routes) == (beyond < 0), "a route leads to an offer that is gone, or the reverse"
        assert world.offer_of("alice").digest in routes


@AROUND
def test_so_many_offers_of_ours_are_kept_and_the_oldest_goes_first(beyond: int) -> None:
    with meeting(16, ONLY_BARE, ONLY_BARE) as world:
        made = [world.offer_of("alice").digest]
        kits = [Kit((*ONLY_BARE.plugins, psk(ONE))), ONLY_BARE]
        for number in range(OWN_OFFERS + beyond - 1):
            world.clock.now += 1000
            world.equip("alice", kits[number % 2])
            made.append(world.offer_of("alice").digest)
        assert len(set(made)) == OWN_OFFERS + beyond
        assert kept_offers(world, "alice") == set(made[-OWN_OFFERS:])
        routes = {records.read_route(row.value).offer for row in world.alice.table("route").values()}
        assert routes == set(made[-OWN_OFFERS:])


@AROUND
def test_an_offer_is_signed_anew_at_half_of_its_life(beyond: int) -> None:
    with meeting(17, ONLY_SLOT, ONLY_SLOT) as world:
        first = world.offer_of("alice")
        assert first.body.not_after - first.body.not_before == OWN_OFFER_LIFETIME_MS // 1000
        world.clock.now += OWN_OFFER_LIFETIME_MS // 2 + beyond
        world.work("alice")
        after = world.offer_of("alice")
        assert (after.digest == first.digest) == (beyond < 0)
        assert after.body.entries == first.body.entries
        assert (after.body.seq == first.body.seq) == (beyond < 0)
