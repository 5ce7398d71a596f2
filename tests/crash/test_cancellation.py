"""Cancelled at any of its steps, a call happened or it did not; nothing is lost, doubled, or left hanging."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field
from kexkit import Node, TextReceived, open_node
from kexkit.api import Arrival, Change, Envelope, Key, Store, Transport, Versioned
from kexkit.node import Contact
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit.testing.cancelling import CancelledAt
from kexkit_x3dh.exchange import X3DH

pytestmark = pytest.mark.anyio
PATIENCE = 30
QUIET_S = 0.1
STEPS_AT_MOST = 60
"""a call that has more is going round in circles"""


@define
class Pauses:
    """Every call of a store and a transport waits before and after; at pause number `at`, `scope` is cancelled."""

    scope: anyio.CancelScope | None = None
    at: int = 0
    count: int = 0

    async def pause(self) -> None:
        self.count += 1
        if self.count == self.at and self.scope is not None:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()


@define
class SlowStore:
    real: Store
    pauses: Pauses

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        await self.pauses.pause()
        found = await self.real.load(keys)
        await self.pauses.pause()
        return found

    async def apply(self, change: Change) -> None:
        await self.pauses.pause()
        await self.real.apply(change)
        await self.pauses.pause()

    async def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        await self.pauses.pause()
        async for row in self.real.scan(table, start, stop, reverse=reverse, limit=limit):
            yield row


@define
class SlowTransport:
    real: Transport
    pauses: Pauses

    async def publish(self, envelope: Envelope) -> None:
        await self.pauses.pause()
        await self.real.publish(envelope)
        await self.pauses.pause()

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await self.pauses.pause()
        await self.real.watch(topics)

    async def unwatch(self, topics: Collection[str]) -> None:
        await self.real.unwatch(topics)

    def arrivals(self) -> AsyncIterator[Arrival]:
        return self.real.arrivals()


@define
class Talk:
    """Alice's calls are cancelled; Bob is undisturbed. Both applications remember what they were told."""

    network: MemoryNetwork = field(factory=MemoryNetwork)
    stores: dict[str, MemoryStore] = field(factory=lambda: {"alice": MemoryStore(), "bob": MemoryStore()})
    pauses: Pauses = field(factory=Pauses)
    told: dict[str, list[str]] = field(factory=lambda: {"alice": [], "bob": []})

    @asynccontextmanager
    async def both(self) -> AsyncIterator[tuple[Node, Node]]:
        slow = SlowStore(self.stores["alice"], self.pauses), SlowTransport(self.network.transport("alice"), self.pauses)
        async with (
            open_node(*slow, [X3DH()]) as alice,
            open_node(self.stores["bob"], self.network.transport("bob"), [X3DH()]) as bob,
        ):
            yield alice, bob

    async def hear(self, name: str, node: Node, text: str) -> TextReceived:
        """Acknowledges what comes before; the text itself is the caller's to acknowledge."""
        with anyio.fail_after(PATIENCE):
            async for event in node.events():
                if isinstance(event, TextReceived):
                    self.told[name].append(event.text)
                    if event.text == text:
                        return event
                    await node.ack(event)
        raise AssertionError

    async def cancelled(self, call: Callable[[], Awaitable[object]], at: int) -> bool:
        """The call, cancelled at step `at` of the node's store or transport. False: it took fewer steps."""
        with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
            self.pauses.scope, self.pauses.at, self.pauses.count = scope, at, 0
            await call()
        self.pauses.scope = None
        return scope.cancel_called

    async def at_once(self, call: Callable[[], Awaitable[object]], at: int) -> bool:
        """The call, cancelled when it suspends for the `at`-th time. False: it suspended less often."""
        with anyio.fail_after(PATIENCE), anyio.CancelScope() as scope:
            await CancelledAt(call(), scope, at)
        return scope.cancel_called


Way = Callable[[Talk, Callable[[], Awaitable[object]], int], Awaitable[bool]]
WAYS: list[Way] = [Talk.cancelled, Talk.at_once]
ways = pytest.mark.parametrize("way", WAYS, ids=["while the node works", "while the caller waits"])


async def said(node: Node, peer: bytes) -> list[str]:
    return [one.text for one in await node.history(peer) if one.outgoing]


async def histories_agree(alice: Node, bob: Node) -> None:
    ours = [one.message_id for one in await alice.history(bob.identity, limit=200)]
    theirs = [one.message_id for one in await bob.history(alice.identity, limit=200)]
    assert sorted(ours) == sorted(theirs)


async def introduced(alice: Node, bob: Node) -> tuple[Contact, Contact]:
    return await alice.add(await bob.contact_code()), await bob.add(await alice.contact_code())


@ways
@pytest.mark.parametrize("established", [False, True])
async def test_a_cancelled_send_happened_or_did_not(way: Way, established: bool) -> None:
    """Every step of it: from a first contact, and between two turns of the ratchet."""
    reached, at = True, 0
    talk = Talk()
    async with talk.both() as (alice, bob):
        to_bob, to_alice = await introduced(alice, bob)
        if established:
            await alice.send(to_bob, "before")
            await bob.ack(await talk.hear("bob", bob, "before"))
            await bob.send(to_alice, "answer")
            await alice.ack(await talk.hear("alice", alice, "answer"))
        while reached:
            at += 1
            assert at < STEPS_AT_MOST
            reached = await way(talk, lambda text=f"text {at}": alice.send(to_bob, text), at)  # type: ignore[misc]  # bound
            await alice.send(to_bob, f"after {at}")
            await bob.ack(await talk.hear("bob", bob, f"after {at}"))
        await alice.flushed()
        await bob.send(to_alice, "at last")
        await alice.ack(await talk.hear("alice", alice, "at last"))
        await alice.send(to_bob, "the end")
        await bob.ack(await talk.hear("bob", bob, "the end"))
        texts = await said(alice, bob.identity)
        assert len(set(texts)) == len(texts)
        assert sorted(talk.told["bob"]) == sorted(texts)
        await histories_agree(alice, bob)
    assert at > 1, "nothing was cancelled"


@ways
async def test_a_cancelled_ack_is_done_or_can_be_done_again(way: Way) -> None:
    reached, at = True, 0
    talk = Talk()
    async with talk.both() as (alice, bob):
        _, to_alice = await introduced(alice, bob)
        while reached:
            at += 1
            assert at < STEPS_AT_MOST
            await bob.send(to_alice, f"text {at}")
            event = await talk.hear("alice", alice, f"text {at}")
            await alice.flushed()
            reached = await way(talk, lambda event=event: alice.ack(event), at)  # type: ignore[misc]  # a default binds
            if reached and at % 2:  # the application tries again; else it leaves it as it is
                await alice.ack(event)
    assert at > 1, "nothing was cancelled"
    before = talk.told["alice"].copy()
    async with talk.both() as (alice, bob):
        await bob.send(to_alice, "the end")
        await alice.ack(await talk.hear("alice", alice, "the end"))
        again = talk.told["alice"][len(before) : -1]
        assert all(int(text.removeprefix("text ")) % 2 == 0 for text in again), "acknowledged, and told again"
        assert len(set(again)) == len(again)
        with anyio.move_on_after(QUIET_S):
            await talk.hear("alice", alice, "what nobody says")
        assert talk.told["alice"][-1] == "the end"
        await histories_agree(alice, bob)
    assert {f"text {number}" for number in range(1, at + 1)} <= set(before)


@ways
async def test_a_cancelled_add_leaves_nobody_or_a_whole_contact(way: Way) -> None:
    reached, at = True, 0
    while reached:
        at += 1
        assert at < STEPS_AT_MOST
        talk = Talk()
        async with talk.both() as (alice, bob):
            code = await bob.contact_code()
            reached = await way(talk, lambda alice=alice, code=code: alice.add(code), at)  # type: ignore[misc]  # bound
            to_bob = await alice.add(code)
            assert [one.identity for one in await alice.contacts()] == [bob.identity]
            await alice.send(to_bob, "hello")
            event = await talk.hear("bob", bob, "hello")
            await bob.ack(event)
            await bob.send(event.peer, "hello back")
            await alice.ack(await talk.hear("alice", alice, "hello back"))
            await histories_agree(alice, bob)
    assert at > 1, "nothing was cancelled"


async def test_a_node_closed_by_cancellation_in_the_midst_of_its_work_goes_on_when_opened_again() -> None:
    """Not a call but the whole node is cancelled, at every step of sending a text and of its leaving."""
    talk, reached, at = Talk(), True, 0
    async with talk.both() as (alice, bob):
        to_bob, to_alice = await introduced(alice, bob)

    async def one_life(text: str) -> None:
        async with talk.both() as (alice, _):
            await alice.send(to_bob, text)
            await alice.flushed()

    while reached:
        at += 1
        assert at < STEPS_AT_MOST
        reached = await talk.cancelled(lambda at=at: one_life(f"text {at}"), at)  # type: ignore[misc]  # a default binds
    async with talk.both() as (alice, bob):
        await alice.send(to_bob, "the end")
        await bob.ack(await talk.hear("bob", bob, "the end"))
        await bob.send(to_alice, "at last")
        await alice.ack(await talk.hear("alice", alice, "at last"))
        texts = await said(alice, bob.identity)
        assert f"text {at}" in texts
        assert sorted(set(talk.told["bob"])) == sorted(texts)
        await histories_agree(alice, bob)
