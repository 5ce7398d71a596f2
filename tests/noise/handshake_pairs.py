"""Two sides of a Noise handshake, with keys from seeds."""

from __future__ import annotations

from hashlib import sha256

from attrs import frozen
from kexkit_noise._noise import Handshake, KeyPair, Keys, Pattern, Read, Written, key_pair

PROLOGUE = b"a prologue"
PSK = bytes(range(32))
PAYLOADS = (b"one", b"two", b"three")
UNKEYED = {Pattern.XX, Pattern.XK1, Pattern.K1K1}
"""Message 1 is in clear"""


def secret(name: str) -> bytes:
    return sha256(name.encode()).digest()


def pair(name: str) -> KeyPair:
    return key_pair(secret(name))


def tag(step: int) -> bytes:
    return secret(f"nametag {step}")[:16]


def keys(pattern: Pattern, *, initiator: bool, static: KeyPair | None = None, remote: KeyPair | None = None) -> Keys:
    """What the side needs. `static`, `remote`: instead of the usual ones."""
    us, them = ("initiator", "responder")[:: 1 if initiator else -1]
    ours, theirs = pattern.pre_messages[not initiator], pattern.pre_messages[initiator]
    return Keys(
        static=static or pair(us),
        ephemeral=pair(f"{us}'s ephemeral") if "e" in ours else None,
        remote_static=(remote or pair(them)).public if "s" in theirs else None,
        remote_ephemeral=pair(f"{them}'s ephemeral").public if "e" in theirs else None,
        psk=PSK if pattern is Pattern.XXPSK0 else None,
    )


def begin(pattern: Pattern, *, initiator: bool, prologue: bytes = PROLOGUE) -> Handshake:
    return Handshake.begin(pattern, initiator=initiator, prologue=prologue, keys=keys(pattern, initiator=initiator))


def ephemeral(side: Handshake) -> bytes:
    return secret("initiator's ephemeral" if side.initiator else "responder's ephemeral")


def write(side: Handshake, payload: bytes | None = None) -> Written:
    content = PAYLOADS[side.step] if payload is None else payload
    return side.write(content, tag(side.step), ephemeral=ephemeral(side))


def read(side: Handshake, message: Written) -> Read:
    return side.read(message.fields, message.transport, tag(side.step))


@frozen
class Place:
    """Just before a message is read: who wrote it, the message, and who reads."""

    writer: Handshake
    message: Written
    reader: Handshake


def places(pattern: Pattern) -> list[Place]:
    writer, reader = begin(pattern, initiator=True), begin(pattern, initiator=False)
    found = []
    for _ in range(pattern.messages):
        message = write(writer)
        found.append(Place(writer, message, reader))
        writer, reader = read(reader, message).state, message.state
    return found


def finished(pattern: Pattern) -> tuple[Handshake, Handshake]:
    """Initiator and responder."""
    last = places(pattern)[-1]
    return last.message.state, read(last.reader, last.message).state
