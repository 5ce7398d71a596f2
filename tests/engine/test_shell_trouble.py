"""Whatever the transport, the store or a plugin does, the node goes on, and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit.api import Arrival, Change, Envelope, KeyExchange
from kexkit.errors import StoreUnusable
from kexkit.events import Delivery, DeliveryChanged, FrameRefused, TransportTrouble
from kexkit.node import Node, open_node
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit.testing.memory_transport import MemoryTransport
from kexkit_psk.exchange import Psk

from tests.engine.nodes import PATIENCE, event_of, flushed, heard, two_nodes, until
from tests.world.mechanisms import SECRET

pytestmark = pytest.mark.anyio


class Clumsy:
    """A transport whose author forgot to convert errors: the nth call of a verb raises one of Python's own."""

    def __init__(self, real: MemoryTransport, verb: str, times: int = 1) -> None:
        self.real, self.verb, self.times = real, verb, times

    def _stumble(self, verb: str) -> None:
        if verb == self.verb and self.times:
            self.times -= 1
            raise OSError("a socket is gone")

    async def publish(self, envelope: Envelope) -> None:
        self._stumble("publish")
        await self.real.publish(envelope)

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        self._stumble("watch")
        await self.real.watch(topics)

    async def unwatch(self, topics: Collection[str]) -> None:
        await self.real.unwatch(topics)

    async def arrivals(self) -> AsyncIterator[Arrival]:
        self._stumble("arrivals")
        async for arrival in self.real.arrivals():
            yield arrival


@asynccontextmanager
async def node_on(transport: Any, store: Any = None, *exchanges: KeyExchange) -> AsyncIterator[Node]:
    made = list(exchanges) or [Psk(SECRET)]
    async with open_node(store or MemoryStore(), transport, made, policy=WITHOUT_FORWARD_SECRECY) as node:
        yield node


@pytest.mark.parametrize("verb", ["publish", "watch", "arrivals"])
async def test_a_transport_that_raises_foreign_errors_is_tried_again(verb: str) -> None:
    network = MemoryNetwork()
    clumsy = Clumsy(network.transport("alice"), verb, times=2)
    async with node_on(clumsy) as alice, node_on(network.transport("bob")) as bob:
        to_bob = await alice.add(await bob.contact_code())
        to_alice = await bob.add(await alice.contact_code())
        await alice.send(to_bob, "through")
        await bob.send(to_alice, "and back")
        await heard(bob, "through")
        trouble = await event_of(alice, TransportTrouble)
        assert "OSError" in trouble.cause
        assert "socket" not in trouble.cause
        await heard(alice, "and back")


async def test_however_often_a_text_is_handed_over_its_leaving_is_told_once() -> None:
    network = MemoryNetwork()
    clumsy = Clumsy(network.transport("alice"), "publish", times=0)
    async with node_on(clumsy) as alice, node_on(network.transport("bob")) as bob:
        to_bob = await alice.add(await bob.contact_code())
        await flushed(alice)
        clumsy.times = 2
        await alice.send(to_bob, "at the third try")
        told = []
        with anyio.fail_after(PATIENCE):
            async for event in alice.events():
                if isinstance(event, DeliveryChanged):
                    told.append(event.delivery)
                if Delivery.STORED in told:
                    break
        assert told == [Delivery.QUEUED, Delivery.SENT, Delivery.STORED]
        assert not clumsy.times


async def test_an_envelope_with_a_time_out_of_range_is_refused_and_the_node_goes_on() -> None:
    async with two_nodes() as pair:
        await pair.greet()
        for genuine in pair.network.logged():
            for timestamp in (2**63, 2**64, -(2**63) - 1, 10**30):
                pair.network.inject(evolve(genuine, timestamp=timestamp), receiver="bob")
        await event_of(pair.bob, FrameRefused)
        await pair.alice.send(pair.bob_for_alice, "still there?")
        await heard(pair.bob, "still there?")


@pytest.mark.parametrize("verb", ["load", "apply", "scan"])
@pytest.mark.parametrize("calls", [1, 4])
async def test_a_store_in_trouble_stops_no_task_of_the_node(verb: Any, calls: int) -> None:
    """The next few calls fail, whoever makes them: the timekeeper, the watcher of topics, the receiver."""
    async with two_nodes() as pair:
        await pair.greet()
        for nth in range(1, calls + 1):
            pair.stores["bob"].fail(verb, nth)
        pair.bob._runtime._timers.set()
        pair.bob._runtime._new_topics.append("/kexkit/1/new/proto")
        pair.bob._runtime._topics.set()
        await pair.alice.send(pair.bob_for_alice, "in trouble?")
        with anyio.fail_after(PATIENCE):
            while True:  # the reader's own calls may be those that fail
                try:
                    await heard(pair.bob, "in trouble?")
                    break
                except StoreUnusable:
                    continue
        tasks_alive = pair.bob._runtime
        due = records.timer_key(0, records.Timer.FLUSH, pair.alice.identity)
        pair.stores["bob"].commit(records.first_row(due, b""))
        tasks_alive._timers.set()

        async def worked_off() -> bool:
            return due not in pair.stores["bob"].dump()

        await until(worked_off)


async def test_confirmations_that_could_not_be_written_are_made_good_without_a_restart() -> None:
    async with two_nodes() as pair:
        await pair.greet()
        sent = await pair.alice.send(pair.bob_for_alice, "confirm me")
        for nth in range(1, 6):
            pair.stores["alice"].fail("apply", nth)
        await heard(pair.bob, "confirm me")

        async def emptied() -> bool:
            return not any(key[0] == "outbox" for key in pair.stores["alice"].dump())

        await until(emptied)
        assert (await pair.alice.delivery(sent.message_id)).value == "stored"


class Troubled(Psk):
    """Its offer cannot be renewed: a plugin's bug in a timer's work."""

    broken = False

    def offer(self, have: Any, *, siblings: Any, ctx: Any) -> Any:
        if Troubled.broken:
            raise ZeroDivisionError
        return super().offer(have, siblings=siblings, ctx=ctx)


async def test_a_plugin_that_fails_at_a_timer_keeps_no_other_timer_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    network, store = MemoryNetwork(), MemoryStore()
    async with node_on(network.transport("alice"), store, Troubled(SECRET)):
        pass
    async with node_on(network.transport("alice"), store, Troubled(SECRET)) as alice:
        monkeypatch.setattr(Troubled, "broken", True)
        own = records.own_key(Psk.name)
        row = store.read((own,))[own]
        renew = records.read_own(row.value)
        renew.renew = 1
        first = records.timer_key(1, records.Timer.OFFER_RENEWAL, b"psk@example.org/1")
        second = records.timer_key(2, records.Timer.FLUSH, bytes(33))
        store.commit(Change({}, {own: records.write(renew), first: b"", second: b""}))
        runtime = alice._runtime
        runtime.writer._forget()
        runtime._timers.set()

        async def both_gone() -> bool:
            return first not in store.dump() and second not in store.dump()

        await until(both_gone)
        again = [key for key in store.dump() if key[0] == "timer" and key[1][9:] == b"psk@example.org/1"]
        assert again, "work that failed is planned again"
        await flushed(alice)
