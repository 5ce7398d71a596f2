"""No key of a handshake stands in a traceback, at whichever step it refuses. The kit tries settled sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

import pytest
from kexkit.errors import KexkitError
from kexkit.testing.key_exchange_case import altered, any_bytes, resized
from kexkit.testing.key_exchange_leaks import _found, _secrets, _where, _with_locals
from kexkit.testing.key_exchange_party import Party
from kexkit.testing.key_exchange_rules import ask
from kexkit.testing.pair import Pair

from tests.noise.meeting import NAMES, PSK, Meeting, pair_of

TEXT = bytes(range(200, 255)) + b"a text that nobody should find in a traceback"


def errors(party: Party, frames: list[bytes]) -> Iterator[KexkitError]:
    """Whatever its present sessions and its mechanism refuse, and what they refuse to do."""
    ctx = party.context
    opening = party.opening(None, party.issued[0].bind)
    acts: list[Callable[[], object]] = []
    for session in party.sessions.values():
        acts.append(lambda session=session: session.seal(TEXT * 40_000, ctx=ctx))  # type: ignore[misc]  # bound early
        if session.grade is None:
            acts.append(lambda session=session: session.seal(TEXT, ctx=ctx))  # type: ignore[misc]
        for frame in frames:
            acts.append(
                lambda s=session, f=frame: ask(lambda have: s.receive(f, have, ctx=ctx), party.look_up, party.draws)
            )  # type: ignore[misc]
    for frame in frames:
        acts.append(
            lambda f=frame: ask(
                lambda have: party.exchange.accept(f, opening, have, ctx=ctx), party.look_up, party.draws
            )
        )  # type: ignore[misc]
    for act in acts:
        try:
            act()
        except KexkitError as error:
            yield error.with_traceback(inside(error.__traceback__))


def inside(trace: TracebackType | None) -> TracebackType | None:
    """From the plugin's first line on: a test's own locals are full of secrets."""
    while trace is not None and "kexkit_noise" not in trace.tb_frame.f_code.co_filename:
        trace = trace.tb_next
    return trace


def check(pair: Pair, frames: list[bytes]) -> None:
    bad = [variant for frame in frames for variants in (altered, resized) for variant in variants(frame)]
    secrets = _secrets(pair, *frames) | {PSK[:16], PSK[16:], TEXT[:16], TEXT[-16:]}
    told: dict[str, str] = {}
    for party in (pair.alice, pair.bob):
        for error in errors(party, [*bad, *frames, *any_bytes(20, beginnings=frames)]):
            told.setdefault(_where(error), _with_locals(error))
    assert told
    for where, text in told.items():
        assert not _found(text, secrets), f"the traceback of {where} shows a secret among its locals"


@pytest.mark.parametrize("name", NAMES)
def test_no_step_of_a_handshake_shows_a_secret_when_it_refuses(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    check(pair, [first.frame])
    second = Meeting(pair).second(first)
    check(pair, [first.frame, second.frame])
    third = Meeting(pair).third(second)
    check(pair, [first.frame, second.frame, third.frame])
