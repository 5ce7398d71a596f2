"""Public vectors of plain Noise, without Waku's padding and additional data: the patterns that we speak."""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit_noise._noise import Handshake, Keys, Pattern, key_pair

SPOKEN: Final = {pattern.noise_name.decode(): pattern for pattern in Pattern}


def _begin(case: dict[str, Any], *, initiator: bool) -> Handshake:
    side = "init" if initiator else "resp"
    given = {key.removeprefix(f"{side}_"): value for key, value in case.items() if key.startswith(f"{side}_")}
    remote = given.get("remote_static")
    keys = Keys(
        static=key_pair(bytes.fromhex(given["static"])), remote_static=bytes.fromhex(remote) if remote else None
    )
    pattern = SPOKEN[case["protocol_name"]]
    return Handshake.begin(pattern, initiator=initiator, prologue=bytes.fromhex(given["prologue"]), keys=keys)


def transcript(case: dict[str, Any], document: dict[str, Any]) -> None:
    initiator, responder = _begin(case, initiator=True), _begin(case, initiator=False)
    sides = [(initiator, case["init_ephemeral"]), (responder, case["resp_ephemeral"])]
    handshake, transport = (
        case["messages"][: initiator.pattern.messages],
        case["messages"][initiator.pattern.messages :],
    )
    for message in handshake:
        (writer, ephemeral), (reader, other) = sides
        payload, expected = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        after, written = writer.write_unpadded(payload, ephemeral=bytes.fromhex(ephemeral))
        assert written == expected
        read, opened = reader.read_unpadded(written)
        assert opened == payload
        sides = [(Handshake.decode(read.encode()), other), (Handshake.decode(after.encode()), ephemeral)]
    keys, other_keys = (side.split() for side, _ in sides)
    assert keys == other_keys
    assert keys.h.hex() == case.get("handshake_hash", keys.h.hex())
    _transport(transport, (keys.k2, keys.k1))


def _transport(messages: list[dict[str, Any]], ciphers: tuple[bytes, bytes]) -> None:
    """After three messages the responder speaks first."""
    for index, message in enumerate(messages):
        nonce = bytes(4) + (index // 2).to_bytes(8, "little")
        sealed = ChaCha20Poly1305(ciphers[index % 2]).encrypt(nonce, bytes.fromhex(message["payload"]), b"")
        assert sealed.hex() == message["ciphertext"]
