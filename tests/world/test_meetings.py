"""How conversations begin, and begin again after a store is lost."""

from __future__ import annotations

import pytest
from kexkit import _records as records
from kexkit.api import Guarantee
from kexkit.events import PeerMet, TextReceived, Unreadable

from tests.world.mechanisms import EACH, X3DH_ALONE, X3DH_LENIENT, Mechanism
from tests.world.world import DAY, HOUR, World, a_world


@EACH
def test_a_stranger_who_has_our_code_is_heard_and_can_be_answered(mechanism: Mechanism) -> None:
    with a_world(1, mechanism) as world:
        world.introduce(("alice", "bob"))
        world.send("alice", "bob", "you do not know me")
        world.settle()
        assert any(isinstance(event, PeerMet) for event in world.bob.told_ever)
        assert not world.bob.person(world.alice.me.identity).contact
        world.send("bob", "alice", "now I do")
        world.quiesce()
        world.must_agree()
        world.must_converge()


@EACH
def test_a_text_to_a_bare_key_waits_until_the_peer_is_heard_of(mechanism: Mechanism) -> None:
    """Nothing but the key is known: the text waits, and leaves by itself when Bob publishes."""
    with a_world(2, mechanism) as world:
        world.network.offline("bob")
        world.add_by_key("alice", "bob")
        world.send("alice", "bob")
        while world.transmit("alice") is not None:
            pass
        if mechanism.policy.require == Guarantee.SECRET and mechanism.name != "psk":
            assert not world.alice.table("waiting"), "the fallback takes it at once"
        else:
            assert len(world.alice.table("waiting")) == 1
        world.network.online("bob")
        world.quiesce(hours=7)
        world.must_agree()


def test_the_fallback_text_is_flagged_and_lowers_no_session() -> None:
    with a_world(3, X3DH_LENIENT) as world:
        world.add_by_key("alice", "bob")
        world.send("alice", "bob", "before any session")
        world.settle()
        (event,) = world.bob.read_inbox()
        assert isinstance(event, TextReceived)
        assert not event.forward_secret
        world.send("bob", "alice")
        world.quiesce()
        world.send("alice", "bob", "in a session")
        world.quiesce()
        world.must_agree()
        last = world.bob.read_inbox()[-1]
        assert isinstance(last, TextReceived)
        assert last.forward_secret


@EACH
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_after_a_store_is_lost_both_ends_find_into_a_new_session(mechanism: Mechanism, who: str) -> None:
    """What is sent once the other end has heard of the new installation arrives; history begins anew."""
    other = {"alice": "bob", "bob": "alice"}[who]
    with a_world(4, mechanism) as world:
        world.introduce()
        for _ in range(3):
            world.send("alice", "bob")
            world.send("bob", "alice")
            world.settle()
        before = frozenset(world.ledger.sent)
        world.lose_store(who)
        world.introduce((who, other))
        world.quiesce(hours=0)
        world.send(other, who, "to the new one")
        world.settle()
        world.send(who, other, "from the new one")
        world.quiesce()
        world.must_agree(but=before)
        assert "to the new one" in world.told(who)
        assert "from the new one" in world.told(other)


@EACH
def test_the_newest_of_many_installations_is_written_to_before_it_has_said_anything(mechanism: Mechanism) -> None:
    """Four reinstallations, each of which spoke; the fifth has only published."""
    with a_world(9, mechanism) as world:
        world.introduce()
        for _ in range(5):
            world.send("bob", "alice")
            world.settle()
            world.clock.now += HOUR
            world.lose_store("bob")
            world.introduce(("bob", "alice"))
            world.clock.now += 7 * HOUR
            world.quiesce(hours=0)
        world.send("alice", "bob", "to the fifth")
        world.settle()
        assert world.told("bob") == ["to the fifth"]


@EACH
def test_after_both_lose_their_stores_they_only_have_to_add_each_other(mechanism: Mechanism) -> None:
    with a_world(5, mechanism) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        before = frozenset(world.ledger.sent)
        world.lose_store("alice")
        world.lose_store("bob")
        world.introduce()
        world.send("alice", "bob", "again")
        world.send("bob", "alice", "again")
        world.quiesce()
        world.must_agree(but=before)


@EACH
def test_a_lost_store_costs_no_text_to_the_old_installation_a_loop(mechanism: Mechanism) -> None:
    """What is still under way to the installation that is gone is passed over or shown once, not for ever."""
    with a_world(6, mechanism) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        before = frozenset(world.ledger.sent)
        for _ in range(5):
            world.send("alice", "bob")
        while world.transmit("alice") is not None:
            pass
        late = frozenset(world.ledger.sent)
        world.lose_store("bob")
        world.introduce(("bob", "alice"))
        world.quiesce()
        placeholders = [event for event in world.bob.read_inbox() if isinstance(event, Unreadable)]
        assert len(placeholders) <= 6
        world.send("alice", "bob", "fresh")
        world.quiesce()
        world.must_agree(but=before | late)
        again = [event for event in world.bob.read_inbox() if isinstance(event, Unreadable)]
        assert again == placeholders


def test_a_first_message_later_than_its_prekey_lives_is_shown_as_unreadable_and_the_next_ones_open() -> None:
    with a_world(7, X3DH_ALONE) as world:
        world.introduce()
        world.settle()
        late = world.send("alice", "bob", "too late")
        world.transmit("alice")
        world.network.hold("bob")
        for _ in range(10):  # bob is there, and rotates his keys, but hears nothing
            world.clock.now += DAY
            world.settle()
        world.quiesce()
        (placeholder,) = [event for event in world.bob.read_inbox() if isinstance(event, Unreadable)]
        assert placeholder.peer == world.alice.me.identity
        world.send("alice", "bob", "in time")
        world.send("bob", "alice", "in time too")
        world.quiesce()
        world.must_agree(but=frozenset({late}))


def paired(world: World) -> None:
    """The second device of Alice is hers as well, and both know it."""
    world.introduce(("alice", "bob"), ("alice2", "bob"), ("bob", "alice"), ("bob", "alice2"))
    world.settle()
    for one, other in (("alice", "alice2"), ("alice2", "alice")):
        peer, sibling = world.peers[one], world.peers[other]
        person = records.Peer(format=1)
        (seen,) = [
            device
            for device in world.bob.person(peer.me.identity).devices
            if device.installation == sibling.me.installation
        ]
        own = person.devices.add()
        own.CopyFrom(seen)
        own.enabled = True
        del own.sessions[:]
        own.floor = 0
        peer.rows.commit(records.first_row(records.peer_key(peer.me.identity), records.write(person)))
        peer.crash()


@EACH
def test_all_devices_of_a_person_show_the_same_texts_once(mechanism: Mechanism) -> None:
    with a_world(8, mechanism, names=("alice", "bob")) as world:
        world.add_device("alice", "alice2")
        paired(world)
        alice, alice2, bob = world.alice, world.peers["alice2"], world.bob
        world.send("alice", "bob", "from the first")
        world.settle()
        world.send("alice2", "bob", "from the second")
        world.settle()
        world.send("bob", "alice", "to both")
        world.clock.now += HOUR
        world.quiesce()
        shown = [peer.history(other.me.identity) for peer, other in ((alice, bob), (alice2, bob), (bob, alice))]
        assert shown[0] == shown[1] == shown[2]
        assert len(shown[0]) == 3
        assert world.told("bob") == ["from the first", "from the second"]
        assert world.told("alice") == ["from the second", "to both"]
        assert world.told("alice2") == ["from the first", "to both"]
