"""A Noise XX handshake, both sides: noiseprotocol alone, and ours on top of it.

    uv run python -m bench.noise_handshake

Both load the statics. Ours pads and authenticates as Waku does, takes every step on a value, and is given the random
bytes of its ephemeral keys. Storage and statements are not in it; a line of its own shows what storing between any two
messages adds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from statistics import median
from typing import Final

from kexkit_noise._noise import Handshake, Keys, Pattern, key_pair
from noise.connection import Keypair, NoiseConnection

from bench.choices import repeated
from bench.measuring import measure, ratio

AT_MOST: Final = 1.4
"""times as long as the library alone"""
_STATICS: Final = os.urandom(32), os.urandom(32)
_TAG: Final = bytes(16)


def library() -> None:
    sides = [NoiseConnection.from_name(Pattern.XX.noise_name) for _ in _STATICS]
    sides[0].set_as_initiator()
    sides[1].set_as_responder()
    for side, static in zip(sides, _STATICS, strict=True):
        side.set_keypair_from_private_bytes(Keypair.STATIC, static)
        side.start_handshake()
    for step in range(3):
        writer, reader = sides[:: -1 if step % 2 else 1]
        reader.read_message(bytes(writer.write_message(b"")))
    assert sides[0].get_handshake_hash() == sides[1].get_handshake_hash()


def ours(kept: Callable[[Handshake], Handshake] = lambda state: state) -> None:
    writer, reader = (
        kept(Handshake.begin(Pattern.XX, initiator=role, prologue=b"", keys=Keys(key_pair(static))))
        for role, static in zip((True, False), _STATICS, strict=True)
    )
    for _ in range(3):
        written = writer.write(b"", _TAG, ephemeral=os.urandom(32))
        read = reader.read(written.fields, written.transport, _TAG)
        writer, reader = kept(read.state), kept(written.state)
    assert writer.split() == reader.split()


def stored() -> None:
    ours(lambda state: Handshake.decode(state.encode()))


def main() -> int:
    contestants = [repeated("noiseprotocol", library), repeated("ours", ours), repeated("ours, stored", stored)]
    theirs, *found = measure(contestants, rounds=9, sample_ms=60, tell=lambda what: None)
    print(f"{median(theirs.processor):8.0f} µs  {contestants[0].name}")
    ratios = []
    for contestant, samples in zip(contestants[1:], found, strict=True):
        times = ratio(theirs.processor, samples.processor)
        ratios.append(times.median)
        line = f"{times.median:.2f} times as long ({times.low:.2f} to {times.high:.2f})"
        print(f"{median(samples.processor):8.0f} µs  {contestant.name}: {line}")
    return ratios[0] > AT_MOST


if __name__ == "__main__":
    sys.exit(main())
