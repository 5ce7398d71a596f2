"""One message's protection: AES-256-CTR, then HMAC-SHA-256 over header, initialisation vector and ciphertext.

status-go derives the vector from the message key when it seals, and takes it from the wire when it opens. We draw it:
the bytes stay readable there, and a key that is used twice after all (a store put back from a copy) does not make a
two-time pad.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from kexkit.errors import Forged

from kexkit_x3dh.chains import body_keys, pads

IV_BYTES: Final = 16
MAC_BYTES: Final = 32


def seal(message_key: bytes, vector: bytes, body: bytes, header: bytes) -> bytes:
    """vector || ciphertext || MAC"""
    encryption, authentication = body_keys(message_key)
    covered = vector + Cipher(AES256(encryption), CTR(vector)).encryptor().update(body)
    return covered + _mac(authentication, header, covered)


def open_sealed(message_key: bytes, sealed: bytes, header: bytes) -> bytes:
    """The body, or Forged."""
    if len(sealed) < IV_BYTES + MAC_BYTES:
        raise Forged("A sealed payload is too short to be authentic.")
    encryption, authentication = body_keys(message_key)
    covered = sealed[:-MAC_BYTES]
    if not compare_digest(_mac(authentication, header, covered), sealed[-MAC_BYTES:]):
        raise Forged("A sealed payload does not authenticate.")
    return Cipher(AES256(encryption), CTR(covered[:IV_BYTES])).decryptor().update(covered[IV_BYTES:])


def _mac(key: bytes, header: bytes, covered: bytes) -> bytes:
    inner, outer = pads(key)
    digest = sha256(inner + header)
    digest.update(covered)
    return sha256(outer + digest.digest()).digest()
