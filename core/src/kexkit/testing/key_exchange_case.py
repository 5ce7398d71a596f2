"""What the parts of `KeyExchangeKit` share: the author's settings, and conversations to test with."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

from kexkit.api import Ask, Guarantee, KeyExchange
from kexkit.errors import Refusal
from kexkit.testing.key_exchange_party import Make, Party, Sent, Took
from kexkit.testing.pair import Pair, say_yes

LASTING: Final = (
    Guarantee.SECRET | Guarantee.FROM_PEER | Guarantee.TO_PEER | Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE
)
"""What a settled session must give if its mechanism declares it; the rest is about its beginning."""

DAY: Final = 24 * 3600 * 1000
AGES: Final = 400 * DAY
"""Milliseconds: longer than anything that a mechanism keeps for a session that is over."""


class KeyExchangeCase:
    """Settings. `make` is needed, the rest only by mechanisms that are special."""

    stranger: Make | None = None
    """a mechanism as somebody else would configure it, if yours alone does not tell two people apart"""
    secret: bytes | None = None
    """Opening.secret, for mechanisms that want one"""
    largest: int = 60_000
    """bytes of the largest text that a frame can carry, if that is fewer"""
    random_inputs: int = 20_000
    """byte strings: each of one half goes to receive and to accept, a quarter to read_offer, a quarter to restore"""
    frames_may_differ: bool = False
    """True only where a foreign wire format has bytes under no key: an altered frame may then open to the same text"""
    nonces_are_counted: bool = False
    """True only where a foreign wire format takes nonces from a counter: a state put back from a copy then seals two
    texts with one keystream, which is why kexkit's backups hold no sessions"""

    tells_clones: bool = False
    """True where a peer is told (`kexkit.errors.Cloned`) once two copies of a device have both answered it"""

    @staticmethod
    def make() -> KeyExchange:
        """The mechanism under test, configured. Called once for each device and restart."""
        raise AssertionError("a kit needs: make = staticmethod(lambda: YourMechanism(...))")

    @staticmethod
    def answer(ask: Ask) -> bytes:
        """What the person says to an Ask."""
        return say_yes(ask)

    def pair(self, seed: str = "0") -> Pair:
        return Pair(self.make, stranger=self.stranger, secret=self.secret, answer=self.answer, seed=seed)

    def declares(self, guarantee: Guarantee) -> bool:
        return guarantee in self.make().guarantees


def texts(count: int, label: str = "text") -> list[bytes]:
    return [f"{label} number {number}, which is long enough to be told from noise".encode() for number in range(count)]


def talk(pair: Pair, turns: int, burst: int = 2) -> None:
    """`turns` times: some texts one way, then some the other."""
    for turn in range(turns):
        for sender in (pair.alice, pair.bob):
            for text in texts(burst, f"turn {turn}"):
                pair.say(sender, text)


def any_bytes(count: int, *, beginnings: list[bytes] | None = None) -> Iterator[bytes]:
    """Byte strings of many lengths; some begin as a real frame does."""
    dice = random.Random("any bytes")  # noqa: S311  # a test's dice: the same throws each time
    for number in range(count):
        noise = dice.randbytes(min(int(dice.expovariate(1 / 90)), 2_000))
        if beginnings and number % 2:
            start = dice.choice(beginnings)
            noise = start[: dice.randrange(len(start) + 1)] + noise
        yield noise


def altered(frame: bytes) -> Iterator[bytes]:
    """The frame with one bit changed: every byte of a short one, the ends and a sample of a long one."""
    dice = random.Random(len(frame))  # noqa: S311
    places = set(range(min(len(frame), 128))) | set(range(max(len(frame) - 16, 0), len(frame)))
    places |= {dice.randrange(len(frame)) for _ in range(16)}
    for place in sorted(places):
        changed = bytearray(frame)
        changed[place] ^= 1 << dice.randrange(8)
        yield bytes(changed)


def resized(frame: bytes) -> Iterator[bytes]:
    """The frame cut short and made longer."""
    step = max(len(frame) // 200, 1)
    for length in range(0, len(frame), step):
        yield frame[:length]
    yield frame + b"\0"
    yield frame + frame
    yield b"\0" + frame


def attempt(party: Party, sent: Sent) -> Took | None:
    """Give a frame to a device; None: it refused."""
    try:
        return party.receive(sent)
    except Refusal:
        return None


def force(party: Party, sent: Sent, bind: bytes) -> Took | None:
    """Give a frame to a device that is not its reader: to each session it has, then as an opening with this bind."""
    for session_id in reversed(list(party.sessions)):
        try:
            return party.receive_in(session_id, sent.frame)
        except Refusal:
            continue
    try:
        return party.accept(sent, bind=bind)
    except Refusal:
        return None
