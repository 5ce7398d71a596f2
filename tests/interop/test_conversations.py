"""Conversations between kexkit and the oracle in any order of events: everything opens once, with what was sent."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interop.conversations import EVENTS, Event, World, casts, talk, talk_long
from tests.interop.devices import Workshop

CASTS = casts(Workshop.status_go)


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("introduced", [True, False], ids=["introduced", "strangers"])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(events=EVENTS, seed=st.integers(0, 9))
def test_everything_opens_once(cast: str, introduced: bool, events: list[Event], seed: int) -> None:
    talk(World.of(CASTS[cast], Workshop(Random(seed))), events, introduced=introduced)


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_long_conversation_goes_through(cast: str, seed: int) -> None:
    talk_long(World.of(CASTS[cast], Workshop(Random(seed))), Random(seed))
