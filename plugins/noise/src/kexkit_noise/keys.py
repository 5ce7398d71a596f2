"""X25519 keys, raw: pairs, agreement, and the points that are refused."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from kexkit.errors import InvalidInput, Malformed

KEY_BYTES: Final = 32
_PRIME: Final = 2**255 - 19
_LOW_ORDER: Final = frozenset(
    n.to_bytes(KEY_BYTES, "little")
    for n in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _PRIME - 1,
        _PRIME,
        _PRIME + 1,
    )
)
"""The points whose agreement is zero whatever the other key: RFC 7748, 6.1, and the same under other encodings."""


def _masked(point: bytes) -> bytes:
    """X25519 ignores the highest bit, so two encodings may be one point."""
    return point[:-1] + bytes((point[-1] & 0x7F,))


def same_point(one: bytes, other: bytes) -> bool:
    return _masked(one) == _masked(other)


def public_key(point: bytes) -> X25519PublicKey:
    """A peer's key, at once refused if it contributes nothing: the agreement may be a message later."""
    if len(point) != KEY_BYTES:
        raise Malformed("An X25519 key has 32 bytes.")
    if _masked(point) in _LOW_ORDER:
        raise Malformed("An X25519 key is a point of low order: the secret would be known to everybody.")
    return X25519PublicKey.from_public_bytes(point)


@frozen
class KeyPair:
    private: bytes = field(repr=False)
    public: bytes
    _loaded: X25519PrivateKey | None = field(default=None, repr=False, eq=False)

    def loaded(self) -> X25519PrivateKey:
        """Loading costs as much as an agreement, so whoever made this pair may have left the result here."""
        return self._loaded or X25519PrivateKey.from_private_bytes(self.private)

    def __reduce__(self) -> str:
        raise TypeError("a key pair is not pickled; store its private part where secrets are kept")


def key_pair(private: bytes) -> KeyPair:
    """From 32 random bytes, or stored ones."""
    if len(private) != KEY_BYTES:
        raise InvalidInput("An X25519 private key has 32 bytes.")
    loaded = X25519PrivateKey.from_private_bytes(private)
    return KeyPair(private, loaded.public_key().public_bytes_raw(), loaded)


def agree(private: bytes, public: bytes) -> bytes:
    """X25519; a refusal if the peer's point contributes nothing."""
    point = public_key(public)
    return key_pair(private).loaded().exchange(point)
