"""What anybody may cause us to say or to check is rationed, and what the peer confirmed to have is not said again."""

from __future__ import annotations

import pytest
from kexkit._engine.negotiating import opening_place
from kexkit._wire.offers import opening_bind
from kexkit._wire.protocol_message import ProtocolMessage, parse
from kexkit.api import Envelope
from kexkit.errors import OfferStale
from kexkit.events import FrameRefused
from kexkit.limits import OFFER_CHECK_MS, OFFER_CHECKS

from tests.engine.negotiating_peers import FRAME, KITS, LADDER, ONE, TWO, Kit, Meeting, meeting, psk
from tests.kits.toy_ladder import TOPIC, Ladder, Silent, public_of

OLD, NEW = Kit((psk(ONE),)), Kit((psk(TWO), psk(ONE)))


def unheard(world: Meeting, kit: Kit) -> None:
    """Bob gets other exchanges, and what he says of it is lost."""
    world.equip("bob", kit)
    world.work("bob")
    world.leave("bob")
    world.skip("alice")


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_frames_that_answer_an_outdated_offer_are_answered_so_often(beyond: int) -> None:
    with meeting(1, NEW, OLD) as world:
        world.introduce()
        world.settle()
        unheard(world, NEW)
        for _ in range(OFFER_CHECKS + beyond):
            world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.leave("bob")) == OFFER_CHECKS + min(beyond, 0)
        world.clock.now += OFFER_CHECK_MS
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.leave("bob")) >= 1


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_openings_to_an_outdated_offer_are_answered_so_often_whoever_sends_them(beyond: int) -> None:
    with meeting(2, Kit((LADDER, FRAME)), Kit((LADDER,))) as world:
        world.introduce()
        world.settle()
        place = opening_place(Ladder.name, world.bob.me.identity, world.offer_of("bob").digest)
        unheard(world, Kit((FRAME, LADDER)))
        for number in range(OFFER_CHECKS + beyond):
            frame = place.tag + public_of(bytes((number + 1,)) * 32)
            world.bob.receive(Envelope(place.topic, frame, 2, number + 1))
        hints = [envelope for envelope in world.leave("bob") if envelope.version == 2]
        assert len(hints) == OFFER_CHECKS + min(beyond, 0)
        assert not world.bob.table("half")


def test_a_hint_with_an_older_offer_than_the_known_one_is_refused_by_its_name_and_changes_nothing() -> None:
    with meeting(3, Kit((LADDER,)), Kit((LADDER,))) as world:
        world.introduce()
        world.settle()
        older = world.sign("bob", seq=world.offer_of("bob").body.seq - 1).received
        world.send("alice", "bob")
        (opening,) = world.leave("alice")
        bind = opening_bind(Ladder.name, world.offer_of("bob").digest)
        before = world.alice.rows.dump()
        world.alice.receive(Envelope(TOPIC, Ladder(Silent).hint(bind, opening.payload[16:], older), 2, 1))
        refused = [event.cause for event in world.alice.told_ever if isinstance(event, FrameRefused)]
        assert refused == [str(OfferStale())]
        assert world.alice.rows.dump() == before


@pytest.mark.parametrize("kit", [KITS["frame"], KITS["slot"]], ids=["frame", "slot"])
def test_an_offer_travels_with_every_message_until_the_peer_has_confirmed_to_have_it(kit: Kit) -> None:
    def offers_with_the_next(who: str, whom: str) -> list[bytes]:
        world.send(who, whom)
        (envelope,) = world.leave(who)
        data = world.ledger.ciphers.inside(envelope.payload)
        assert data is not None
        message: ProtocolMessage = parse(data)
        return list(message.offers)

    with meeting(4, kit, kit) as world:
        world.introduce()
        world.settle()
        assert offers_with_the_next("alice", "bob") == [world.offer_of("alice").received]
        assert offers_with_the_next("alice", "bob") == [world.offer_of("alice").received]
        world.settle()
        world.until_rest(1)
        assert offers_with_the_next("alice", "bob") == []
        assert offers_with_the_next("bob", "alice") == []
        world.settle()
        world.equip("alice", Kit((*kit.plugins, psk(TWO))))
        world.leave("alice")
        assert offers_with_the_next("alice", "bob") == [world.offer_of("alice").received]
