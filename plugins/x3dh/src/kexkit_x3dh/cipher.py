"""One message's protection: AES-256-CTR, then HMAC-SHA-256 over header, initialisation vector and ciphertext.

status-go derives the vector from the message key when it seals, and takes it from the wire when it opens. We draw it:
the bytes stay readable there, and a key that is used twice after all (a store put back from a copy) does not make a
two-time pad.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from kexkit.errors import Forged

from kexkit_x3dh.chains import body_keys, hmac_sha256

IV_BYTES: Final = 16
MAC_BYTES: Final = 32


class _KeyedOnce(Cipher[CTR]):
    """Key and vector have their right lengths already; to look again is a fifth of what a short message costs here."""

    def __init__(self, key: bytes, vector: bytes) -> None:
        self.algorithm = AES256(key)
        self.mode = CTR(vector)


def _keystream(key: bytes, vector: bytes, data: bytes) -> bytes:
    """The same both ways: in this mode, to decrypt is to encrypt."""
    return _KeyedOnce(key, vector).decryptor().update(data)


def seal(message_key: bytes, vector: bytes, body: bytes, header: bytes) -> bytes:
    """vector || ciphertext || MAC"""
    if len(vector) != IV_BYTES:
        raise ValueError("an initialisation vector has 16 bytes")
    encryption, authentication = body_keys(message_key)
    covered = vector + _keystream(encryption, vector, body)
    return covered + hmac_sha256(authentication, header + covered)


def open_sealed(message_key: bytes, sealed: bytes, header: bytes) -> bytes:
    """The body, or Forged."""
    if len(sealed) < IV_BYTES + MAC_BYTES:
        raise Forged("A sealed payload is too short to be authentic.")
    encryption, authentication = body_keys(message_key)
    covered = sealed[:-MAC_BYTES]
    if not compare_digest(hmac_sha256(authentication, header + covered), sealed[-MAC_BYTES:]):
        raise Forged("A sealed payload does not authenticate.")
    return _keystream(encryption, covered[:IV_BYTES], covered[IV_BYTES:])
