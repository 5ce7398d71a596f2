"""What the tests of healing sessions share: two ends with drawers, that go on from stored bytes at every step."""

from __future__ import annotations

import random
from collections.abc import Callable
from hashlib import sha256

from attrs import define, field
from kexkit.api import Have, Row, Wants
from kexkit.errors import Refusal
from kexkit_noise._noise import Split
from kexkit_noise.healing import HealingSession, Opened
from kexkit_noise.keys import KeyPair, key_pair

SESSION = bytes(range(32))
NOW = 1_760_000_000_000


def stream(seed: int | str) -> Callable[[int], bytes]:
    """Bytes that look random, and never repeat for one seed."""
    count = 0

    def draw(size: int) -> bytes:
        nonlocal count
        count += 1
        return sha256(f"{seed}/{count}".encode()).digest()[:size]

    return draw


def waku_tag(secret: bytes, n: int) -> bytes:
    """Of a direction's n-th message, as js-noise makes it."""
    return sha256(secret + n.to_bytes(8, "little")).digest()[:16]


@define
class End:
    """One device: its session, and its drawer."""

    value: HealingSession
    rng: Callable[[int], bytes]
    drawer: dict[bytes, Row] = field(factory=dict)
    stores: bool = True
    """it goes on from stored bytes; else from the successor, with all that it remembers besides"""

    def seal(self, text: bytes) -> bytes:
        before = self.value.snapshot()
        after, frame = self.value.seal(text, self.rng)
        assert self.value.snapshot() == before
        self.value = self._next(after)
        return frame

    def look(self, frame: bytes, *, now: int = NOW) -> Opened:
        """What opening the frame would do; nothing is changed, whatever comes."""
        before = self.value.snapshot()
        have: dict[bytes, bytes | None] = {}
        try:
            for _ in range(4):
                answer = self.value.open(frame, have, now=now)
                if not isinstance(answer, Wants):
                    return answer
                assert answer.rows.isdisjoint(have), "it wants a row twice"
                have |= self.rows(answer.rows)
            raise AssertionError("it wants without end")
        finally:
            assert self.value.snapshot() == before

    def rows(self, wanted: frozenset[bytes]) -> Have:
        return {row: self.drawer[row].value if row in self.drawer else None for row in wanted}

    def open(self, frame: bytes, *, now: int = NOW) -> bytes:
        opened = self.look(frame, now=now)
        assert not set(opened.keep) & set(opened.drop)
        assert all(row.startswith(SESSION) for row in (*opened.keep, *opened.drop))
        for row in opened.drop:
            self.drawer.pop(row, None)
        self.drawer |= opened.keep
        self.value = self._next(opened.successor)
        return opened.plaintext

    def _next(self, successor: HealingSession) -> HealingSession:
        return HealingSession.restore(successor.snapshot()) if self.stores else successor

    def refuses(self, frame: bytes) -> type[Refusal] | None:
        """Why; None: it would open."""
        rows = dict(self.drawer)
        try:
            self.look(frame)
        except Refusal as refusal:
            assert self.drawer == rows
            return type(refusal)
        return None

    def kept_keys(self) -> int:
        return sum(row[len(SESSION) :].startswith(b"k") for row in self.drawer)

    def copy(self) -> End:
        return End(HealingSession.restore(self.value.snapshot()), self.rng, dict(self.drawer))


@define
class Couple:
    """Initiator and responder, after the handshake."""

    initiator: End
    responder: End

    @property
    def ends(self) -> tuple[End, End]:
        return self.initiator, self.responder

    def other(self, end: End) -> End:
        return self.responder if end is self.initiator else self.initiator


def split_of(seed: int | str) -> Split:
    draw = stream(f"split {seed}")
    return Split(draw(32), draw(32), draw(32))


def couple(seed: int | str = 0, *, stores: bool = True) -> Couple:
    draw, split = stream(f"r {seed}"), split_of(seed)
    ours, theirs = key_pair(draw(32)), key_pair(draw(32))
    initiator, responder = (
        begun(split, own, peer.public, initiator=own is ours) for own, peer in ((ours, theirs), (theirs, ours))
    )
    return Couple(
        End(initiator, stream(f"initiator {seed}"), stores=stores),
        End(responder, stream(f"responder {seed}"), stores=stores),
    )


def begun(split: Split, own: KeyPair, peer: bytes, *, initiator: bool) -> HealingSession:
    return HealingSession.begin(split, session=SESSION, initiator=initiator, own=own, peer=peer)


def met(seed: int | str = 0, *, stores: bool = True) -> Couple:
    """Both have heard each other; the initiator spoke last, twice."""
    pair = couple(seed, stores=stores)
    for sender in (pair.responder, pair.initiator, pair.responder, pair.initiator, pair.initiator):
        assert pair.other(sender).open(sender.seal(b"how do you do")) == b"how do you do"
    return pair


def shuffled(seed: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
