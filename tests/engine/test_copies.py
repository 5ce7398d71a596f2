"""A copy of an envelope is a copy, whatever the network writes beside it."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve
from kexkit import FrameRefused, Node, TextReceived, Unreadable, open_node
from kexkit.api import Envelope
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_x3dh.exchange import X3DH

from tests.engine.nodes import PATIENCE, so_many, told

DAY = 24 * 3600 * 1000
FIELD = 2**256 - 2**32 - 977
TURNS = 12
"""more than a session remembers ratchet keys of: it no longer knows the first of them"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


async def hear(of: Node) -> bytes:
    with anyio.fail_after(PATIENCE):
        async for event in of.events():
            if isinstance(event, TextReceived):
                await of.ack(event)
                return event.peer
    raise AssertionError


def mirrored(original: Envelope) -> Envelope:
    """The envelope's key replaced by its negative, with which it opens as well: no MAC covers that key."""
    payload = original.payload
    y = FIELD - int.from_bytes(payload[33:65], "big")
    return evolve(original, payload=payload[:33] + y.to_bytes(32, "big") + payload[65:])


@pytest.mark.anyio
@pytest.mark.parametrize("days", [0, 1, 2, 29])
async def test_an_old_envelope_under_a_new_timestamp_leaves_no_trace(days: int) -> None:
    """Its session has forgotten the frame, and cannot tell it from one that it should know; still nothing is shown."""
    network, clock, store = MemoryNetwork(), Clock(), MemoryStore()
    async with (
        open_node(MemoryStore(), network.transport("alice"), [X3DH()], clock=clock) as alice,
        open_node(store, network.transport("bob"), [X3DH()], clock=clock) as bob,
    ):
        to_bob = await alice.add(await bob.contact_code())
        await alice.send(to_bob, "the first")
        to_alice = await hear(bob)
        before = len(network.logged())
        for _ in range(TURNS):
            await bob.send(to_alice, "to and")
            await hear(alice)
            await alice.send(to_bob, "fro")
            await hear(bob)
        await network.settle()
        early = network.logged()[before : before + 4]
        clock.now += days * DAY
        for shift in (1, 2, 3):
            for original in early:
                network.inject(evolve(original, timestamp=original.timestamp + shift), receiver="bob")
        await network.settle()
        events = await told(bob.events(), so_many(days > 1, FrameRefused))
        assert not [event for event in events if isinstance(event, TextReceived | Unreadable)]
        assert not [key for key in store.dump() if key[0] in {"held", "inbox"}]
        assert bool([event for event in events if isinstance(event, FrameRefused)]) == (days > 1)


@pytest.mark.anyio
async def test_a_first_flight_under_the_negative_of_its_key_leaves_no_trace() -> None:
    """It goes by the topic of a partition, sealed for one key; what is shared has a cipher that covers all of it."""
    network, store = MemoryNetwork(), MemoryStore()
    async with (
        open_node(MemoryStore(), network.transport("alice"), [X3DH()], clock=Clock()) as alice,
        open_node(store, network.transport("bob"), [X3DH()], clock=Clock()) as bob,
    ):
        to_bob = await alice.add(await bob.contact_code())
        await alice.send(to_bob, "the first")
        to_alice = await hear(bob)
        first = next(each for each in network.logged() if each.payload[0] == 4)
        for _ in range(TURNS):
            await bob.send(to_alice, "to and")
            await hear(alice)
            await alice.send(to_bob, "fro")
            await hear(bob)
        network.inject(mirrored(first), receiver="bob")
        await network.settle()
        events = await told(bob.events(), so_many(False, FrameRefused))
        assert not [event for event in events if isinstance(event, TextReceived | Unreadable | FrameRefused)]
        assert not [key for key in store.dump() if key[0] in {"held", "inbox"}]
