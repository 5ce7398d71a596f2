"""Chats that live on: a plugin is added, a policy tightened, both begin at once, and what there was is not given up."""

from __future__ import annotations

from itertools import product

import pytest
from kexkit._transitions import State
from kexkit.api import Guarantee
from kexkit.events import OfferShrunk, Unreadable
from kexkit.limits import QUIET_MS
from kexkit.policy import Policy
from kexkit.testing import Faults

from tests.engine.negotiating_peers import (
    BARE,
    FRAME,
    HEALS,
    KITS,
    ONE,
    SLOT,
    TWO,
    Kit,
    Meeting,
    Plugin,
    loose,
    meeting,
    psk,
)

EACH = pytest.mark.parametrize("kit", KITS.values(), ids=list(KITS))
BEFORE = {"frame": loose(ONE, HEALS), "bound": psk(ONE, HEALS), "slot": SLOT, "bare": BARE}
AFTER = {"frame": loose(TWO, HEALS), "bound": psk(TWO, HEALS), "bare": BARE, "slot": SLOT}
MOVES = [(old, new) for old, new in product(BEFORE, AFTER) if {old, new} not in ({"slot"}, {"bare"})]
PAIRS = pytest.mark.parametrize(("old", "new"), MOVES, ids=[f"{old} to {new}" for old, new in MOVES])


def name_of(plugin: Plugin) -> str:
    return plugin.called or plugin.make().name


def talked(world: Meeting) -> None:
    """Both have added each other, and each has heard the other."""
    world.introduce()
    world.send("alice", "bob")
    world.settle()
    world.send("bob", "alice")
    world.settle()
    world.until_rest(1)


def heard_of(world: Meeting, who: str, whom: str) -> None:
    """An advertisement comes."""
    world.give(who, world.offer_of(whom).received, of=whom)


def last(world: Meeting, who: str) -> str:
    """Over what the last text of a peer left."""
    return [said.mechanism for said in world.said(who) if said.texts][-1]


# --- an upgrade ------------------------------------------------------------------------------------------------------


@PAIRS
@pytest.mark.parametrize("who_is_upgraded", ["alice", "bob"])
def test_a_chat_moves_to_what_was_added_and_nothing_is_lost_or_doubled(
    old: str, new: str, who_is_upgraded: str
) -> None:
    small, large = Kit((BEFORE[old],)), Kit((AFTER[new], BEFORE[old]))
    other = "bob" if who_is_upgraded == "alice" else "alice"
    with meeting(1, small if who_is_upgraded == "alice" else large, small if other == "alice" else large) as world:
        talked(world)
        world.equip(who_is_upgraded, large)
        world.quiesce(7)  # an advertisement comes, with Status's bundle where that is new
        for _ in range(4):
            world.send(who_is_upgraded, other)
            world.send(other, who_is_upgraded)
            world.until_rest(1)
        for who, whom in [("alice", "bob"), ("bob", "alice")]:
            states = world.states(who, whom)
            assert State.OPEN in states[name_of(AFTER[new])]
            assert set(states[name_of(BEFORE[old])]) == {State.STALE}
            assert last(world, who) == name_of(AFTER[new])
            assert not world.troubles(who)
        world.quiesce()
        world.must_agree()


def test_an_offer_that_came_before_is_read_again_by_a_plugin_that_is_added() -> None:
    """Nothing new need come of the peer."""
    large = Kit((psk(TWO), psk(ONE)))
    with meeting(16, Kit((psk(ONE),)), large) as world:
        talked(world)
        world.equip("alice", large)
        world.send("alice", "bob")
        assert [said.mechanism for said in world.said("alice") if said.confirm][-1] == TWO
        world.settle()
        assert world.states("alice", "bob") == {ONE: [State.STALE], TWO: [State.OPEN]}
        world.must_agree()


def test_what_a_plugin_that_is_added_cannot_read_of_an_offer_counts_as_not_offered() -> None:
    """Another secret: the old session goes on, and nothing is tried that cannot be."""
    with meeting(17, Kit((psk(ONE),)), Kit((psk(TWO), psk(ONE)))) as world:
        talked(world)
        world.equip("alice", Kit((psk(TWO, secret=bytes(32)), psk(ONE))))
        world.send("alice", "bob")
        assert last(world, "alice") == ONE
        assert list(world.device("alice", "bob").offered) == [ONE]
        world.settle()
        world.must_agree()


def test_the_new_session_names_the_one_that_it_replaces() -> None:
    with meeting(2, Kit((psk(TWO), psk(ONE))), Kit((psk(ONE),))) as world:
        talked(world)
        (old,) = world.refs("alice", "bob")
        world.equip("bob", Kit((psk(TWO), psk(ONE))))
        heard_of(world, "alice", "bob")
        world.send("alice", "bob")
        confirm = next(said.confirm for said in world.said("alice") if said.confirm and said.mechanism == TWO)
        assert confirm.previous == old.id


def test_the_old_one_goes_on_until_the_new_one_is_open() -> None:
    """The peer is switched off: not one text waits for the new session."""
    new = Kit((psk(TWO), psk(ONE)))
    with meeting(3, new, Kit((psk(ONE),))) as world:
        talked(world)
        world.equip("bob", new)
        heard_of(world, "alice", "bob")
        world.settle()
        before = len(world.said("alice"))
        for _ in range(30):
            world.send("alice", "bob")
        world.leave("alice")
        said = world.said("alice")[before:]
        assert [one.mechanism for one in said if one.texts] == [ONE] * 30
        assert [one.mechanism for one in said if not one.texts] == [TWO]
        assert not world.alice.table("waiting")
        world.settle()
        assert world.states("alice", "bob") == {ONE: [State.STALE], TWO: [State.OPEN]} == world.states("bob", "alice")
        world.send("alice", "bob")
        assert last(world, "alice") == TWO
        world.settle()
        world.must_agree()


def test_what_is_under_way_in_the_old_one_is_still_heard_and_then_it_goes() -> None:
    new = Kit((psk(TWO), psk(ONE)))
    with meeting(4, new, Kit((psk(ONE),))) as world:
        talked(world)
        (old,) = world.refs("alice", "bob")
        sent = [world.send("bob", "alice") for _ in range(3)]
        late = world.leave("bob")
        world.skip("alice")
        world.equip("bob", new)
        heard_of(world, "alice", "bob")
        world.send("alice", "bob")
        world.settle()
        assert world.states("alice", "bob") == {ONE: [State.STALE], TWO: [State.OPEN]}
        for envelope in late:
            world.alice.receive(envelope)
        assert set(sent) <= set(world.alice.history(world.bob.me.identity))
        assert world.states("alice", "bob") == {ONE: [State.STALE], TWO: [State.OPEN]}, "hearing it revives nothing"
        world.pass_time(QUIET_MS + 1)
        assert old.id not in world.alice.table("session")
        assert old.id not in world.bob.table("session")


@pytest.mark.parametrize("seed", range(2))
@PAIRS
def test_an_upgrade_on_a_bad_network_and_over_restarts_loses_and_doubles_nothing(old: str, new: str, seed: int) -> None:
    small, large = Kit((BEFORE[old],)), Kit((AFTER[new], BEFORE[old]))
    with meeting(seed, small, large) as world:
        talked(world)
        world.network.set_faults(Faults(loss=0.2, duplication=0.2, reordering=0.3))
        for turn in range(16):
            if turn == 4:
                world.equip("alice", large)
            if turn > 4 and turn % 4 == 1:
                world.crash(world.random.choice(["alice", "bob"]))
            world.send(*world.random.choice([("alice", "bob"), ("bob", "alice")]))
            world.settle()
            world.clock.now += 40_000
        world.quiesce(8)
        world.must_agree()
        world.quiesce(1)
        for who, whom in [("alice", "bob"), ("bob", "alice")] * 2:
            world.send(who, whom)
            world.until_rest(1)
        assert last(world, "alice") == last(world, "bob") == name_of(AFTER[new])


def test_a_policy_that_forbids_the_old_one_stops_its_texts_at_once_and_they_wait() -> None:
    both = Kit((psk(ONE), psk(TWO)))
    with meeting(5, both, both) as world:
        talked(world)
        assert last(world, "alice") == ONE
        only_two = Kit(both.plugins, Policy(Guarantee.SECRET, frozenset({TWO})))
        world.equip("alice", only_two)
        before = len(world.said("alice"))
        for _ in range(3):
            world.send("alice", "bob")
        assert ONE not in {said.mechanism for said in world.said("alice")[before:]}
        world.until_rest()
        assert ONE not in {said.mechanism for said in world.said("alice")[before:]}
        world.must_agree()
        world.send("bob", "alice")
        world.settle()
        assert last(world, "bob") == TWO
        assert world.told_of("bob", OfferShrunk)[-1].gone == (ONE,)


@EACH
def test_what_was_sent_over_what_the_policy_now_forbids_is_still_heard(kit: Kit) -> None:
    """It forbids to write, and to begin. Who wrote could not know."""
    both = Kit((*kit.plugins, psk(TWO, HEALS)))
    with meeting(6, both, both) as world:
        talked(world)
        world.send("bob", "alice")
        world.leave("bob")
        only_two = Kit(both.plugins, Policy(Guarantee.SECRET, frozenset({TWO})))
        world.equip("alice", only_two)
        world.until_rest()
        world.must_agree()
        world.send("alice", "bob")
        assert last(world, "alice") == TWO


def test_what_begins_over_what_the_policy_forbids_is_refused_at_once_and_said_over_what_is_allowed() -> None:
    both = Kit((loose(ONE), loose(TWO)))
    with meeting(18, both, both) as world:
        world.introduce()
        world.settle()
        world.equip("alice", Kit(both.plugins, Policy(Guarantee.SECRET, frozenset({TWO}))))
        world.work("alice")
        world.leave("alice")
        world.skip("bob")  # he does not hear that she offers less now
        world.send("bob", "alice")
        world.settle()
        assert last(world, "bob") == TWO
        assert len(world.told("alice")) == 1
        assert not any(isinstance(event, Unreadable) for event in world.alice.told_ever)
        world.until_rest()
        world.must_agree()


def test_what_begins_over_what_the_policy_forbids_is_answered_with_our_offer_where_it_names_another() -> None:
    both = Kit((psk(ONE), psk(TWO)))
    with meeting(19, both, both) as world:
        world.introduce()
        world.settle()
        world.equip("alice", Kit(both.plugins, Policy(Guarantee.SECRET, frozenset({TWO}))))
        world.send("bob", "alice")
        world.settle()
        assert last(world, "bob") == TWO
        world.must_agree()


def test_whoever_offers_something_else_says_so_at_once() -> None:
    both = Kit((loose(ONE), loose(TWO)))
    with meeting(20, both, both) as world:
        world.introduce()
        world.settle()
        world.equip("alice", Kit(both.plugins, Policy(Guarantee.SECRET, frozenset({TWO}))))
        world.settle()
        assert list(world.device("bob", "alice").offered) == [TWO]


def test_a_text_waits_for_no_answer_if_there_is_nothing_older_that_could_carry_it() -> None:
    """The older session is of a plugin that is gone: the first flight of the new one carries the text."""
    with meeting(15, Kit((psk(ONE), psk(TWO))), Kit((psk(ONE), psk(TWO)))) as world:
        talked(world)
        world.equip("alice", Kit((psk(TWO),)))
        world.send("alice", "bob")
        assert not world.alice.table("waiting")
        assert last(world, "alice") == TWO
        world.until_rest()
        world.must_agree()


def test_a_policy_that_demands_more_moves_the_chat_to_what_gives_it() -> None:
    kit = Kit((psk(ONE), psk(TWO, HEALS)))
    with meeting(7, kit, kit) as world:
        talked(world)
        assert last(world, "alice") == ONE
        world.equip("alice", Kit(kit.plugins, Policy()))
        world.send("alice", "bob")
        world.until_rest()
        assert last(world, "alice") == TWO
        world.must_agree()


# --- both begin at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@EACH
def test_both_begin_at_once_and_go_on_in_one_session(kit: Kit, seed: int) -> None:
    with meeting(seed, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        world.send("bob", "alice")
        world.leave("alice")
        world.leave("bob")
        world.until_rest(2)
        for _ in range(2):
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.settle()
        ends = [[said.session for said in world.said(who) if said.texts][-1] for who in ("alice", "bob")]
        assert ends[0] == ends[1], "each goes on in a session of its own"
        assert not world.troubles("alice") + world.troubles("bob")
        world.quiesce(1)
        world.must_agree()


@pytest.mark.parametrize("pair", [(FRAME, SLOT), (SLOT, BARE), (BARE, FRAME)], ids=["frame", "slot", "bare"])
@pytest.mark.parametrize("seed", range(2))
def test_both_begin_at_once_with_different_choices_and_the_best_is_left(pair: tuple[Plugin, Plugin], seed: int) -> None:
    """Each knows an offer of the other that is out of date."""
    first, second = pair
    old = Kit((second,))
    new = Kit((first, second))
    with meeting(seed, old, old) as world:
        world.introduce()
        world.settle()
        world.equip("alice", new)
        world.equip("bob", new)
        world.send("alice", "bob")
        world.send("bob", "alice")
        world.leave("alice")
        world.leave("bob")
        world.quiesce(7)  # a bundle comes with the next advertisement
        for _ in range(3):
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.settle()
            world.until_rest(1)
        assert last(world, "alice") == last(world, "bob") == name_of(first)
        world.quiesce(1)
        world.must_agree()


@pytest.mark.parametrize("seed", range(8))
@EACH
def test_crossing_on_a_bad_network_loses_nothing(kit: Kit, seed: int) -> None:
    with meeting(seed, kit, kit) as world:
        world.introduce()
        world.network.set_faults(Faults(loss=0.3, duplication=0.2, reordering=0.2))
        for _ in range(6):
            world.send("alice", "bob")
            world.send("bob", "alice")
            for who in world.random.sample(["alice", "bob"], 2):
                world.leave(who)
                world.read("bob" if who == "alice" else "alice")
            world.clock.now += world.random.randrange(60_000)
        world.quiesce(4)
        world.must_agree()
        world.must_converge()
