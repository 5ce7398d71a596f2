"""The engine's bounds, at one less, at the bound, at one more."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any
from uuid import uuid4

import pytest
from kexkit import SoftwareIdentity
from kexkit import _records as records
from kexkit._engine import bare, offering, receiving
from kexkit._engine.drawer import ask, keep
from kexkit._engine.engine import Engine
from kexkit._engine.negotiating import opening_place
from kexkit._engine.peers import NS_IN_MS, Person, make_room
from kexkit._engine.requests import Draft, Flow, Moment, Outcome
from kexkit._engine.setting import Setting
from kexkit._shell.direct import DirectShell
from kexkit._wire.offers import parse
from kexkit.api import Context, Device, Envelope, KeyExchange, Row, Wants
from kexkit.errors import PluginError, Unknown
from kexkit.limits import (
    BARE_TAG_BYTES,
    DEVICE_DORMANT_MS,
    DEVICES_PER_PEER,
    DRAWER_ID_BYTES,
    HALF_OPEN_MS,
    HELD_BYTES,
    HELD_MS,
    OWN_OFFER_LIFETIME_MS,
    WANTS_ROUNDS,
)
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_psk.exchange import Psk

from tests.kits.toy_ladder import TOPIC, Ladder, public_of

NOW = 1_800_000_000_000
AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])


class Lone:
    """One engine over rows in memory, at a time of our choosing."""

    def __init__(self, exchange: KeyExchange) -> None:
        self.identity = SoftwareIdentity.generate(os.urandom)
        self.me = Device(self.identity.public, str(uuid4()))
        self.engine = Engine(Setting(self.me, (exchange,), WITHOUT_FORWARD_SECRECY))
        self.shell = DirectShell(self.engine.restore)
        self.drawn = 0

    def moment(self, now: int) -> Moment:
        def sequence() -> int:
            self.drawn += 1
            return now * NS_IN_MS + self.drawn

        return Moment(Context(self.me, now, os.urandom, self.identity), sequence)

    def perform(self, flow: Flow[Outcome]) -> Outcome:
        outcome = self.shell.perform(flow)
        self.engine.listen(outcome.channels)
        return outcome

    def start(self, now: int = NOW) -> None:
        self.perform(self.engine.start(self.moment(now)))

    def tick_until(self, now: int) -> None:
        """Everything that is due by then, at its own time."""
        while True:
            due = [key for key in self.table("timer") if records.split_timer(key)[0] <= now]
            if not due:
                return
            at = max(min(records.split_timer(key)[0] for key in due), NOW)
            self.perform(self.engine.tick(self.moment(min(at, now))))

    def table(self, name: str) -> dict[bytes, bytes]:
        return {key[1]: row.value for key, row in self.shell.rows.items() if key[0] == name}


def run(flow: Generator[Any, Any, Any]) -> Any:
    """Drive a flow whose rows are all absent."""
    answer: object = None
    try:
        while True:
            flow.send(answer)
            answer = {}
    except StopIteration as stop:
        return stop.value


@AROUND
def test_a_plugin_may_want_rows_so_often_and_no_oftener(beyond: int) -> None:
    rounds = WANTS_ROUNDS + beyond

    def call(have: Any) -> object:
        return Wants(frozenset({bytes((len(have),))})) if len(have) < rounds else "done"

    if beyond > 0:
        with pytest.raises(PluginError, match="still wants"):
            run(ask(Draft(), "x/1", call, {}))
    else:
        assert run(ask(Draft(), "x/1", call, {})) == "done"


@AROUND
def test_a_drawer_rows_id_has_its_length_and_no_more(beyond: int) -> None:
    draft = Draft()
    row = {bytes(DRAWER_ID_BYTES + beyond): Row(b"", until=2**62)}
    if beyond > 0:
        with pytest.raises(PluginError, match="row's id"):
            keep(draft, "x/1", row, {})
    else:
        keep(draft, "m" * 78 + "/1", row, {})
        assert max(len(key[1]) for key in draft.put) <= 240


@AROUND
def test_only_a_dormant_device_gives_its_place_away(beyond: int) -> None:
    person = Person(bytes(33), None, records.new_peer())
    for number in range(DEVICES_PER_PEER):
        device = person.record.devices.add(installation=f"device {number}")
        age = DEVICE_DORMANT_MS + beyond if number == 5 else 0
        device.adverts.add(mechanism="x/1", issued=(NOW - age) * NS_IN_MS)
    lone = Lone(Psk(bytes(32)))
    run(make_room(Draft(), person, "new", lone.engine.setting, lone.moment(NOW)))
    assert len(person.record.devices) == DEVICES_PER_PEER - (beyond > 0)
    assert ("device 5" in {device.installation for device in person.record.devices}) == (beyond <= 0)


@AROUND
def test_a_session_of_nobody_lasts_so_long(beyond: int) -> None:
    bob = Lone(Ladder())
    bob.start()
    ((digest, _),) = bob.table("offered").items()
    place = opening_place(Ladder.name, bob.me.identity, digest)
    frame = place.tag + public_of(bytes(range(1, 33)))
    bob.perform(bob.engine.receive(Envelope(place.topic, frame, 2, 1), bob.moment(NOW)))
    assert len(bob.table("half")) == 1
    bob.tick_until(NOW + HALF_OPEN_MS + beyond)
    assert len(bob.table("half")) == (beyond < 0)
    assert bare.HALF_OPEN_MS == HALF_OPEN_MS


@AROUND
def test_a_bare_frame_is_as_long_as_its_tag(beyond: int) -> None:
    bob = Lone(Ladder())
    bob.start()
    frame = bytes(BARE_TAG_BYTES + beyond)
    outcome = bob.perform(bob.engine.receive(Envelope(TOPIC, frame, 2, 1), bob.moment(NOW)))
    assert bool(outcome.events) == (beyond < 0)


@AROUND
def test_a_frame_is_held_up_to_its_size_and_its_placeholder_says_whether(beyond: int) -> None:
    lone, alice = Lone(Psk(bytes(32))), SoftwareIdentity.generate(os.urandom).public
    lone.shell.perform(known(alice))
    envelope = Envelope("t", bytes(HELD_BYTES + beyond), 1, 1)
    quarantine(lone, envelope, alice)
    (row,) = lone.table("held").values()
    assert records.read_held(row).HasField("envelope") == (beyond <= 0)
    (entry,) = lone.table("inbox").values()
    assert records.read_inbox(entry).unreadable.retried == (beyond <= 0)


@AROUND
def test_a_held_frame_goes_in_time_and_its_placeholder_stays(beyond: int) -> None:
    lone, alice = Lone(Psk(bytes(32))), SoftwareIdentity.generate(os.urandom).public
    lone.shell.perform(known(alice))
    quarantine(lone, Envelope("t", b"unreadable", 1, 1), alice)
    lone.tick_until(NOW + HELD_MS + beyond)
    assert len(lone.table("held")) == (beyond < 0)
    assert len(lone.table("inbox")) == 1
    assert records.read_peer(lone.table("peer")[alice]).held == (beyond < 0)


def known(identity: bytes) -> Flow[Outcome]:
    draft = Draft()
    yield from ()
    draft.write(records.peer_key(identity), records.write(records.new_peer()))
    return draft.outcome()


def quarantine(lone: Lone, envelope: Envelope, sender: bytes) -> None:
    def flow() -> Flow[Outcome]:
        draft = Draft()
        yield from receiving._quarantine(draft, envelope, sender, Unknown(), lone.moment(NOW))
        return draft.outcome()

    lone.shell.perform(flow())


@AROUND
def test_our_offer_is_good_for_its_lifetime_and_renewed_at_half_of_it(beyond: int) -> None:
    lone = Lone(Psk(bytes(32)))
    lone.start()
    first = lone.table("own")[b""]
    body = parse(records.read_own(first).public, expected_identity=lone.me.identity, now_ms=NOW).body
    assert (body.not_after - body.not_before) * 1000 == OWN_OFFER_LIFETIME_MS
    lone.perform(renewed(lone, NOW + OWN_OFFER_LIFETIME_MS // 2 + beyond))
    assert (lone.table("own")[b""] == first) == (beyond < 0)


def renewed(lone: Lone, now: int) -> Flow[Outcome]:
    """The signed offer alone: the mechanism's own public bytes have a rhythm of their own."""
    draft = Draft()
    yield from offering._sign_offer(draft, lone.engine.setting, lone.moment(now))
    return draft.outcome()
