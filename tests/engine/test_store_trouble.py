"""The store fails, before or after it did what it was asked: nothing is lost, doubled, or waits for a restart."""

from __future__ import annotations

import anyio
import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.requests import Departure
from kexkit.api import Change
from kexkit.events import Delivery, Unreadable

from tests.engine.nodes import PATIENCE, flushed, heard, two_nodes, until
from tests.world.mechanisms import EACH, Mechanism


@EACH
@pytest.mark.anyio
async def test_a_text_whose_commit_seemed_to_fail_leaves_without_a_restart(mechanism: Mechanism) -> None:
    async with two_nodes(mechanism) as pair:
        await pair.greet()
        pair.stores["alice"].fail("apply", 1, after=True)
        sent = await pair.alice.send(pair.bob_for_alice, "did it?")
        assert (await heard(pair.bob, "did it?")).message_id == sent.message_id
        await flushed(pair.alice)

        async def stored() -> bool:
            return await pair.alice.delivery(sent.message_id) is Delivery.STORED

        await until(stored)
        assert [text.text for text in await pair.alice.history(pair.bob_for_alice)].count("did it?") == 1


@EACH
@pytest.mark.anyio
async def test_a_text_whose_receiving_commit_seemed_to_fail_is_told_without_a_restart(mechanism: Mechanism) -> None:
    async with two_nodes(mechanism) as pair:
        await pair.greet()
        pair.stores["bob"].fail("apply", 1, after=True)
        await pair.alice.send(pair.bob_for_alice, "are you there?")
        await heard(pair.bob, "are you there?")


@EACH
@pytest.mark.anyio
async def test_a_first_text_whose_commit_seemed_to_fail_on_both_sides_arrives_once(mechanism: Mechanism) -> None:
    async with two_nodes(mechanism) as pair:
        pair.stores["alice"].fail("apply", 1, after=True)
        pair.stores["bob"].fail("apply", 1, after=True)
        await pair.alice.send(pair.bob_for_alice, "first")
        await pair.bob.ack(await heard(pair.bob, "first"))
        await pair.bob.send(pair.alice_for_bob, "second")
        await heard(pair.alice, "second")
        assert len(await pair.bob.history(pair.alice_for_bob)) == 2


@pytest.mark.anyio
async def test_a_damaged_text_is_shown_as_such_and_those_behind_it_are_read() -> None:
    """By an application that reads in a loop and begins anew after every error; and it can be acknowledged."""
    async with two_nodes() as pair:
        ids = [(await pair.alice.send(pair.bob_for_alice, f"{n}")).message_id for n in range(3)]
        await heard(pair.bob, "2")
        pair.stores["bob"].commit(Change({}, {records.text_key(ids[1]): b"\xff\xff\xff damaged"}))
        told: list[object] = []
        with anyio.fail_after(PATIENCE):
            async for event in pair.bob.events():
                told.append(event)
                if getattr(event, "text", "") == "2":
                    break
        (placeholder,) = [event for event in told if isinstance(event, Unreadable)]
        assert placeholder.cause == "A text row does not parse."
        await pair.bob.ack(placeholder)
        assert len([key for key in pair.stores["bob"].dump() if key[0] == "inbox"]) == 2


@pytest.mark.anyio
async def test_an_envelope_that_no_network_takes_stops_no_other() -> None:
    """A plugin that names an impossible topic gets no further than that."""
    async with two_nodes() as pair:
        await pair.greet()
        impossible = records.Outgoing(topic="/x", payload=b"x", version=2, timestamp=2**63 - 1)
        key = records.sequence_key("outbox", 1)
        pair.stores["alice"].commit(records.first_row(key, records.write(impossible)))
        row = evolve(records.envelope_of(impossible), topic="\ud800", timestamp=2**64)
        pair.alice._runtime._transmitter.enqueue(Departure(key, row))
        await pair.alice.send(pair.bob_for_alice, "behind it")
        await heard(pair.bob, "behind it")
