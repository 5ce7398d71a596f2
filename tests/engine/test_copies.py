"""A copy of an envelope is a copy, whatever the network writes beside it."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve
from kexkit import FrameRefused, Node, TextReceived, Unreadable, open_node
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_x3dh.exchange import X3DH

DAY = 24 * 3600 * 1000
TURNS = 12
"""more than a session remembers ratchet keys of: it no longer knows the first of them"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


async def hear(of: Node) -> bytes:
    with anyio.fail_after(10):
        async for event in of.events():
            if isinstance(event, TextReceived):
                await of.ack(event)
                return event.peer
    raise AssertionError


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
        await anyio.sleep(0.1)
        told = []
        with anyio.move_on_after(0.2):
            async for event in bob.events():
                told.append(event)
        assert not [event for event in told if isinstance(event, TextReceived | Unreadable)]
        assert not [key for key in store.dump() if key[0] in {"held", "inbox"}]
        assert bool([event for event in told if isinstance(event, FrameRefused)]) == (days > 1)
