"""Devices of one person that pair: what one sends or gets the other has too, and each vouches for the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from random import Random

import anyio
import pytest
from attrs import define
from kexkit import _records as records
from kexkit._wire.offers import read
from kexkit.api import Key
from kexkit.errors import InvalidInput, NodeClosed
from kexkit.events import TextReceived
from kexkit.identity import SoftwareIdentity
from kexkit.node import Contact, Node, open_node
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_noise.exchange import NoiseExchange

from tests.engine.nodes import PATIENCE, QUIET_S
from tests.world.mechanisms import X3DH_LENIENT, Mechanism

NOISE = Mechanism("noise", lambda: (NoiseExchange("healing-noise-xk1/1"),), X3DH_LENIENT.policy)
EACH = pytest.mark.parametrize("mechanism", [X3DH_LENIENT, NOISE], ids=["x3dh", "noise"])
NAMES = ("alice", "phone", "laptop")
BOB = SoftwareIdentity.generate(Random(7).randbytes)


@define
class Three:
    """Alice, and Bob with two devices. Each remembers the texts that it was told."""

    nodes: dict[str, Node]
    stores: dict[str, MemoryStore]
    told: dict[str, list[str]]
    bob: Contact

    async def pair(self) -> None:
        phone, laptop = self.nodes["phone"], self.nodes["laptop"]
        assert await phone.pair(await laptop.contact_code()) == (laptop.installation,)
        assert await laptop.pair(await phone.contact_code()) == (phone.installation,)

    async def until(self, text: str, *names: str) -> None:
        with anyio.fail_after(PATIENCE):
            while not all(text in self.told[name] for name in names):
                await anyio.sleep(0.01)

    async def siblings(self, name: str) -> set[str]:
        row = (await self.stores[name].load((records.SIGNED_OFFER,)))[records.SIGNED_OFFER]
        offer = read(records.own_public(row.value), expected_identity=BOB.public)
        return {each.installation for each in offer.body.siblings}


@asynccontextmanager
async def three(mechanism: Mechanism, stores: dict[str, MemoryStore] | None = None) -> AsyncIterator[Three]:
    network, told = MemoryNetwork(), {name: list[str]() for name in NAMES}
    stores = stores or {name: MemoryStore() for name in NAMES}

    async def listen(name: str, node: Node) -> None:
        with suppress(NodeClosed):
            async for event in node.events():
                if isinstance(event, TextReceived):
                    told[name].append(event.text)
                    await node.ack(event)

    async with anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        nodes = {}
        for name in NAMES:
            made = list(mechanism.make())
            opened = open_node(
                stores[name],
                network.transport(name),
                made,
                policy=mechanism.policy,
                identity=None if name == "alice" else BOB,
            )
            nodes[name] = await stack.enter_async_context(opened)
            tasks.start_soon(listen, name, nodes[name])
        bob = await nodes["alice"].add(await nodes["phone"].contact_code(), name="Bob")
        await nodes["alice"].add(await nodes["laptop"].contact_code())
        yield Three(nodes, stores, told, bob)


@EACH
@pytest.mark.anyio
async def test_what_one_device_sends_or_gets_its_sibling_has_too_after_a_restart_as_well(mechanism: Mechanism) -> None:
    async with three(mechanism) as world:
        await world.pair()
        await world.nodes["alice"].send(world.bob, "to both")
        await world.until("to both", "phone", "laptop")
        await world.nodes["phone"].send(world.nodes["alice"].identity, "from the phone")
        await world.until("from the phone", "alice", "laptop")
        await world.nodes["laptop"].send(world.nodes["alice"].identity, "from the laptop")
        await world.until("from the laptop", "alice", "phone")
        assert world.told["alice"] == ["from the phone", "from the laptop"]
    async with three(mechanism, world.stores) as again:
        await again.nodes["phone"].send(again.nodes["alice"].identity, "the day after")
        await again.until("the day after", "alice", "laptop")


@pytest.mark.anyio
async def test_without_pairing_nothing_is_copied_and_each_vouches_for_itself_alone() -> None:
    async with three(NOISE) as world:
        await world.nodes["alice"].send(world.bob, "to both")
        await world.until("to both", "phone", "laptop")
        await world.nodes["phone"].send(world.nodes["alice"].identity, "from the phone")
        await world.until("from the phone", "alice")
        await anyio.sleep(QUIET_S)
        assert "from the phone" not in world.told["laptop"]
        assert not await world.siblings("phone") | await world.siblings("laptop")


@pytest.mark.anyio
async def test_paired_devices_name_each_other_in_their_signed_offers_until_one_is_forgotten() -> None:
    async with three(NOISE) as world:
        await world.pair()
        phone, laptop = world.nodes["phone"], world.nodes["laptop"]
        assert await world.siblings("phone") == {laptop.installation}
        assert await world.siblings("laptop") == {phone.installation}
        assert await phone.pair(await laptop.contact_code()) == (laptop.installation,), "a second time changes nothing"
        await phone.forget_device(phone.identity, laptop.installation)
        assert not await world.siblings("phone")
        alice = await phone.add(await world.nodes["alice"].contact_code())
        await phone.send(alice, "without the laptop")
        await world.until("without the laptop", "alice")
        await anyio.sleep(QUIET_S)
        assert "without the laptop" not in world.told["laptop"]


@pytest.mark.anyio
async def test_a_bundle_lists_a_paired_device_so_that_status_writes_to_both() -> None:
    async with three(X3DH_LENIENT) as world:
        await world.pair()
        carol = MemoryStore()
        mechanism = list(X3DH_LENIENT.make())
        async with open_node(carol, MemoryNetwork().transport("carol"), mechanism, policy=X3DH_LENIENT.policy) as other:
            bob = await other.add(await world.nodes["phone"].contact_code())
            known = {device.installation for device in await other.devices(bob)}
        assert known == {world.nodes["phone"].installation, world.nodes["laptop"].installation}


def known(store: MemoryStore) -> dict[Key, tuple[bytes, int]]:
    """What is known of people, and what we publish."""
    return {key: row for key, row in store.dump().items() if key[0] in ("peer", "own", "offered")}


@pytest.mark.anyio
async def test_only_another_device_of_ones_own_can_be_paired() -> None:
    async with three(NOISE) as world:
        phone = world.nodes["phone"]
        before = known(world.stores["phone"])
        with pytest.raises(InvalidInput, match="another person's"):
            await phone.pair(await world.nodes["alice"].contact_code())
        with pytest.raises(InvalidInput, match="no other device"):
            await phone.pair(await phone.contact_code())
        with pytest.raises(InvalidInput, match="no other device"):
            await phone.pair(phone.identity.hex())
        assert known(world.stores["phone"]) == before
