"""Which key and nonce encrypted which text, in which life, and whether it left: written before anybody has it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kexkit._wire import payload26
from kexkit_noise import _noise, healing, healing_keys
from kexkit_x3dh import cipher

DRAWN = {"x3dh", "text"}
"""layers whose nonces are drawn, not counted"""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def record_seals(folder: Path) -> None:
    """From now on, in this process, wherever a mechanism enters its cipher."""
    life, seal_x3dh, seal_noise = os.getpid(), cipher.seal, _noise.CipherState.encrypt_with_ad

    def note(layer: str, key: bytes, nonce: bytes, text: bytes, sealed: bytes) -> bytes:
        with (folder / "seals").open("a") as paper:
            entry = [layer, life, digest(key), nonce.hex(), digest(text), sealed.hex()]
            paper.write(json.dumps(entry) + "\n")
        return sealed

    def x3dh(message_key: bytes, vector: bytes, body: bytes, header: bytes) -> bytes:
        return note("x3dh", message_key, vector, body, seal_x3dh(message_key, vector, body, header))

    def handshake(state: Any, ad: bytes, plaintext: bytes) -> bytes:
        key, n = state.k, state.n
        sealed: bytes = seal_noise(state, ad, plaintext)
        return note("handshake", key, n.to_bytes(8, "big"), plaintext, sealed) if state.has_key() else sealed

    cipher.seal = x3dh
    _noise.CipherState.encrypt_with_ad = handshake
    for module, layer in ((healing, "text"), (healing_keys, "header")):
        module.ChaCha20Poly1305 = _watched(module.ChaCha20Poly1305, layer, note)
    _record_envelopes(folder)


def _watched(real: Any, layer: str, note: Callable[[str, bytes, bytes, bytes, bytes], bytes]) -> Any:
    class Watched:
        def __init__(self, key: bytes) -> None:
            self._key, self._real = key, real(key)

        def encrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
            return note(layer, self._key, nonce, data, self._real.encrypt(nonce, data, associated))

        def decrypt(self, nonce: bytes, data: bytes, associated: bytes) -> bytes:
            opened: bytes = self._real.decrypt(nonce, data, associated)
            return opened

    return Watched


def _record_envelopes(folder: Path) -> None:
    """What is inside an envelope that is sealed itself."""

    def recorded(seal: Callable[..., bytes]) -> Callable[..., bytes]:
        def sealed(frame: bytes, *rest: bytes) -> bytes:
            payload = seal(frame, *rest)
            with (folder / "envelopes").open("a") as paper:
                paper.write(f"{digest(payload)} {frame.hex()}\n")
            return payload

        return sealed

    payload26.seal_frame_symmetric = recorded(payload26.seal_frame_symmetric)
    payload26.seal_frame_asymmetric = recorded(payload26.seal_frame_asymmetric)


def reused(folder: Path) -> Iterator[str]:
    """A key and a nonce that encrypted two texts.

    A key whose successor was not stored may serve the next life, with another nonce that was drawn; never twice in one
    life. Where nonces are counted (a ratchet key's seal, a handshake), the next life begins with the same one, and
    seals a key that it draws anew: so it counts what was in an envelope that the network has; the rest nobody saw.
    """
    left = list(inside_what_left(folder))
    texts: dict[tuple[str, ...], set[str]] = {}
    for layer, life, key, nonce, text, sealed in seals(folder):
        uses = {(layer, key, nonce), (layer, key, life)} if layer in DRAWN else {(layer, key, nonce)}
        if layer in DRAWN or any(sealed in frame for frame in left):
            for use in uses:
                texts.setdefault(use, set()).add(text)
    for (layer, *_), different in texts.items():
        if len(different) > 1:
            yield f"a key of the layer {layer} encrypted two texts"


def seals(folder: Path) -> Iterator[tuple[str, str, str, str, str, bytes]]:
    """layer, life, key, nonce, text, what came of it"""
    for line in (folder / "seals").read_text().splitlines():
        layer, life, key, nonce, text, sealed = json.loads(line)
        yield layer, f"life {life}", key, nonce, text, bytes.fromhex(sealed)


def inside_what_left(folder: Path) -> Iterator[bytes]:
    inside = dict(line.split() for line in (folder / "envelopes").read_text().splitlines())
    for line in (folder / "network").read_text().splitlines():
        _, payload, _, _ = json.loads(line)
        yield bytes.fromhex(inside.get(digest(bytes.fromhex(payload)), payload))  # a bare frame is its own payload
