"""Noise over whole nodes: texts wait for the handshake, restarts go on, and nothing of a text is in a handshake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import anyio
import pytest
from attrs import evolve
from kexkit import Node, SessionOpened, TextReceived, open_node
from kexkit.api import KeyExchange
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_noise.mechanisms import HINT_ID, MECHANISMS
from kexkit_x3dh.exchange import X3DH

from tests.noise.meeting import NAMES, mechanism

PATIENCE = 30
MARK = "a text that must not be seen"


@asynccontextmanager
async def node(
    store: MemoryStore, network: MemoryNetwork, name: str, exchanges: Sequence[KeyExchange], policy: Policy
) -> AsyncIterator[Node]:
    async with open_node(store, network.transport(name), exchanges, policy=policy) as opened:
        yield opened


async def heard(of: Node, text: str) -> TextReceived:
    with anyio.fail_after(PATIENCE):
        async for event in of.events():
            if isinstance(event, TextReceived) and event.text == text:
                await of.ack(event)
                return event
    raise AssertionError


def policy_for(name: str) -> Policy:
    return Policy() if MECHANISMS[name].heals else WITHOUT_FORWARD_SECRECY


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_two_nodes_talk_and_no_text_is_in_the_clear(name: str) -> None:
    network, stores = MemoryNetwork(), (MemoryStore(), MemoryStore())
    async with AsyncExitStack() as stack:
        alice, bob = [
            await stack.enter_async_context(node(store, network, who, [mechanism(name)], policy_for(name)))
            for store, who in zip(stores, ("alice", "bob"), strict=True)
        ]
        bobs = await alice.add(await bob.contact_code())
        sent = await alice.send(bobs, MARK)
        received = await heard(bob, MARK)
        assert (received.message_id, received.author) == (sent.message_id, alice.identity)
        assert received.grade == MECHANISMS[name].guarantees
        for number in range(5):
            await bob.send(alice.identity, f"answer {number}")
            assert (await heard(alice, f"answer {number}")).author == bob.identity
            await alice.send(bobs, f"and back {number}")
            await heard(bob, f"and back {number}")
        assert not any(MARK.encode() in envelope.payload for envelope in network.logged())


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_the_two_never_meet_and_every_step_is_a_restart(name: str) -> None:
    """Each node is open alone: it does what it can, and the other finds that in the network."""
    network, stores = MemoryNetwork(), {"alice": MemoryStore(), "bob": MemoryStore()}

    def opened(who: str) -> AbstractAsyncContextManager[Node]:
        return node(stores[who], network, who, [mechanism(name)], policy_for(name))

    async def answers(who: str) -> None:
        before = len(network.logged())
        async with opened(who) as each:
            with anyio.fail_after(PATIENCE):
                while len(network.logged()) == before:
                    await anyio.sleep(0.01)
            await each.flushed()

    async with opened("bob") as bob:
        code, bobs = await bob.contact_code(), bob.identity
    async with opened("alice") as alice:
        await alice.add(code)
        await alice.send(bobs, MARK)
        await alice.flushed()
    await answers("bob")
    await answers("alice")
    async with opened("bob") as bob:
        assert (await heard(bob, MARK)).grade == MECHANISMS[name].guarantees
        await bob.flushed()


@pytest.mark.anyio
async def test_healing_noise_is_chosen_before_x3dh_and_x3dh_where_there_is_nothing_else() -> None:
    network = MemoryNetwork()
    both, alone = [mechanism("healing-noise-xk1/1"), X3DH()], [X3DH()]
    async with AsyncExitStack() as stack:
        alice, bob, carol = [
            await stack.enter_async_context(node(MemoryStore(), network, who, exchanges, Policy()))
            for who, exchanges in (("alice", both), ("bob", both), ("carol", alone))
        ]
        for peer, chosen in ((bob, "healing-noise-xk1/1"), (carol, "x3dh/1")):
            await alice.send(await alice.add(await peer.contact_code()), MARK)
            with anyio.fail_after(PATIENCE):
                async for event in alice.events():
                    if isinstance(event, SessionOpened) and event.peer == peer.identity:
                        assert event.mechanism == chosen
                        break
            await heard(peer, MARK)


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_an_outdated_offer_is_hinted_at_and_the_text_arrives_by_the_new_choice(name: str) -> None:
    """Bob has changed what he speaks, and tells nobody but those who ask: Alice begins with what she knows."""
    network, stores = MemoryNetwork(), {"alice": MemoryStore(), "bob": MemoryStore()}
    later = next(other for other in NAMES if other != name and MECHANISMS[other].heals == MECHANISMS[name].heals)
    quiet = evolve(policy_for(name), advertise=False)
    async with node(stores["bob"], network, "bob", [mechanism(name)], quiet) as bob:
        code = await bob.contact_code()
    async with AsyncExitStack() as stack:
        both = [mechanism(name), mechanism(later)]
        bob = await stack.enter_async_context(node(stores["bob"], network, "bob", both[::-1], quiet))
        alice = await stack.enter_async_context(node(stores["alice"], network, "alice", both[::-1], quiet))
        await alice.send(await alice.add(code), MARK)
        await heard(bob, MARK)
        payloads = [envelope.payload for envelope in network.logged() if envelope.version == 2]
        assert [payload[16] for payload in payloads].count(HINT_ID) == 1
        ids = {payload[16] for payload in payloads}
        assert MECHANISMS[later].protocol_id in ids
        assert not any(MARK.encode() in payload for payload in payloads)
