"""Every test here ends: a server or a client that hangs is a failure after a while, not a stopped run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

HARD_LIMIT = 40
"""seconds; the slowest test takes about 3 alone on a quiet machine"""


@pytest.fixture(autouse=True)
def hard_limit() -> Iterator[None]:
    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"the test ran for {HARD_LIMIT} seconds")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(HARD_LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
