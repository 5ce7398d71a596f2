"""Each decoder of x3dh/1: 100,000 random and mutated inputs give values and typed errors, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from kexkit.errors import Refusal, StoreCorrupt, StoreNewer
from kexkit_x3dh import bundle, frames
from kexkit_x3dh._pb import bundle_pb2 as pb
from kexkit_x3dh.exchange import X3DH

from tests.spoiling import total
from tests.x3dh.support import met, opening, seal, strangers
from tests.x3dh.test_bundle import ALICE, ONE, TWO, made, prekey, read
from tests.x3dh.test_snapshots import lives, resummed

STORED = (StoreCorrupt, StoreNewer)
RESTORE = X3DH().restore


def resigned(raw: bytes) -> None:
    """Spoiled, then signed: what its maker can publish."""
    spoiled = bundle.parse(raw)
    signature = ALICE.sign_status(bundle.signed_material(spoiled.prekeys, spoiled.timestamp))
    message = pb.Bundle.FromString(raw)
    message.identity, message.signature = ALICE.public, signature
    read(message.SerializeToString())


@cache
def wire() -> list[bytes]:
    pair = met()
    direct = frames.write_direct(pair.alice.me.identity, bytes(60))
    return [opening(strangers()).frame, seal(pair.alice, pair.bob).frame, direct]


@cache
def bundles() -> list[bytes]:
    return [made(), made({ONE: prekey("one", 7), TWO: prekey("two")})]


@cache
def snapshots() -> list[bytes]:
    return [value.snapshot() for value in lives()[:9]]


DECODERS: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]], tuple[type[Exception], ...]]] = {
    "frame": (frames.read, wire, (Refusal,)),
    "bundle": (read, bundles, (Refusal,)),
    "bundle, signed": (resigned, bundles, (Refusal,)),
    "snapshot": (RESTORE, snapshots, STORED),
    "snapshot, summed up": (lambda raw: RESTORE(resummed(raw)), snapshots, STORED),
}


@pytest.mark.parametrize("name", DECODERS)
def test_any_bytes_give_a_value_or_a_typed_error(name: str) -> None:
    decoder, genuine, refusals = DECODERS[name]
    total(decoder, genuine(), refusals, seed=name)
