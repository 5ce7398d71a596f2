"""Worlds in which a person has a device that texts leave out, and what is asked of them."""

from __future__ import annotations

from collections import Counter

from attrs import evolve
from kexkit import _records as records
from kexkit.events import Delivery, DeliveryChanged, InstallationSkipped, Skip
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Downgrade

from tests.engine.negotiating_peers import (
    HEALS,
    ONE,
    TWO,
    Kit,
    Meeting,
    loose,
)

OTHER = "00000000-0000-4000-8000-000000000001"
THIRD = "f0000000-0000-4000-8000-000000000002"
DAY = 24 * 3600 * 1000
STRONG, WEAK = loose(ONE, HEALS), loose(TWO)
BOTH = Kit((STRONG, WEAK))
TAKES_LESS = Kit((WEAK,), evolve(WITHOUT_FORWARD_SECRECY, downgrade=Downgrade.ACCEPT))


def deliveries(world: Meeting, message: bytes) -> list[Delivery]:
    return [event.delivery for event in world.told_of("alice", DeliveryChanged) if event.message_id == message]


def rows_for(world: Meeting, installation: str) -> list[bytes]:
    """What waiting rows for a device hold: nothing if a text waits for it."""
    rows = world.alice.table("waiting")
    return [row.value for id_, row in rows.items() if records.split_waiting(id_)[3] == installation]


def skips(world: Meeting) -> list[tuple[str, Skip, str]]:
    return [(event.installation, event.why, event.cause) for event in world.told_of("alice", InstallationSkipped)]


def with_a_phantom(world: Meeting, *installations: str) -> None:
    """Bob's offer names devices of which nothing else ever comes."""
    ourselves = records.new_peer()
    for installation in sorted(installations):
        ourselves.devices.add(installation=installation, enabled=True, offer_seq=5)
    key = records.peer_key(world.bob.me.identity)
    world.bob.rows.commit(records.first_row(key, records.write(ourselves)))
    world.clock.now += 1000
    world.crash("bob")
    assert {each.installation for each in world.offer_of("bob").body.siblings} == set(installations)
    world.introduce(("alice", "bob"), ("bob", "alice"))


def with_a_weak_laptop(world: Meeting) -> str:
    """Both of bob's devices spoke what heals; now the laptop offers only what does not."""
    world.sibling("bob", "laptop", BOTH)
    laptop = world.peers["laptop"]
    world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"), ("laptop", "alice"))
    world.send("alice", "bob")
    world.settle()
    world.send("laptop", "alice")
    world.settle()
    world.clock.now += 1000
    world.equip("laptop", TAKES_LESS)
    world.alice.add(laptop.code())
    return laptop.me.installation


def must_count_right(world: Meeting) -> None:
    """What is counted of each text is what there is, and a text that nobody has waits for somebody."""
    envelopes = Counter(records.read_outgoing(row.value).message for row in world.alice.table("outbox").values())
    rows = {id_: row.value for id_, row in world.alice.table("waiting").items() if id_[:33] == world.bob.me.identity}
    counted = Counter(records.split_waiting(id_)[2] for id_, value in rows.items() if not value)
    for message, row in world.alice.table("text").items():
        text = records.read_text(row.value)
        if text.outgoing and text.peer == world.bob.me.identity:
            assert text.pending == envelopes[message] + counted[message]
            assert text.copies or counted[message], "nobody has it, and it waits for nobody"
    due = {records.split_timer(id_)[:2] for id_ in world.alice.table("timer")}
    if not any(kind == records.Timer.FLUSH and at <= world.clock.now for at, kind in due):
        known = {device.installation: device for device in world.alice.person(world.bob.me.identity).devices}
        aside = {records.split_waiting(id_)[3] for id_, value in rows.items() if value}
        assert all(known[each].aside for each in aside), "nothing would ever clear it"
