"""The transport of commands that need no network: what they make leaves when the profile is next online."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping

import anyio
from kexkit.api import Arrival, Envelope
from kexkit.errors import TransportRefused


class Offline:
    """Takes nothing and brings nothing, at once; whatever was to leave stays in the outbox."""

    async def publish(self, envelope: Envelope) -> None:
        raise TransportRefused("This command works offline.")

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        return None

    async def unwatch(self, topics: Collection[str]) -> None:
        return None

    async def arrivals(self) -> AsyncIterator[Arrival]:
        await anyio.sleep_forever()
        yield  # type: ignore[misc]  # never reached: it makes this a generator
