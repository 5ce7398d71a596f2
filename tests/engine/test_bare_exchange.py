"""A handshake of three flights whose frames travel alone, over whole nodes: texts wait, people compare, restarts
go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from kexkit import Node, Question, TextReceived, open_node
from kexkit.api import Envelope
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit.testing import MemoryNetwork, MemoryStore

from tests.engine.nodes import PATIENCE
from tests.kits.toy_ladder import Ladder


async def at_rest(store: MemoryStore) -> None:
    """What is planned for at once has been worked off."""
    quiet, before = 0, -1
    with anyio.fail_after(PATIENCE):
        while quiet < 20:
            await anyio.sleep(0.01)
            quiet, before = (quiet + 1 if store.commits == before else 0), store.commits
    await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def node(store: MemoryStore, network: MemoryNetwork, name: str) -> AsyncIterator[Node]:
    async with open_node(store, network.transport(name), [Ladder()], policy=WITHOUT_FORWARD_SECRECY) as opened:
        yield opened


def lasting(store: MemoryStore) -> dict[object, object]:
    """Everything but how far topics have been read."""
    return {key: row for key, row in store.dump().items() if key[0] != "cursor"}


async def until(of: Node, kind: type[object]) -> object:
    with anyio.fail_after(PATIENCE):
        async for event in of.events():
            if isinstance(event, kind):
                return event
    raise AssertionError


async def agree(of: Node) -> None:
    question = await until(of, Question)
    assert isinstance(question, Question)
    assert await of.answer(question, b"yes")


@pytest.mark.anyio
async def test_a_text_waits_for_the_handshake_and_people_and_then_arrives() -> None:
    network, stores = MemoryNetwork(), (MemoryStore(), MemoryStore())
    async with node(stores[0], network, "alice") as alice, node(stores[1], network, "bob") as bob:
        sent = await alice.send(await alice.add(await bob.contact_code()), "after three flights")
        assert not any(b"after three flights" in envelope.payload for envelope in network.logged())
        await agree(alice)
        await agree(bob)
        received = await until(bob, TextReceived)
        assert isinstance(received, TextReceived)
        assert received.text == "after three flights"
        assert received.message_id == sent.message_id
        assert received.author == alice.identity


@pytest.mark.anyio
async def test_a_question_stands_over_a_restart_of_both() -> None:
    network, stores = MemoryNetwork(), (MemoryStore(), MemoryStore())
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(node(stores[0], network, "alice"))
        bob = await stack.enter_async_context(node(stores[1], network, "bob"))
        await alice.send(await alice.add(await bob.contact_code()), "late")
        await until(alice, Question)
        await until(bob, Question)
    async with node(stores[0], network, "alice") as alice, node(stores[1], network, "bob") as bob:
        await agree(alice)
        await agree(bob)
        received = await until(bob, TextReceived)
        assert isinstance(received, TextReceived)
        assert received.text == "late"


@pytest.mark.anyio
async def test_a_frame_that_nobody_expects_is_passed_over() -> None:
    network, store = MemoryNetwork(), MemoryStore()
    async with node(store, network, "alice"):
        await network.settle()
        await at_rest(store)
        before = lasting(store)
        topic = "/kexkit/1/toy-ladder/proto"
        network.inject(Envelope(topic, bytes(16) + b"x", 2, 1), logged=True)
        network.inject(Envelope(topic, b"short", 2, 2), logged=True)
        await network.settle()
        await at_rest(store)
        assert lasting(store) == before
