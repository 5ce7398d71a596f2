"""Every seal of every layer, written down: what was encrypted under which key and vector, and what left.

A key and a vector together must never encrypt two texts, whatever crashed or was put back meanwhile. That is checked
where the ciphers are entered, for the whole process, so that no path is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from typing import Any

import kexkit_psk.session
import kexkit_x3dh.cipher
import kexkit_x3dh.direct
from attrs import define, field
from kexkit._wire import payload26, topics

symmetric_key = cache(topics.symmetric_key)
"""Each costs 65,356 rounds, and peers here start a hundred times."""


@define
class Ciphers:
    """Digests, not texts, so that a failed assertion prints no key."""

    sealed: dict[tuple[str, bytes, bytes], bytes] = field(factory=dict, repr=False)
    insides: dict[bytes, bytes] = field(factory=dict, repr=False)
    """digest of an envelope's payload: the padded frame in it"""
    reused: list[str] = field(factory=list)
    seals: int = 0

    def note(self, cipher: str, key: bytes, vector: bytes, text: bytes) -> None:
        self.seals += 1
        digest = sha256(text).digest()
        place = (cipher, sha256(key).digest(), vector)
        if self.sealed.setdefault(place, digest) != digest:
            self.reused.append(f"{cipher}: vector {vector.hex()} encrypted two texts under one key")

    def wrapped(self, payload: bytes, frame: bytes) -> bytes:
        self.insides[sha256(payload).digest()] = frame
        return payload

    def inside(self, payload: bytes) -> bytes | None:
        """The data of an envelope that was sealed in this process."""
        frame = self.insides.get(sha256(payload).digest())
        return None if frame is None else payload26.decode_frame(frame).data


def _aead(ciphers: Ciphers, cipher: str, real: Any) -> Any:
    class Watched:
        def __init__(self, key: bytes) -> None:
            self._key, self._real = key, real(key)

        def encrypt(self, nonce: bytes, data: bytes, associated: bytes | None) -> bytes:
            ciphers.note(cipher, self._key, nonce, data)
            sealed: bytes = self._real.encrypt(nonce, data, associated)
            return sealed

        def decrypt(self, nonce: bytes, data: bytes, associated: bytes | None) -> bytes:
            opened: bytes = self._real.decrypt(nonce, data, associated)
            return opened

    return Watched


@contextmanager
def watching() -> Iterator[Ciphers]:
    """Until the context ends, every seal in this process is written down."""
    ciphers = Ciphers()
    kept: list[tuple[Any, str, Any]] = []

    def put(module: Any, name: str, replacement: Any) -> None:
        kept.append((module, name, getattr(module, name)))
        setattr(module, name, replacement)

    seal_ratchet = kexkit_x3dh.cipher.seal
    seal_symmetric, seal_asymmetric = payload26.seal_frame_symmetric, payload26.seal_frame_asymmetric

    def ratchet(message_key: bytes, vector: bytes, body: bytes, header: bytes) -> bytes:
        ciphers.note("x3dh", message_key, vector, body)
        return seal_ratchet(message_key, vector, body, header)

    def symmetric(frame: bytes, key: bytes, nonce: bytes) -> bytes:
        ciphers.note("envelope", key, nonce, frame)
        return ciphers.wrapped(seal_symmetric(frame, key, nonce), frame)

    def asymmetric(frame: bytes, recipient: bytes, ephemeral: bytes, iv: bytes) -> bytes:
        ciphers.note("ecies", ephemeral + recipient, iv, frame)
        return ciphers.wrapped(seal_asymmetric(frame, recipient, ephemeral, iv), frame)

    put(kexkit_x3dh.cipher, "seal", ratchet)
    put(kexkit_x3dh.direct, "AESGCM", _aead(ciphers, "direct", kexkit_x3dh.direct.AESGCM))
    put(kexkit_psk.session, "ChaCha20Poly1305", _aead(ciphers, "psk", kexkit_psk.session.ChaCha20Poly1305))
    put(payload26, "seal_frame_symmetric", symmetric)
    put(payload26, "seal_frame_asymmetric", asymmetric)
    put(topics, "symmetric_key", symmetric_key)
    try:
        yield ciphers
    finally:
        for module, name, original in reversed(kept):
            setattr(module, name, original)
