"""Two whole nodes on a network in memory, for tests of the shell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import anyio
from attrs import define, field
from kexkit.api import Store
from kexkit.events import Event, TextReceived
from kexkit.node import Contact, Node, open_node
from kexkit.testing import MemoryNetwork, MemoryStore

from tests.world.mechanisms import PSK, Mechanism

E = TypeVar("E", bound=Event)
PATIENCE = 30.0
"""seconds for what must come; nothing is measured by it"""
QUIET_S = 0.2
"""how long nothing more may come"""


@define
class Pair:
    """Alice and Bob, who have added each other."""

    network: MemoryNetwork
    stores: dict[str, MemoryStore]
    alice: Node
    bob: Node
    bob_for_alice: Contact = field(init=False)
    alice_for_bob: Contact = field(init=False)

    async def introduce(self) -> None:
        self.bob_for_alice = await self.alice.add(await self.bob.contact_code(), name="Bob")
        self.alice_for_bob = await self.bob.add(await self.alice.contact_code(), name="Alice")

    async def greet(self) -> None:
        """A text each way: whatever is special about first messages is over."""
        await self.alice.send(self.bob_for_alice, "hello")
        await self.bob.ack(await heard(self.bob, "hello"))
        await self.bob.send(self.alice_for_bob, "hello back")
        await self.alice.ack(await heard(self.alice, "hello back"))
        await flushed(self.alice, self.bob)
        await self.at_rest()

    async def at_rest(self) -> None:
        """What the first messages planned for at once has been worked off."""
        quiet, before = 0, [-1, -1]
        with anyio.fail_after(PATIENCE):
            while quiet < 10:
                await anyio.sleep(0.01)
                now = [store.commits for store in self.stores.values()]
                quiet = quiet + 1 if now == before else 0
                before = now


@asynccontextmanager
async def two_nodes(
    mechanism: Mechanism = PSK,
    *,
    stores: dict[str, MemoryStore] | None = None,
    network: MemoryNetwork | None = None,
    wrap: Callable[[str, Store], Store] = lambda name, store: store,
    introduced: bool = True,
) -> AsyncIterator[Pair]:
    network = network or MemoryNetwork()
    stores = stores if stores is not None else {"alice": MemoryStore(), "bob": MemoryStore()}
    async with AsyncExitStack() as stack:
        nodes = {
            name: await stack.enter_async_context(
                open_node(wrap(name, store), network.transport(name), list(mechanism.make()), policy=mechanism.policy)
            )
            for name, store in stores.items()
        }
        pair = Pair(network, stores, nodes["alice"], nodes["bob"])
        if introduced:
            await pair.introduce()
        yield pair


async def heard(node: Node, text: str) -> TextReceived:
    """The event that tells this text; the test fails if it does not come."""
    with anyio.fail_after(PATIENCE):
        async for event in node.events():
            if isinstance(event, TextReceived) and event.text == text:
                return event
    raise AssertionError("the events ended")


async def event_of(node: Node, kind: type[E]) -> E:
    with anyio.fail_after(PATIENCE):
        async for event in node.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")


async def told(
    events: AsyncIterator[Event], enough: Callable[[list[Event]], bool] = lambda found: True, *, quiet: float = QUIET_S
) -> list[Event]:
    """All that is told, however long the machine takes over it: until it is `enough`, and then what still comes."""
    found: list[Event] = []

    async def read() -> None:
        async for event in events:
            found.append(event)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        with anyio.move_on_after(PATIENCE):
            while not enough(found):
                await anyio.sleep(0.01)
        await anyio.sleep(quiet)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    return found


def so_many(count: int, *kinds: type[Event]) -> Callable[[list[Event]], bool]:
    return lambda found: sum(isinstance(event, kinds) for event in found) >= count


async def flushed(*nodes: Node) -> None:
    with anyio.fail_after(PATIENCE):
        for node in nodes:
            await node.flushed()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(PATIENCE):
        while not await holds():
            await anyio.sleep(0.005)
