"""One of the demo's two people: a profile in a folder, online or not, who counts what comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
from attrs import define, field, frozen
from kexkit import (
    Event,
    Guarantee,
    NegotiationTrouble,
    Node,
    Plugins,
    Policy,
    Sent,
    SessionOpened,
    TextReceived,
    TransportTrouble,
    Unreadable,
    Waiting,
    open_node,
)
from kexkit.api import KeyExchange

from kexkit_cli.negotiating import offered


@define
class Place:
    """What both use: stores, the transport, and how to open them."""

    plugins: Plugins
    store: str
    transport: str
    transport_settings: dict[str, str]


@frozen
class Terms:
    """How one of them negotiates."""

    exchanges: tuple[KeyExchange, ...]
    """in order of preference"""
    policy: Policy

    @property
    def offered(self) -> tuple[str, ...]:
        return offered(self.exchanges, self.policy)


@define(eq=False)
class Peer:
    """What has come is known over restarts, as an application would know it."""

    name: str
    folder: Path
    place: Place
    terms: Terms
    told: Callable[[Peer, TextReceived | SessionOpened], None]
    node: Node | None = None
    identity: bytes = b""
    times: Counter[bytes] = field(factory=Counter)
    """how often each message came"""
    texts: dict[bytes, str] = field(factory=dict)
    grades: dict[bytes, Guarantee] = field(factory=dict)
    sessions: list[SessionOpened] = field(factory=list)
    unreadable: list[Unreadable] = field(factory=list)
    in_the_way: str = ""
    _bell: anyio.Event = field(factory=anyio.Event)

    @property
    def at_work(self) -> Node:
        assert self.node is not None, f"{self.name} is offline"
        return self.node

    @asynccontextmanager
    async def online(self) -> AsyncIterator[Node]:
        """The same store each time; the node and its connection are new."""
        place = self.place
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(place.plugins.store(place.store).open({"path": str(self.folder)}))
            transport = await stack.enter_async_context(
                place.plugins.transport(place.transport).open(dict(place.transport_settings))
            )
            self.node = await stack.enter_async_context(
                open_node(store, transport, self.terms.exchanges, policy=self.terms.policy)
            )
            self.identity = self.node.identity
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read, self.node)
                    yield self.node
                    tasks.cancel_scope.cancel()
            finally:
                self.node = None

    async def say(self, other: Peer, text: str) -> Sent:
        return await self.at_work.send(other.identity, text)

    async def _read(self, node: Node) -> None:
        async for event in node.events():
            self._take(event)
            await node.ack(event)
            self._bell.set()

    def _take(self, event: Event) -> None:
        if isinstance(event, TextReceived):
            self.times[event.message_id] += 1
            self.texts[event.message_id] = event.text
            self.grades[event.message_id] = event.grade
            self.told(self, event)
        elif isinstance(event, Unreadable):
            self.unreadable.append(event)
        elif isinstance(event, SessionOpened):
            self.sessions.append(event)
            self.told(self, event)
        elif isinstance(event, Waiting):
            self.in_the_way = event.reason
        elif isinstance(event, TransportTrouble):
            self.in_the_way = event.cause
        elif isinstance(event, NegotiationTrouble):
            self.in_the_way = event.reason

    async def until(self, fulfilled: Callable[[], bool], patience: float) -> bool:
        """Wait for it. False: nothing at all has happened for `patience` seconds."""
        while not fulfilled():
            self._bell = anyio.Event()
            with anyio.move_on_after(patience) as waiting:
                await self._bell.wait()
            if waiting.cancelled_caught:
                return fulfilled()
        return True
