"""A refusal's traceback ends at the door: what is called behind it has keys among its locals."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import kexkit_x3dh
import pytest
from attrs import evolve
from kexkit.api import NOTHING, Device, Opening
from kexkit.errors import KexkitError
from kexkit.testing.pair import Pair
from kexkit_x3dh import prekeys

from tests.x3dh.support import OFF_CURVE, met, opening, seal, session, strangers, with_header

INSIDE = str(Path(kexkit_x3dh.__file__).parent)
Act = Callable[[], object]


def forged(frame: bytes) -> bytes:
    return frame[:-1] + bytes((frame[-1] ^ 1,))


def receiving(pair: Pair) -> list[Act]:
    sent = seal(pair.alice, pair.bob)
    value, ctx = session(pair.bob, pair.alice), pair.bob.context
    bad = [forged(sent.frame), with_header(sent, n=5).frame, with_header(sent, n=10**6).frame, b"\xff"]
    bad += [with_header(sent, key=OFF_CURVE).frame, with_header(sent, id=OFF_CURVE).frame]
    return [lambda frame=frame: value.receive(frame, NOTHING, ctx=ctx) for frame in bad]  # type: ignore[misc]


def accepting(pair: Pair) -> list[Act]:
    sent = opening(pair)
    have: dict[bytes, bytes | None] = {row: kept.value for row, kept in pair.bob.drawer.items()}
    have = {**have, prekeys.opening_row(pair.alice.me.identity, *keys(sent.frame)): None}
    exchange, ctx, who = pair.bob.exchange, pair.bob.context, Opening(pair.alice.me, None)
    bad = [forged(sent.frame), with_header(sent, n=10**6).frame, with_header(sent, key=OFF_CURVE).frame, b"\xff"]
    return [lambda frame=frame: exchange.accept(frame, who, have, ctx=ctx) for frame in bad]  # type: ignore[misc]


def keys(frame: bytes) -> tuple[bytes, bytes]:
    """The ephemeral and the prekey of a first frame."""
    return frame[4:37], frame[39:72]


def others(pair: Pair) -> list[Act]:
    exchange, ctx = pair.alice.exchange, pair.alice.context
    advert = pair.alice.adverts[pair.bob.me]
    snapshot = b"\x01\x01" + bytes(200)
    damaged = {prekeys.PUBLISHED_ROW: b"\x01damaged"}
    nobody = evolve(advert, device=Device(OFF_CURVE, "x"))
    return [
        lambda: exchange.restore(snapshot),
        lambda: exchange.offer(damaged, siblings=(), ctx=ctx),
        lambda: exchange.initiate(Opening(nobody.device, nobody), NOTHING, ctx=ctx),
    ]


@pytest.mark.parametrize(
    ("name", "acts"),
    [
        ("receive", lambda: receiving(met())),
        ("accept", lambda: accepting(strangers())),
        (None, lambda: others(strangers())),
    ],
)
def test_a_traceback_goes_no_deeper_than_the_door(name: str | None, acts: Callable[[], list[Act]]) -> None:
    for act in acts():
        with pytest.raises(KexkitError) as caught:
            act()
        error = caught.value
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None
        inside = [line for line in traceback.extract_tb(error.__traceback__) if line.filename.startswith(INSIDE)]
        assert [line.name for line in inside] == [name or inside[0].name]
