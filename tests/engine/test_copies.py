"""A copy of an envelope is a copy, whatever the network writes beside it."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve
from kexkit import FrameRefused, TextReceived, Unreadable, open_node
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_x3dh.exchange import X3DH

DAY = 24 * 3600 * 1000


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.mark.anyio
@pytest.mark.parametrize("days", [0, 1, 2, 9, 29])
async def test_an_old_envelope_under_a_new_timestamp_leaves_no_trace(days: int) -> None:
    """After nine days not even the session knows the frame: its prekey is gone, and still no placeholder appears."""
    network, clock, store = MemoryNetwork(), Clock(), MemoryStore()
    async with (
        open_node(MemoryStore(), network.transport("alice"), [X3DH()], clock=clock) as alice,
        open_node(store, network.transport("bob"), [X3DH()], clock=clock) as bob,
    ):
        await alice.send(await alice.add(await bob.contact_code()), "once")
        with anyio.fail_after(10):
            async for event in bob.events():
                if isinstance(event, TextReceived):
                    await bob.ack(event)
                    break
        original = next(one for one in network.logged() if b"" in one.payload and len(one.payload) > 700)
        clock.now += days * DAY
        for shift in (1, 2, 3):
            network.inject(evolve(original, timestamp=original.timestamp + shift), receiver="bob")
        await network.settle()
        await anyio.sleep(0.1)
        told = []
        with anyio.move_on_after(0.2):
            async for event in bob.events():
                told.append(event)
        assert not [event for event in told if isinstance(event, TextReceived | Unreadable)]
        assert not [key for key in store.dump() if key[0] in {"held", "inbox"}]
        if days <= 1:
            assert not [event for event in told if isinstance(event, FrameRefused)]
