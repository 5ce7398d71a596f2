"""Our own transports keep the promises that a stranger's must."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from kexkit.testing import MemoryNetwork, TransportKit
from kexkit.testing.transport_kit import Connect
from kexkit_transport_relay import open_relay, serve


@asynccontextmanager
async def memory_network() -> AsyncIterator[Connect]:
    network, names = MemoryNetwork(), count()
    yield lambda: network.transport(f"peer {next(names)}")


@asynccontextmanager
async def relay_network() -> AsyncIterator[Connect]:
    async with serve() as relay:
        yield lambda: open_relay({"url": relay.url})


class TestMemoryNetwork(TransportKit):
    network = staticmethod(memory_network)


class TestRelay(TransportKit):
    network = staticmethod(relay_network)
