"""Secrets under all their spellings, and all that an error could show of them."""

from __future__ import annotations

import base64
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field
from kexkit import _records as records

FIRST = 8
"""bytes of a secret that may not stand anywhere: no chance hit, and less than any key"""
TESTS = str(Path(__file__).parents[1])


def spellings(secret: bytes) -> Iterator[str]:
    """How bytes come to stand in a text: as they are, escaped, in hex, in base64 at each place, one by one."""
    first = secret[:FIRST]
    yield first.decode("latin-1")
    yield first.decode("utf-8", "replace") if first.isascii() else first.decode("latin-1")
    escaped = repr(first + b"'\"")[2:-1].removesuffix("\\'\"")  # with both quotes in it repr escapes the single one
    yield from (escaped, escaped.replace("\\'", "'"))
    yield str(records.Self(secret=first)).strip()[len('secret: "') : -1]  # as protobuf shows bytes
    yield from (first.hex(), first.hex().upper(), first.hex(" "), first.hex(":"))
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret[: FIRST + 3]).decode()
        skipped = (0, 2, 3)[shift]
        aligned = whole[skipped : (shift + FIRST) * 8 // 6]
        yield from (aligned, aligned.replace("+", "-").replace("/", "_"))
    yield ", ".join(map(str, first))


def as_numbers(secret: bytes) -> tuple[str, str]:
    return str(int.from_bytes(secret, "big")), str(int.from_bytes(secret, "little"))


@define
class Canaries:
    """All secrets of a talk, under every spelling."""

    needles: dict[str, str] = field(factory=dict, repr=False)

    def add(self, name: str, secret: bytes) -> None:
        if len(secret) < 2 * FIRST or len(set(secret)) <= FIRST:
            return  # numbers and marks, not keys
        numbered = len(set(secret[:FIRST])) <= FIRST // 2  # a number before a key: other things begin with it, too
        self.needles.update(dict.fromkeys(spellings(secret[FIRST:] if numbered else secret), name))
        self.needles.update(dict.fromkeys(as_numbers(secret), name))

    def add_text(self, text: str) -> None:
        self.add(f"text {text[:6]}", text.encode())
        self.needles[text[:FIRST]] = f"text {text[:6]}"

    def found(self, where: str) -> set[str]:
        return {name for needle, name in self.needles.items() if needle in where}


@define(eq=False)
class Draws:
    """Chance that remembers what it gave."""

    given: list[bytes] = field(factory=list, repr=False)

    def __call__(self, size: int) -> bytes:
        drawn = os.urandom(size)
        if size == 32:
            self.given.append(drawn)
        return drawn


def seen_in(error: BaseException) -> list[str]:
    """All that a reporter of crashes could send on: the chain of errors, suppressed or not, with all frames' locals."""
    parts, rest, done = list[str](), [error], set[int]()
    while rest:
        one = rest.pop()
        if id(one) in done:
            continue
        done.add(id(one))
        rest += [near for near in (one.__cause__, one.__context__) if near is not None]
        parts += [repr(one), str(one), repr(one.args), repr(vars(one))]
        for frame in traceback.TracebackException.from_exception(one, capture_locals=True).stack:
            if not frame.filename.startswith(TESTS):
                parts += [f"{frame.name}: {name} = {content}" for name, content in (frame.locals or {}).items()]
    return parts
