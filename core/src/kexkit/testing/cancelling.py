"""Cancelling an awaitable at a chosen one of its suspensions, on either event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any

import anyio
from attrs import frozen


@frozen
class CancelledAt:
    """Awaits for another, and cancels `scope` when it suspends for the `at`-th time.

    Awaiting it tells whether the other ran through without suspending so often, so that a test tries 1, 2, 3 ... until
    it did.
    """

    awaited: Awaitable[object]
    scope: anyio.CancelScope
    at: int

    def __await__(self) -> Generator[Any, Any, bool]:
        inner = self.awaited.__await__()
        resume, suspensions = partial(inner.send, None), 0
        while True:
            try:
                trap = resume()
            except StopIteration:
                return suspensions < self.at
            suspensions += 1
            if suspensions == self.at:
                self.scope.cancel()
            try:
                answer = yield trap
            except BaseException as error:  # for the awaited to handle, cancellation included
                resume = partial(inner.throw, error)
            else:
                resume = partial(inner.send, answer)
