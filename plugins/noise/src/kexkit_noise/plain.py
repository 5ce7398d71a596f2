"""A session as Waku has it (specifications 35 and 37): what is left of a Noise handshake, with keys that never change.

The n-th message of a direction has nonce n, and a nametag from n, so that each opens on its own, in any order, once. A
message opens if its place is within the window and unused, its form is exact and it authenticates. The tags, and the
topic, follow from the transcript, which is public. Whoever steals the session reads all of it, both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from struct import Struct
from typing import Final, NoReturn
from zlib import crc32

from attrs import field
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit.api import Guarantee, Unpicklable, value
from kexkit.errors import Forged, InvalidInput, KexkitError, Limit, Malformed, NotMine, StoreCorrupt, StoreNewer

from kexkit_noise import limits
from kexkit_noise._noise import Split
from kexkit_noise.nametags import NAMETAG_BYTES, nametag_secrets, session_topic, termination_marker, topic_id
from kexkit_noise.payload import PADDING_BYTES, pad, unpad

GRADE: Final = (
    Guarantee.SECRET
    | Guarantee.FROM_PEER
    | Guarantee.TO_PEER
    | Guarantee.OUT_OF_ORDER
    | Guarantee.REPLAY_SAFE
    | Guarantee.BINDS
)
FORMAT: Final = 1
KIND: Final = 0x50
"""'P': not another of this plugin's values"""
_SUM_BYTES: Final = 4
_FIXED: Final = Struct(">BBB32s32s32s32s32s")
_WINDOW_BYTES: Final = limits.PLAIN_BEHIND // 8
_CHANGING: Final = Struct(f">QQ{_WINDOW_BYTES}s")
_BYTES: Final = _FIXED.size + _CHANGING.size + _SUM_BYTES
_WINDOW: Final = (1 << limits.PLAIN_BEHIND) - 1
_HEAD: Final = Struct(f"<{NAMETAG_BYTES}sHQ")
"""Nametag; protocol id and length of the handshake message, both 0 in a session; length of the rest."""
_SEALED_AT: Final = _HEAD.size
_SHORTEST: Final = _SEALED_AT + PADDING_BYTES + 16
_NUMBER: Final = Struct("<Q")
_NONCE: Final = Struct("<4xQ")
_GONE: Final = bytes(32)
"""in place of a key that nothing needs any more"""


@value(eq=False, repr=False)
class Fixed(Unpicklable):
    """What a session is from beginning to end."""

    id: bytes
    """as core knows it"""
    initiator: bool
    tags_out: bytes
    tags_in: bytes
    out: ChaCha20Poly1305
    into: ChaCha20Poly1305
    topic: str
    """the content topic of both directions (37)"""
    marker: bytes
    """what, sealed, says that the session is over (37)"""
    packed: bytes


def _fixed(session: bytes, initiator: bool, out: bytes, into: bytes, tags_out: bytes, tags_in: bytes) -> Fixed:
    packed = _FIXED.pack(FORMAT, KIND, initiator, session, out, into, tags_out, tags_in)
    name = tags_in if initiator else tags_out  # 37's session id, read literally
    topic = session_topic("kexkit", "1", topic_id(name).hex())
    marker = termination_marker(name)
    return Fixed(
        session, initiator, tags_out, tags_in, ChaCha20Poly1305(out), ChaCha20Poly1305(into), topic, marker, packed
    )


@value(eq=False, repr=False)
class Opened(Unpicklable):
    successor: PlainSession
    plaintext: bytes


@value(eq=False, repr=False)
class PlainSession:
    """Made by `begin` from a finished handshake, and by `restore` from a snapshot. Methods return successors."""

    fixed: Fixed = field()
    n: int = field()
    """of our next message"""
    top: int = field()
    """of the peer's next"""
    missing: int = field()
    """which of the messages below it have not come: the lowest bit is the one just below"""

    @classmethod
    def begin(cls, split: Split, *, session: bytes, initiator: bool) -> PlainSession:
        """After message 3. `session`: core's id of it, 32 bytes."""
        tags = nametag_secrets(split.h)
        if initiator:
            ours, theirs = tags.initiator_to_responder, tags.responder_to_initiator
            return cls(_fixed(session, True, split.k1, split.k2, ours, theirs), 0, 0, 0)
        ours, theirs = tags.responder_to_initiator, tags.initiator_to_responder
        return cls(_fixed(session, False, split.k2, split.k1, ours, theirs), 0, 0, 0)

    @classmethod
    def restore(cls, snapshot: bytes) -> PlainSession:
        """StoreCorrupt or StoreNewer if it is none of ours."""
        if snapshot[:1] > bytes((FORMAT,)):
            raise StoreNewer("A stored session was written by a newer kexkit-noise.")
        body, total = snapshot[:-_SUM_BYTES], snapshot[-_SUM_BYTES:]
        if len(snapshot) != _BYTES or body[:2] != bytes((FORMAT, KIND)) or crc32(body) != int.from_bytes(total, "big"):
            raise StoreCorrupt("A stored session is damaged.")
        _, _, initiator, session, out, into, tags_out, tags_in = _FIXED.unpack_from(snapshot)
        n, top, window = _CHANGING.unpack_from(snapshot, _FIXED.size)
        missing = int.from_bytes(window, "big")
        if initiator > 1 or max(n, top) > limits.PLAIN_MESSAGES or missing >> min(top, limits.PLAIN_BEHIND):
            raise StoreCorrupt("A stored session contradicts itself.")
        return cls(_fixed(session, bool(initiator), out, into, tags_out, tags_in), n, top, missing)

    # --- what it is ---

    @property
    def id(self) -> bytes:
        """Core's, from the opening."""
        return self.fixed.id

    @property
    def initiator(self) -> bool:
        return self.fixed.initiator

    @property
    def marker(self) -> bytes:
        """What, sealed, says that the session is over (37)."""
        return self.fixed.marker

    @property
    def topic(self) -> str:
        """The content topic of both directions (37)."""
        return self.fixed.topic

    @property
    def grade(self) -> Guarantee | None:
        """None: it is worn out."""
        return None if self.worn else GRADE

    @property
    def worn(self) -> bool:
        """It seals no more, but still opens."""
        return self.n >= limits.PLAIN_MESSAGES

    def snapshot(self) -> bytes:
        window = self.missing.to_bytes(_WINDOW_BYTES, "big")
        body = self.fixed.packed + _CHANGING.pack(self.n, self.top, window)
        return body + crc32(body).to_bytes(_SUM_BYTES, "big")

    def __repr__(self) -> str:
        return f"<PlainSession {self.fixed.id.hex()[:16]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled; store snapshot() where secrets are kept")

    # --- sending and receiving ---

    def seal(self, plaintext: bytes) -> tuple[PlainSession, bytes]:
        """The successor, to be stored before the frame leaves, and the frame. It draws no randomness."""
        if len(plaintext) > limits.BODY_BYTES:
            raise InvalidInput(f"A text has more than {limits.BODY_BYTES} bytes.", advice="Send it in parts.")
        n, fixed = self.n, self.fixed
        if n >= limits.PLAIN_MESSAGES:
            raise InvalidInput("A session is worn out.", advice="Send in another session.")
        tag = sha256(fixed.tags_out + _NUMBER.pack(n)).digest()[:NAMETAG_BYTES]
        sealed = fixed.out.encrypt(_NONCE.pack(n), pad(plaintext), tag)
        return PlainSession(fixed, n + 1, self.top, self.missing), _HEAD.pack(tag, 0, len(sealed)) + sealed

    def farewell(self) -> tuple[PlainSession, bytes] | None:
        """The goodbye, sealed, and a successor without the key of our direction, which opens all that we ever said.
        None: there is no place for it."""
        if self.worn:
            return None
        after, frame = self.seal(self.marker)
        return after._silenced(), frame

    def _silenced(self) -> PlainSession:
        _, _, initiator, session, _, into, tags_out, tags_in = _FIXED.unpack(self.fixed.packed)
        mute = _fixed(session, bool(initiator), _GONE, into, tags_out, tags_in)
        return PlainSession(mute, self.n, self.top, self.missing)

    def parted(self) -> PlainSession | None:
        """The peer has sealed its last, too. None: nothing is missing that could still come."""
        return self._silenced() if self.missing else None

    def open(self, frame: bytes) -> Opened:
        """The text and the successor. Raises Refusal, and then nothing has changed: Malformed, Limit, NotMine (no place
        in the window, or one that was used), Forged."""
        size = len(frame)
        if size > limits.PAYLOAD_BYTES:
            raise Limit(f"A frame has more than {limits.PAYLOAD_BYTES} bytes.")
        if size < _SHORTEST or (size - _SHORTEST) % PADDING_BYTES:
            raise Malformed("A frame has not the form of a session's message.")
        tag, head, length = _HEAD.unpack_from(frame)
        if head or length != size - _SEALED_AT:
            raise Malformed("A frame has not the form of a session's message.")
        fixed, top = self.fixed, self.top
        expected = sha256(fixed.tags_in + _NUMBER.pack(top)).digest()[:NAMETAG_BYTES]
        n = top if expected == tag and top < limits.PLAIN_MESSAGES else self._find(tag)
        try:
            body = unpad(fixed.into.decrypt(_NONCE.pack(n), frame[_SEALED_AT:], tag))
        except InvalidTag:
            raise Forged("A payload does not authenticate.") from None
        except KexkitError as error:
            raise error.with_traceback(None) from None
        if n == top:
            return Opened(PlainSession(fixed, self.n, n + 1, self.missing << 1 & _WINDOW), body)
        if n > top:
            missing = (self.missing << (n - top + 1) | (1 << (n - top + 1)) - 2) & _WINDOW
            return Opened(PlainSession(fixed, self.n, n + 1, missing), body)
        return Opened(PlainSession(fixed, self.n, top, self.missing ^ 1 << (top - 1 - n)), body)

    def _tag(self, n: int) -> bytes:
        return sha256(self.fixed.tags_in + _NUMBER.pack(n)).digest()[:NAMETAG_BYTES]

    def _find(self, tag: bytes) -> int:
        for n in self._open_places():
            if self._tag(n) == tag:
                return n
        raise NotMine("A message of no place in this session, or of one that was used.")

    def _open_places(self) -> Iterator[int]:
        """All but the next: those that later ones overtook, the last first, then those further on."""
        top, missing = self.top, self.missing
        while missing:
            lowest = missing & -missing
            yield top - lowest.bit_length()
            missing ^= lowest
        yield from range(top + 1, min(top + limits.PLAIN_AHEAD + 1, limits.PLAIN_MESSAGES))
