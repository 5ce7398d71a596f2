"""The store fails, before or after it did what it was asked: nothing is lost, doubled, or waits for a restart."""

from __future__ import annotations

import pytest
from kexkit.events import Delivery

from tests.engine.nodes import flushed, heard, two_nodes, until
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
