"""Runs that a random walk meets rarely, each by hand."""

from __future__ import annotations

import pytest
from kexkit.testing import Faults

from tests.world.mechanisms import EACH, PSK, Mechanism
from tests.world.world import DAY, HOUR, a_world


@EACH
def test_a_late_acknowledgement_means_what_it_was_given_for_though_the_clock_went_back(mechanism: Mechanism) -> None:
    """The inbox is empty, the process starts again, the clock was set back, and another text comes."""
    with a_world(3, mechanism) as world:
        world.introduce()
        world.send("alice", "bob", "first")
        world.settle()
        (first,) = world.bob.read_inbox()
        world.ack("bob")
        world.bob.skew = -1
        world.crash("bob")
        world.bob.skew = 0
        world.crash("bob")
        texts = [f"number {n}" for n in range(8)]
        for text in texts:
            world.send("alice", "bob", text)
        world.settle()
        world.bob.perform(lambda: world.bob.engine.acknowledge(first.receipt))
        assert world.told("bob") == texts
        world.clock.now += HOUR
        world.quiesce()
        world.must_agree()


def test_a_text_opens_though_the_offer_beside_it_expired_on_the_way() -> None:
    """Two weeks in a store node: the offer that travels with a message is good for less."""
    with a_world(4, PSK) as world:
        world.introduce()
        world.send("alice", "bob")
        world.transmit("alice")
        world.clock.now += 15 * DAY
        world.settle()
        assert world.told("bob") == ["text 1 of alice to bob"]


@EACH
def test_contacts_whose_offers_have_expired_find_each_other_again_at_once(mechanism: Mechanism) -> None:
    """Both slept for longer than what they published is good. What is renewed goes out first, not six hours later."""
    with a_world(5, mechanism) as world:
        world.introduce()
        world.settle()
        world.clock.now += 40 * DAY
        world.send("alice", "bob")
        world.quiesce(hours=0)
        world.must_agree()


@EACH
@pytest.mark.parametrize("seed", range(8))
def test_first_messages_that_cross_end_in_one_session_whatever_arrives_when(mechanism: Mechanism, seed: int) -> None:
    """Bob's own opening is so late that Alice has his answer to hers already; then each could keep to one of them."""
    with a_world(seed, mechanism) as world:
        world.introduce()
        world.send("alice", "bob")
        world.send("bob", "alice")
        world.network.set_faults(Faults(loss=1.0), receiver="alice")
        for name in ("bob", "alice"):
            while world.transmit(name) is not None:
                pass
        world.network.advance()
        while world.pull("bob"):
            pass
        world.network.set_faults(Faults(), receiver="alice")
        world.send("bob", "alice", "an answer in alice's session, or in his own")
        world.settle()
        world.quiesce()
        world.must_agree()
        world.must_converge()
