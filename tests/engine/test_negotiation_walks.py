"""Negotiations as they come: what is allowed changes, and its order, while texts, losses and restarts go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from kexkit._negotiation import choose
from kexkit._transitions import State
from kexkit.api import Guarantee
from kexkit.policy import Policy
from kexkit.testing import Faults

from tests.engine.negotiating_peers import (
    BARE,
    HEALS,
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
from tests.world.ciphers import watching
from tests.world.peer import Peer

PLUGINS = (psk(ONE, HEALS), loose(TWO, HEALS), SLOT, BARE)
"""one of each kind, and none gives less than another"""
TROUBLE = Faults(loss=0.2, duplication=0.2, reordering=0.3, delay=0.2)


def name_of(plugin: Plugin) -> str:
    return plugin.called or plugin.make().name


def any_kit(random: Random, least: int) -> Kit:
    """All are loaded, in any order; the policy allows so many or more of them."""
    order = random.sample(PLUGINS, len(PLUGINS))
    allowed = frozenset(name_of(plugin) for plugin in random.sample(PLUGINS, random.randint(least, len(PLUGINS))))
    return Kit(tuple(order), Policy(Guarantee.SECRET, allowed))


def names_of(kit: Kit) -> tuple[str, ...]:
    return tuple(name_of(plugin) for plugin in kit.plugins)


def walk(world: Meeting, random: Random, steps: int) -> None:
    for _ in range(steps):
        who, whom = random.sample(["alice", "bob"], 2)
        act = random.randrange(12)
        if act < 4:
            world.send(who, whom)
        elif act < 6:
            world.leave(who)
            world.read(whom)
        elif act == 6:
            world.equip(who, any_kit(random, 1))
        elif act == 7:
            world.crash(who)
        elif act == 8:
            world.give(who, world.offer_of(whom).received, of=whom)
        elif act == 9:
            world.clock.now += random.choice([1, 1000, 60_000, 3_600_000])
        else:
            world.settle()


def must_have_it_all(world: Meeting) -> None:
    """That none is told twice, or otherwise than it was sent, the ledger looks at after every step."""
    for message_id, sent in world.ledger.sent.items():
        to = next(peer for peer in world.peers.values() if peer.me.identity == sent.peer)
        assert (to.name, message_id) in world.ledger.told, f"lost: {sent.text}"
    for peer in world.peers.values():
        for table in ("waiting", "withheld", "outbox", "unconfirmed"):
            assert not peer.table(table), f"{peer.name} still has rows of {table}"


@pytest.mark.parametrize("seed", range(24))
def test_whatever_happened_both_end_with_what_is_best_for_both_and_nothing_is_lost_or_doubled(seed: int) -> None:
    random = Random(seed)
    with meeting(seed, any_kit(random, 2), any_kit(random, 2)) as world:
        world.introduce()
        if seed % 2:
            world.network.set_faults(TROUBLE)
        walk(world, random, 40)
        kits = {who: any_kit(random, len(PLUGINS)) for who in ("alice", "bob")}
        for who, kit in kits.items():
            world.equip(who, kit)
        world.quiesce(15)
        for _ in range(3):
            for who, whom in [("alice", "bob"), ("bob", "alice")]:
                world.send(who, whom)
                world.until_rest(1)
        world.quiesce(1)
        must_have_it_all(world)
        best = choose(names_of(kits["alice"]), names_of(kits["bob"]))
        for who in ("alice", "bob"):
            assert [said.mechanism for said in world.said(who) if said.texts][-1] == best


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


OLD, NEW = Kit((loose(ONE),)), Kit((loose(TWO), loose(ONE)))
BOUND_OLD, BOUND_NEW = Kit((psk(ONE),)), Kit((psk(TWO), psk(ONE)))


def refused(world: Restarting) -> None:
    """Alice begins over a choice that bob has left behind."""
    world.send("alice", "bob")
    world.settle()
    world.send("bob", "alice")
    world.pass_time(60_000)


def upgraded(world: Restarting) -> None:
    """Alice hears that bob offers something better than what they have."""
    world.give("alice", world.offer_of("bob").received, of="bob")
    world.send("alice", "bob")
    world.settle()
    world.send("bob", "alice")
    world.pass_time(60_000)


def killed_at(fatal: int, story: str, old: Kit, new: Kit) -> int:
    with watching() as ciphers:
        world = Restarting(3, ciphers, {"alice": new, "bob": old})
        world.introduce()
        if story == "upgraded":
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.until_rest(1)
        world.settle()
        world.equip("bob", new)
        world.leave("bob")
        world.skip("alice")
        world.steps, world.fatal = 0, fatal
        (upgraded if story == "upgraded" else refused)(world)
        taken = world.steps
        world.quiesce(2)
        for who, whom in [("alice", "bob"), ("bob", "alice")]:
            world.send(who, whom)
            world.until_rest(1)
        world.must_agree()
        for who, whom in [("alice", "bob"), ("bob", "alice")]:
            states = world.states(who, whom)
            assert State.OPEN in states[TWO], f"killed after step {fatal}"
            assert State.OPEN not in states.get(ONE, []), f"killed after step {fatal}"
    return taken


@pytest.mark.parametrize("story", ["refused", "upgraded"])
@pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (BOUND_OLD, BOUND_NEW)], ids=["confirmed only", "bound"])
def test_both_may_be_killed_between_any_two_steps_of_a_change(story: str, old: Kit, new: Kit) -> None:
    total = killed_at(-1, story, old, new)
    assert total > 10
    for fatal in range(1, total + 1):
        killed_at(fatal, story, old, new)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("plugin", [psk(), SLOT], ids=["frame", "slot"])
def test_of_two_beginnings_that_crossed_both_ends_take_the_smaller_id(plugin: Plugin, seed: int) -> None:
    with meeting(seed, Kit((plugin,), Policy(Guarantee.SECRET)), Kit((plugin,), Policy(Guarantee.SECRET))) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        world.send("bob", "alice")
        for who in ("alice", "bob", "alice", "bob"):
            world.leave(who)
        for who in ("alice", "bob"):
            world.read(who)
        ids = sorted(bytes(ref.id) for ref in world.refs("alice", "bob"))
        assert len(ids) == 2
        assert (
            [ref.rank for ref in world.refs("alice", "bob")]
            == [1, 1]
            == [ref.rank for ref in world.refs("bob", "alice")]
        )
        world.quiesce(1)
        world.must_agree()
        world.must_converge()
