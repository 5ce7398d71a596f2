"""The derivations of a healing session (docs/protocols/healing-noise.md, "Keys").

HMAC is spelled out for keys of one block, as it runs six times a message: two hashes of the padded key cost two thirds
of `hmac.digest`. Tests hold it to RFC 4231's vectors and to the standard library.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit.api import Unpicklable

from kexkit_noise import limits
from kexkit_noise.nametags import NAMETAG_BYTES, derive

LABEL: Final = b"kexkit/healing-noise/1 "
KEY_BYTES: Final = 32
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * 32
_OUTER_REST: Final = b"\x5c" * 32
_MARK_BYTES: Final = 2
"""of each nametag, in the list by which a whole chain is searched: 2000 bytes, and one false hit in 65 searches"""
_NUMBER: Final = Struct(">Q")
_HEADER_NONCE: Final = Struct("<4xQ")


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """RFC 2104 with SHA-256, for a key of 32 bytes."""
    inner = sha256(key.translate(_INNER) + _INNER_REST + data).digest()
    return sha256(key.translate(_OUTER) + _OUTER_REST + inner).digest()


def first_keys(h: bytes, k1: bytes, k2: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Root key, the initiator's first header key, the responder's first header key, and what names the topic."""
    made = derive(h, 4 * KEY_BYTES, LABEL + b"init", k1 + k2)
    return made[:32], made[32:64], made[64:96], made[96:]


def root_step(root: bytes, agreed: bytes) -> tuple[bytes, bytes, bytes]:
    """The next root key, the key of a new chain, and the header key of the chain that its maker will make next."""
    made = derive(root, 3 * KEY_BYTES, LABEL + b"root", agreed)
    return made[:32], made[32:64], made[64:]


def chain_step(chain: bytes) -> tuple[bytes, bytes]:
    """The next chain key, and this message's key."""
    inner, outer = chain.translate(_INNER) + _INNER_REST, chain.translate(_OUTER) + _OUTER_REST
    return (
        sha256(outer + sha256(inner + b"\x02").digest()).digest(),
        sha256(outer + sha256(inner + b"\x01").digest()).digest(),
    )


class HeaderKey(Unpicklable):
    """A chain's header key with what is derived from it, when it is first needed: the key alone is stored."""

    __slots__ = ("_encryption", "_first", "_inner", "_marks", "_outer", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._encryption = self._first = self._inner = self._outer = self._marks = b""

    def __repr__(self) -> str:
        return "<HeaderKey>"

    def tag(self, n: int) -> bytes:
        """The nametag of the chain's n-th message."""
        if not self._inner:
            tag_key = hmac_sha256(self.key, LABEL + b"tag")
            self._outer = tag_key.translate(_OUTER) + _OUTER_REST
            self._inner = tag_key.translate(_INNER) + _INNER_REST  # last: another thread may look for it
        inner = sha256(self._inner + _NUMBER.pack(n)).digest()
        return sha256(self._outer + inner).digest()[:NAMETAG_BYTES]

    @property
    def first(self) -> bytes:
        """The nametag of its first message: what a receiver looks for in every frame until it comes."""
        if not self._first:
            self._first = self.tag(0)
        return self._first

    def find_near(self, tag: bytes, start: int) -> int | None:
        """Whose nametag it is, among the few messages from `start` on."""
        for n in range(start, min(start + limits.NEAR_TAGS, limits.CHAIN_MESSAGES)):
            if self.tag(n) == tag:
                return n
        return None

    def find_far(self, tag: bytes, start: int) -> int | None:
        """Whose nametag it is, among all messages of the chain, those before `start` included."""
        if not self._marks:
            self._marks = b"".join(self.tag(n)[:_MARK_BYTES] for n in range(limits.CHAIN_MESSAGES))
        mark, place = tag[:_MARK_BYTES], -1
        while (place := self._marks.find(mark, place + 1)) >= 0:
            n, between = divmod(place, _MARK_BYTES)
            if not between and self.tag(n) == tag:
                return n
        return None

    def seal(self, n: int, public: bytes, data: bytes) -> bytes:
        return self._cipher().encrypt(_HEADER_NONCE.pack(n), public, data)

    def open(self, n: int, sealed: bytes, data: bytes) -> bytes:
        """The public ratchet key of the sender, or `cryptography.exceptions.InvalidTag`."""
        return self._cipher().decrypt(_HEADER_NONCE.pack(n), sealed, data)

    def _cipher(self) -> ChaCha20Poly1305:
        """Made each time: the library holds 1.4 KB for one, and making it costs less than a microsecond."""
        if not self._encryption:
            self._encryption = hmac_sha256(self.key, LABEL + b"header")
        return ChaCha20Poly1305(self._encryption)


def walk(chain: bytes, steps: int) -> tuple[tuple[bytes, ...], bytes]:
    """The message keys that are passed, and the chain key that is reached."""
    passed: list[bytes] = []
    for _ in range(steps):
        chain, key = chain_step(chain)
        passed.append(key)
    return tuple(passed), chain
