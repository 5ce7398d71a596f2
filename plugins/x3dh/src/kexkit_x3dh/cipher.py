"""One message's protection: AES-256-CTR, then HMAC-SHA-256 over header, initialisation vector and ciphertext.

status-go derives the vector from the message key when it seals, and takes it from the wire when it opens. We draw it:
the bytes stay readable there, and a key that is used twice after all (a store put back from a copy) does not make a
two-time pad.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from kexkit.errors import Forged

from kexkit_x3dh.chains import body_keys, hmac_sha256

IV_BYTES: Final = 16
MAC_BYTES: Final = 32


def _by_cipher(key: bytes, vector: bytes, data: bytes) -> bytes:
    """The same both ways: in this mode, to decrypt is to encrypt."""
    return Cipher(AES256(key), CTR(vector)).encryptor().update(data)


def _quicker() -> Callable[[bytes, bytes, bytes], bytes]:
    """The same code of cryptography's without looking again at lengths that are right here: a third less time.

    How it hands key and vector on is its own affair, so this is used only where it gives what the long way gives.
    """
    try:
        from cryptography.hazmat.bindings._rust import openssl

        begin, new = openssl.ciphers.create_encryption_ctx, object.__new__

        def at_once(key: bytes, vector: bytes, data: bytes) -> bytes:
            algorithm, mode = new(AES256), new(CTR)
            algorithm.key, mode._nonce = key, vector
            return begin(algorithm, mode).update(data)

        tried = [(bytes(32), bytes(16), b""), (bytes(range(32)), bytes(range(64, 80)), bytes(100))]
        if all(at_once(*each) == _by_cipher(*each) for each in tried):
            return at_once
    except Exception:  # whatever another release makes of it: the long way remains
        return _by_cipher
    return _by_cipher


_keystream: Final = _quicker()


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
