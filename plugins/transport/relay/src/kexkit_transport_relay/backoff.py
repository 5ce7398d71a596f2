"""How long to wait before connecting again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from kexkit_transport_relay.limits import RETRY_FIRST, RETRY_MOST, STEADY_SECONDS


class Backoff:
    """Doubling pauses, each drawn anew from its upper half, so that a relay's clients do not come back together.

    `jitter` gives numbers from 0 to below 1.
    """

    def __init__(self, jitter: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._jitter, self._sleep = jitter, sleep
        self._failures = 0
        self._since: float | None = None

    def connected(self) -> None:
        self._since = anyio.current_time()

    def next(self) -> float:
        """Seconds. A connection that lasted starts the pauses anew; one that was cut at once does not."""
        if self._since is not None and anyio.current_time() - self._since >= STEADY_SECONDS:
            self._failures = 0
        self._since = None
        self._failures += 1
        return self._drawn(min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(self._failures - 1, 30)))

    def _drawn(self, longest: float) -> float:
        return longest * (0.5 + self._jitter() / 2)

    async def pause(self, needed: anyio.Event) -> None:
        """The next pause; cut short to a first one when somebody needs the connection."""
        pause = self.next()
        shortest = min(pause, self._drawn(RETRY_FIRST))
        await self._sleep(shortest)
        async with anyio.create_task_group() as group:

            async def until_needed() -> None:
                await needed.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_needed)
            await self._sleep(pause - shortest)
            group.cancel_scope.cancel()
