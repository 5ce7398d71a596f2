"""What the policy forbids does not happen, and is said; what it allows again goes on by itself."""

from __future__ import annotations

import pytest
from kexkit.api import Guarantee
from kexkit.events import FrameRefused, PeerMet, TextReceived, Unreadable, Waiting
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit_psk.exchange import Psk
from kexkit_x3dh.exchange import X3DH

from tests.attacks.man_in_the_middle import make_no_offers
from tests.engine.negotiating_peers import ONE, Kit, Plugin, meeting, psk
from tests.world.mechanisms import BOTH, EACH, PSK, SECRET, X3DH_LENIENT, Mechanism
from tests.world.peer import Peer
from tests.world.world import World, a_world


def with_policy(world: World, who: str, policy: Policy) -> None:
    """The same device is started with another policy."""
    peer = world.peers[who]
    peer.mechanism = Mechanism(peer.mechanism.name, peer.mechanism.make, policy)
    peer.crash()


def reasons(peer: Peer) -> list[str]:
    return [event.reason for event in peer.told_ever if isinstance(event, Waiting)]


def test_what_a_mechanism_cannot_reach_is_not_sent_and_the_refusal_names_both_sides() -> None:
    """psk gives no forward secrecy, and the default policy sends nothing without it."""
    with a_world(1, Mechanism("psk, demanding", PSK.make, Policy())) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        assert reasons(world.alice) == ["The peer offers nothing; allowed here: none."]
        assert not world.told("bob")
        with_policy(world, "alice", WITHOUT_FORWARD_SECRECY)
        with_policy(world, "bob", WITHOUT_FORWARD_SECRECY)
        world.quiesce(hours=170)
        world.must_agree()


def test_of_two_mechanisms_the_one_is_used_that_reaches_what_the_policy_demands() -> None:
    with a_world(2, Mechanism("demanding", BOTH.make, Policy())) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        refs = [ref for device in world.alice.person(world.bob.me.identity).devices for ref in device.sessions]
        assert {ref.mechanism for ref in refs} == {"x3dh/1"}
        world.quiesce()
        world.must_agree()


@pytest.mark.parametrize(
    "lacking", [Guarantee.SECRET, Guarantee.FROM_PEER, Guarantee.TO_PEER, Guarantee.FORWARD_SECRECY], ids=str
)
def test_by_default_both_must_be_proven_and_what_is_read_later_be_safe_or_a_mechanism_is_neither_offered_nor_used(
    lacking: Guarantee,
) -> None:
    lacks = Plugin(psk().make, ONE, Guarantee.FORWARD_SECRECY & ~lacking, lacking)
    with meeting(4, Kit((lacks,), Policy()), Kit((psk(ONE, Guarantee.FORWARD_SECRECY),), Policy())) as world:
        assert [entry.name for entry in world.offer_of("alice").body.entries] == []
        world.introduce()
        world.send("alice", "bob")
        world.send("bob", "alice")
        world.until_rest()
        assert not world.refs("alice", "bob")
        assert not world.refs("bob", "alice")
        assert not world.opened("alice") + world.opened("bob")


def test_a_mechanism_that_is_not_allowed_is_neither_offered_nor_spoken_nor_heard() -> None:
    only_psk = Policy(require=Guarantee.SECRET, mechanisms=frozenset({"psk@example.org/1"}))
    with a_world(3, BOTH) as world:
        with_policy(world, "bob", only_psk)
        world.introduce()
        world.send("bob", "alice")
        world.quiesce()
        refs = [ref for device in world.bob.person(world.alice.me.identity).devices for ref in device.sessions]
        assert {ref.mechanism for ref in refs} == {"psk@example.org/1"}
        world.must_agree()


def test_a_frame_of_a_forbidden_mechanism_that_confirms_nothing_is_held_and_read_once_it_is_allowed() -> None:
    """Of a Status device: it could not be told that its session is refused."""
    first_x3dh = Mechanism("x3dh first", lambda: (X3DH(), Psk(SECRET)), WITHOUT_FORWARD_SECRECY)
    with a_world(4, first_x3dh) as world:
        make_no_offers(world.alice)
        world.introduce()
        world.settle()
        only_psk = frozenset({"psk@example.org/1"})
        with_policy(world, "bob", Policy(require=Guarantee.SECRET, mechanisms=only_psk, advertise=False))
        world.send("alice", "bob", "over x3dh")
        world.settle()
        (placeholder,) = world.bob.read_inbox()
        assert isinstance(placeholder, Unreadable)
        assert placeholder.retried
        with_policy(world, "bob", WITHOUT_FORWARD_SECRECY)
        world.send("alice", "bob", "again")
        world.quiesce()
        assert sorted(world.told("bob")) == ["again", "over x3dh"]
        assert not any(isinstance(event, Unreadable) for event in world.bob.read_inbox())


@EACH
def test_strangers_are_not_heard_if_the_policy_says_so_and_are_once_they_are_added(mechanism: Mechanism) -> None:
    with a_world(5, mechanism) as world:
        policy = mechanism.policy
        deaf = Policy(require=policy.require, hear_strangers=False)
        with_policy(world, "bob", deaf)
        world.introduce(("alice", "bob"))
        before = world.bob.rows.dump()
        world.send("alice", "bob", "may I?")
        while world.transmit("alice"):
            pass
        world.network.advance()
        while world.pull("bob"):
            pass
        assert world.bob.rows.dump() == before
        assert any(isinstance(event, FrameRefused) for event in world.bob.told_ever)
        assert not any(isinstance(event, PeerMet) for event in world.bob.told_ever)
        world.introduce(("bob", "alice"))
        world.send("alice", "bob", "now?")
        world.quiesce()
        assert "now?" in world.told("bob")


def test_the_fallback_is_refused_if_the_policy_takes_nothing_unprotected() -> None:
    with a_world(6, X3DH_LENIENT) as world:
        with_policy(world, "bob", Policy(hear_unprotected=False))
        world.introduce(("bob", "alice"))
        world.add_by_key("alice", "bob")
        world.send("alice", "bob", "unprotected")
        while world.transmit("alice"):
            pass
        world.network.advance()
        while world.pull("bob"):
            pass
        assert not world.told("bob")
        assert any(isinstance(event, FrameRefused) for event in world.bob.told_ever)
        world.quiesce()
        world.send("alice", "bob", "in a session")
        world.quiesce()
        assert world.told("bob") == ["in a session"]


@EACH
def test_a_received_text_says_what_protected_it(mechanism: Mechanism) -> None:
    with a_world(7, mechanism) as world:
        world.introduce()
        for _ in range(3):
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.settle()
        grades = [event.grade for event in world.bob.read_inbox() if isinstance(event, TextReceived)]
        least = Guarantee.SECRET | Guarantee.FROM_PEER
        assert all(least in grade for grade in grades)
        assert all(event.forward_secret == (mechanism.main == "x3dh/1") for event in world.bob.read_inbox()[-1:])


@EACH
def test_who_does_not_advertise_is_found_by_code_alone(mechanism: Mechanism) -> None:
    with a_world(8, mechanism) as world:
        for name in ("alice", "bob"):
            policy = world.peers[name].mechanism.policy
            with_policy(world, name, Policy(require=policy.require, advertise=False))
        world.quiesce(hours=14)
        assert not world.network.logged()
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        world.must_agree()


@pytest.mark.parametrize("allowed", [frozenset(), frozenset({"nothing@example.org/1"})])
def test_a_policy_that_allows_no_mechanism_sends_nothing_and_says_so(allowed: frozenset[str]) -> None:
    with a_world(9, BOTH) as world:
        world.introduce()
        with_policy(world, "alice", Policy(require=Guarantee.SECRET, mechanisms=allowed))
        world.send("alice", "bob")
        world.settle()
        assert "allowed here: none" in reasons(world.alice)[0]
        assert not world.told("bob")
