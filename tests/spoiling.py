"""Random and mutated inputs for decoders, the same in every run: any bytes give a value or a refusal, nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pytest

INPUTS: Final = 100_000
"""for each decoder"""


def total(
    decoder: Callable[[bytes], object],
    genuine: Sequence[bytes],
    refusals: tuple[type[Exception], ...],
    *,
    seed: str,
    refused_at_least: float = 0.1,
) -> None:
    """What is genuine is read; of all that is made of it, a value or one of these refusals comes, and of both some."""
    assert all(attempt(decoder, each, refusals) for each in genuine)
    outcomes = [0, 0]
    for raw in spoiled(genuine, random.Random(seed)):
        outcomes[attempt(decoder, raw, refusals)] += 1
    assert sum(outcomes) == INPUTS
    assert outcomes[False] > INPUTS * refused_at_least


def spoiled(genuine: Sequence[bytes], rng: random.Random) -> Iterator[bytes]:
    """A quarter is noise."""
    for number in range(INPUTS):
        if number % 4 == 0:
            yield rng.randbytes(rng.randrange(300))
        else:
            yield mutated(genuine[number % len(genuine)], rng)


def mutated(genuine: bytes, rng: random.Random) -> bytes:
    raw = bytearray(genuine)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(6):
            case 0 if at < len(raw):
                raw[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(raw):
                raw[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del raw[at : at + rng.randrange(1, 20)]
            case 3:
                raw[at:at] = rng.randbytes(rng.randrange(1, 12))
            case 4:
                raw[at:at] = raw[rng.randrange(len(raw) + 1) :][: rng.randrange(1, 60)]
            case _:
                del raw[at:]
    return bytes(raw)


def attempt(decoder: Callable[[bytes], object], raw: bytes, refusals: tuple[type[Exception], ...]) -> bool:
    """Whether it was read."""
    try:
        decoder(raw)
    except refusals:
        return False
    except Exception as escaped:
        pytest.fail(f"{type(escaped).__name__} escaped on {raw.hex()}")
    return True
