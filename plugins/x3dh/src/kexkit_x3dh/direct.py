"""The fallback: one message to a person of whom nothing but the identity key is known.

A fresh key agrees with the identity key, and what they agree on is the key of AES-256-GCM, as it is. Whoever holds the
identity key later opens it, anybody can have written it, and it opens as often as it comes: SECRET, no more.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NoReturn

from attrs import frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from kexkit import secp256k1
from kexkit.api import Close, Context, Cue, Device, Guarantee, Have, Hear, Identity, Step
from kexkit.errors import Forged, InvalidInput, NotMine, StoreCorrupt
from kexkit.identity import tagged_digest

from kexkit_x3dh import frames, limits, snapshots
from kexkit_x3dh.frames import DirectFrame

GRADE: Final = Guarantee.SECRET
NONCE_BYTES: Final = 12
_LABEL: Final = b"kexkit/x3dh/1 direct"
_NOWHERE: Final[frozenset[Hear]] = frozenset()
_STORED: Final = Struct(">32s33s")


def seal(body: bytes, peer: bytes, rng: Callable[[int], bytes]) -> bytes:
    """A frame for whoever holds the identity key `peer`. Draws a key (32 bytes), then a nonce (12)."""
    secret = secp256k1.generate_secret(rng)
    key = secp256k1.agree(secret, peer)
    nonce = rng(NONCE_BYTES)
    return frames.write_direct(secp256k1.public_of(secret), AESGCM(key).encrypt(nonce, body, None) + nonce)


def open_frame(frame: DirectFrame, identity: Identity) -> bytes:
    key = identity.agree(frame.ephemeral)
    try:
        return AESGCM(key).decrypt(frame.sealed[-NONCE_BYTES:], frame.sealed[:-NONCE_BYTES], None)
    except InvalidTag:
        raise Forged("A message without a session does not authenticate.") from None


@frozen(eq=False)
class DirectSession:
    """What `initiate` gives when nothing is known of the peer. It seals once and is never stored."""

    id: bytes
    peer: Device

    @property
    def grade(self) -> Guarantee:
        return GRADE

    @property
    def due(self) -> None:
        return None

    @property
    def hears(self) -> frozenset[Hear]:
        return _NOWHERE

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled")

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        if len(plaintext) > limits.BODY_BYTES:
            raise InvalidInput(f"A text has more than {limits.BODY_BYTES} bytes.", advice="Send it in parts.")
        return Step(None, (seal(plaintext, self.peer.identity, ctx.rng),))

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> NoReturn:
        raise NotMine("Nothing is answered without a session.")

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(None if isinstance(cue, Close) else self)

    def snapshot(self) -> bytes:
        content = _STORED.pack(self.id, self.peer.identity) + self.peer.installation.encode()
        return snapshots.write(snapshots.DIRECT, content)


def begin(me: Device, peer: Device) -> DirectSession:
    return DirectSession(tagged_digest(_LABEL, me.identity + peer.identity), peer)


def restore(content: bytes) -> DirectSession:
    if len(content) < _STORED.size:
        raise StoreCorrupt("A stored session is too short.")
    id_, identity = _STORED.unpack_from(content)
    try:
        return DirectSession(id_, Device(identity, content[_STORED.size :].decode()))
    except UnicodeDecodeError:
        raise StoreCorrupt("A stored session names no installation.") from None
