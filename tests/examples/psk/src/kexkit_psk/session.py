"""A session under a pre-shared key: two keys, two counters, and a window of what has been opened."""

from __future__ import annotations

from struct import Struct, error
from typing import Final

from attrs import evolve, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit.api import (
    Close,
    Context,
    Cue,
    Device,
    Forged,
    Guarantee,
    Have,
    Hear,
    Malformed,
    NotMine,
    Plain,
    Replayed,
    Step,
    StoreCorrupt,
    StoreNewer,
    Unpicklable,
)

from kexkit_psk.limits import SENT, WINDOW

GIVES: Final = (
    Guarantee.SECRET
    | Guarantee.FROM_PEER
    | Guarantee.TO_PEER
    | Guarantee.OUT_OF_ORDER
    | Guarantee.OFFLINE_START
    | Guarantee.REPLAY_SAFE
    | Guarantee.BINDS
)
NOWHERE: Final[frozenset[Hear]] = frozenset()

# frame = stamp: when the session began 8, random 16 | number 8 | nonce 12 | sealed text
STAMP: Final = 24
HEADER: Final = STAMP + 8 + 12
TAG: Final = 16

FORMAT: Final = 1
_SNAPSHOT: Final = Struct(">B 32s 24s 32s 32s Q Q Q 33s B")


@frozen
class PskSession(Unpicklable):
    """An immutable value: every method returns the successor."""

    id: bytes
    stamp: bytes
    send_key: bytes = field(repr=False)
    open_key: bytes = field(repr=False)
    peer: Device
    sent: int = 0
    top: int = 0
    """one more than the highest number opened"""
    seen: int = 0
    """bit i: number top - 1 - i has been opened"""

    due = None
    hears = NOWHERE

    @property
    def grade(self) -> Guarantee | None:
        return GIVES if self.sent < SENT else None

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        header = self.stamp + self.sent.to_bytes(8, "big") + ctx.rng(12)
        sealed = ChaCha20Poly1305(self.send_key).encrypt(header[-12:], plaintext, header)
        return Step(evolve(self, sent=self.sent + 1), frames=(header + sealed,))

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        if frame[:STAMP] != self.stamp:
            raise NotMine
        if len(frame) < HEADER + TAG:
            raise Malformed
        number = int.from_bytes(frame[STAMP : STAMP + 8], "big")
        lag = self.top - 1 - number
        if number >= SENT or lag >= WINDOW or (lag >= 0 and self.seen >> lag & 1):
            raise Replayed
        body = self._opened(frame)
        if body is None:
            raise Forged
        top = max(self.top, number + 1)
        seen = self.seen << min(top - self.top, WINDOW) | 1 << (top - 1 - number)
        successor = evolve(self, top=top, seen=seen & (1 << WINDOW) - 1)
        return Step(successor, plain=(Plain(body, GIVES),))

    def _opened(self, frame: bytes) -> bytes | None:
        """None instead of an error: nothing with a key in it is on the stack when `receive` raises."""
        header = frame[:HEADER]
        try:
            return ChaCha20Poly1305(self.open_key).decrypt(header[-12:], frame[HEADER:], header)
        except InvalidTag:
            return None

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(None if isinstance(cue, Close) else self)

    def snapshot(self) -> bytes:
        installation = self.peer.installation.encode()
        return (
            _SNAPSHOT.pack(
                FORMAT,
                self.id,
                self.stamp,
                self.send_key,
                self.open_key,
                self.sent,
                self.top,
                self.seen,
                self.peer.identity,
                len(installation),
            )
            + installation
        )


def restored(snapshot: bytes) -> PskSession:
    if snapshot[:1] > bytes((FORMAT,)):
        raise StoreNewer
    try:
        _, id, stamp, send_key, open_key, sent, top, seen, identity, length = _SNAPSHOT.unpack_from(snapshot)
        installation = snapshot[_SNAPSHOT.size :].decode()
    except (error, UnicodeDecodeError):
        raise StoreCorrupt from None
    if snapshot[0] != FORMAT or len(snapshot) != _SNAPSHOT.size + length:
        raise StoreCorrupt
    return PskSession(id, stamp, send_key, open_key, Device(identity, installation), sent, top, seen)
