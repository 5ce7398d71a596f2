"""Waku's Noise alone (specifications 35 and 37), as values: to talk with js, nim or go, which know nothing of kexkit.

There is no statement, no offer, no negotiation and no store here, and nobody vouches for a person: the peer is whoever
holds `remote_static`, and whether that is who was meant, the application must know. Between kexkit devices use a node.

    begin, then write or read as `writes` says, until `complete`; then `session`.

Every call gives a new value and leaves the old one as it was: what is refused has changed nothing. Store `encode()`, or
the session's `snapshot()`, before what was written leaves.
"""

from __future__ import annotations

from attrs import evolve, field, frozen
from kexkit.api import Unpicklable
from kexkit.errors import InvalidInput, NotMine, StoreCorrupt

from kexkit_noise import payload
from kexkit_noise._noise import Handshake, Keys, Pattern
from kexkit_noise.keys import KeyPair, key_pair
from kexkit_noise.nametags import NAMETAG_BYTES, auth_code, message_nametag
from kexkit_noise.payload import PayloadV2
from kexkit_noise.plain import PlainSession

__all__ = ["KeyPair", "Keys", "Pattern", "PlainSession", "WakuHandshake", "key_pair"]


@frozen(eq=False)
class WakuHandshake(Unpicklable):
    """One end of a handshake between two messages."""

    nametag: bytes
    """under which the next message travels, ours or theirs"""
    _state: Handshake = field(repr=False)

    @classmethod
    def begin(
        cls, pattern: Pattern, *, initiator: bool, keys: Keys, nametag: bytes, prologue: bytes = b""
    ) -> WakuHandshake:
        """`nametag`: the 16 bytes of the first message, which both know, as from a QR code. `keys`: what this end has
        and must know before; InvalidInput says what is missing."""
        if len(nametag) != NAMETAG_BYTES:
            raise InvalidInput(f"A nametag has {NAMETAG_BYTES} bytes.")
        return cls(nametag, Handshake.begin(pattern, initiator=initiator, prologue=prologue, keys=keys))

    @property
    def writes(self) -> bool:
        """The next message is ours."""
        return self._state.writes

    @property
    def complete(self) -> bool:
        return self._state.complete

    @property
    def h(self) -> bytes:
        """The transcript so far, the same at both ends."""
        return self._state.h

    @property
    def code(self) -> str:
        """Eight digits of the transcript so far, for two people to compare."""
        return auth_code(self._state.h)

    @property
    def remote_static(self) -> bytes | None:
        """Who they are, once that was said."""
        return self._state.remote_static

    def write(self, content: bytes, *, ephemeral: bytes) -> tuple[WakuHandshake, bytes]:
        """The payload of the next WakuMessage (its version is 2). `ephemeral`: 32 random bytes that nothing else uses.
        What is in message 1 of XX, XK1 and K1K1 travels in clear."""
        written = self._state.write(content, self.nametag, ephemeral=ephemeral)
        protocol = self._state.pattern.protocol_id
        frame = payload.encode(PayloadV2(self.nametag, protocol, written.fields, written.transport))
        return self._moved(written.state), frame

    def read(self, frame: bytes) -> tuple[WakuHandshake, bytes]:
        """What was in the peer's next message; or a refusal, and then the genuine one may still come."""
        received = payload.decode(frame, self._state.pattern.protocol_id)
        if received.nametag != self.nametag:
            raise NotMine("A handshake message has another nametag.")
        read = self._state.read(received.fields, received.transport, received.nametag)
        return self._moved(read.state), read.payload

    def session(self) -> PlainSession:
        """When it is complete: `seal`, `open`, `snapshot`, and the `topic` that specification 37 has for it."""
        split = self._state.split()
        return PlainSession.begin(split, session=split.h, initiator=self._state.initiator)

    def encode(self) -> bytes:
        """All of it, secrets included: store it where secrets are kept."""
        return self.nametag + self._state.encode()

    @classmethod
    def decode(cls, raw: bytes) -> WakuHandshake:
        if len(raw) < NAMETAG_BYTES:
            raise StoreCorrupt("A stored handshake is damaged.")
        return cls(raw[:NAMETAG_BYTES], Handshake.decode(raw[NAMETAG_BYTES:]))

    def _moved(self, state: Handshake) -> WakuHandshake:
        return evolve(self, nametag=message_nametag(state.h), state=state)
