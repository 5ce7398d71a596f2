"""The ratchet's key derivations, as status-go makes them (facts: DR section), on hashlib alone.

HMAC and HKDF are spelled out because they run four times a message: for keys of one block, two hashes of the padded key
cost two thirds of `hmac.digest`. They are held to the vectors of RFC 4231 and RFC 5869 by tests.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

_ROOT_INFO: Final = b"rsZUpEuXUqqwXBvSy3EcievAh4cMj6QL"
_MESSAGE_INFO: Final = b"pcwSByyx2CRdryCffXJwy7xgVZWtW5Sh"
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = b"\x36" * 32
_OUTER_REST: Final = b"\x5c" * 32
_ZERO_INNER: Final = b"\x36" * 64
_ZERO_OUTER: Final = b"\x5c" * 64


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """RFC 2104 with SHA-256, for a key of 32 bytes: two hashes, each of a block made of the key before its input."""
    inner = sha256(key.translate(_INNER) + _INNER_REST + data).digest()
    return sha256(key.translate(_OUTER) + _OUTER_REST + inner).digest()


def _expand(key: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 5869's HKDF-Expand: the first 64 bytes. Status takes 80 and 96; nobody needs what lies beyond 64."""
    inner, outer = key.translate(_INNER) + _INNER_REST, key.translate(_OUTER) + _OUTER_REST
    first = sha256(outer + sha256(inner + info + b"\x01").digest()).digest()
    return first, sha256(outer + sha256(inner + first + info + b"\x02").digest()).digest()


def hkdf_64(salt: bytes, secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 5869 with SHA-256 and a salt of 32 bytes, 64 bytes of output in two halves."""
    return _expand(hmac_sha256(salt, secret), info)


def root_step(root: bytes, agreed: bytes) -> tuple[bytes, bytes]:
    """KDF_RK: the next root key, and the key of a new chain."""
    return hkdf_64(root, agreed, _ROOT_INFO)


def chain_step(chain: bytes) -> tuple[bytes, bytes]:
    """KDF_CK: the next chain key, and this message's key."""
    inner, outer = chain.translate(_INNER) + _INNER_REST, chain.translate(_OUTER) + _OUTER_REST
    return (
        sha256(outer + sha256(inner + b"\x0f").digest()).digest(),
        sha256(outer + sha256(inner + b"\x10").digest()).digest(),
    )


def next_chain(chain: bytes) -> bytes:
    """The next chain key alone."""
    return hmac_sha256(chain, b"\x0f")


def body_keys(message_key: bytes) -> tuple[bytes, bytes]:
    """The encryption key and the MAC key of a message. HKDF with a salt of 32 zero bytes, whose pads are constant."""
    extracted = sha256(_ZERO_OUTER + sha256(_ZERO_INNER + message_key).digest()).digest()
    inner, outer = extracted.translate(_INNER) + _INNER_REST, extracted.translate(_OUTER) + _OUTER_REST
    first = sha256(outer + sha256(inner + _MESSAGE_INFO + b"\x01").digest()).digest()
    return first, sha256(outer + sha256(inner + first + _MESSAGE_INFO + b"\x02").digest()).digest()


def message_key(chain: bytes) -> bytes:
    """This message's key alone."""
    return hmac_sha256(chain, b"\x10")


def walk(chain: bytes, steps: int) -> tuple[tuple[bytes, ...], bytes]:
    """The chain keys that are passed, and the one that is reached."""
    passed: list[bytes] = []
    for _ in range(steps):
        passed.append(chain)
        chain = next_chain(chain)
    return tuple(passed), chain
