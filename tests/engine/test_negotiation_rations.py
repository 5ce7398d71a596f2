"""What anybody may cause us to say or to check is rationed, and what the peer confirmed to have is not said again."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.negotiating import opening_place
from kexkit._engine.wrapping import contact_code_channel
from kexkit._wire.offers import opening_bind
from kexkit._wire.protocol_message import ProtocolMessage, parse
from kexkit.api import Envelope, Hear
from kexkit.errors import OfferStale
from kexkit.events import FrameRefused
from kexkit.limits import ADVERTISE_AGAIN_MS, OFFER_CHECK_MS, OFFER_CHECKS
from kexkit.policy import WITHOUT_FORWARD_SECRECY

from tests.engine.negotiating_peers import FRAME, KITS, LADDER, ONE, PSK_NAME, TWO, Kit, Meeting, meeting, psk
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


def open_as_a_stranger(world: Meeting, place: Hear, number: int) -> None:
    frame = place.tag + public_of((number + 1).to_bytes(4, "big") * 8)
    world.bob.receive(Envelope(place.topic, frame, 2, number + 1))


def advertised(world: Meeting) -> int:
    """How often bob does, from what is due now."""
    world.work("bob")
    topic = contact_code_channel(world.bob.me.identity).topic
    return sum(envelope.topic == topic for envelope in world.leave("bob"))


def test_whoever_floods_us_with_openings_keeps_nobody_else_from_our_present_offer() -> None:
    """Who sends an opening is not known, so hints share a ration; beyond it one advertisement answers all."""
    with meeting(5, Kit((LADDER, FRAME)), Kit((LADDER,))) as world:
        world.introduce()
        world.settle()
        place = opening_place(Ladder.name, world.bob.me.identity, world.offer_of("bob").digest)
        unheard(world, Kit((FRAME, LADDER)))
        sent = world.send("alice", "bob")
        for minutes in range(30):
            world.clock.now += 60_000
            for number in range(OFFER_CHECKS + 1):
                open_as_a_stranger(world, place, minutes * 32 + number)
            world.settle()
        assert world.bob.history(world.alice.me.identity) == [sent]
        assert world.opened("alice") == [PSK_NAME]


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_flood_makes_us_advertise_so_often(beyond: int) -> None:
    with meeting(6, Kit((LADDER, FRAME)), Kit((LADDER,))) as world:
        world.introduce()
        world.settle()
        place = opening_place(Ladder.name, world.bob.me.identity, world.offer_of("bob").digest)
        unheard(world, Kit((FRAME, LADDER)))
        world.clock.now += ADVERTISE_AGAIN_MS + beyond
        for number in range(3 * OFFER_CHECKS):
            open_as_a_stranger(world, place, number)
        assert advertised(world) == (beyond >= 0)
        for number in range(3 * OFFER_CHECKS, 6 * OFFER_CHECKS):
            open_as_a_stranger(world, place, number)
        assert advertised(world) == 0
        timers = [records.split_timer(key)[1] for key in world.bob.table("timer")]
        assert timers.count(records.Timer.ADVERTISE) == 1


def test_who_advertises_nothing_is_made_to_by_no_flood() -> None:
    policy = evolve(WITHOUT_FORWARD_SECRECY, advertise=False)
    with meeting(7, Kit((LADDER, FRAME)), Kit((LADDER,), policy)) as world:
        world.introduce()
        world.settle()
        place = opening_place(Ladder.name, world.bob.me.identity, world.offer_of("bob").digest)
        unheard(world, Kit((FRAME, LADDER), policy))
        world.clock.now += ADVERTISE_AGAIN_MS
        for number in range(3 * OFFER_CHECKS):
            open_as_a_stranger(world, place, number)
        assert advertised(world) == 0
        assert "Openings to outdated offers come too fast." in [
            event.cause for event in world.bob.told_ever if isinstance(event, FrameRefused)
        ]


def test_what_others_publish_in_a_persons_name_uses_up_none_of_its_hints() -> None:
    with meeting(8, NEW, OLD) as world:
        world.introduce()
        world.settle()
        unheard(world, NEW)
        allowance = world.bob.engine._keys.allowance
        while allowance.take(world.alice.me.identity, world.bob.now()):
            pass
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.leave("bob")) == 1


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
