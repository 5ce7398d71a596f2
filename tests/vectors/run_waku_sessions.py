"""Sessions of js-noise after the handshake: sealed byte for byte, opened in any order, and each place once.

A delivery opens if and only if it is, byte for byte, what the sender made for its place, and that place is unused. What
js did with messages that came early (it rejects them) or with a wrong length (it takes it) informs.
"""

from __future__ import annotations

from typing import Any

import pytest
from kexkit.errors import Refusal
from kexkit_noise._noise import Split
from kexkit_noise.plain import PlainSession, _fixed

_NOBODY = bytes(32)


def scenario(case: dict[str, Any], document: dict[str, Any]) -> None:
    key, secret = bytes.fromhex(case["key_i2r"]), bytes.fromhex(case["nametag_secret_i2r"])
    sender = PlainSession(_fixed(_NOBODY, True, key, _NOBODY, secret, _NOBODY), 0, 0, 0)
    receiver = PlainSession(_fixed(_NOBODY, False, _NOBODY, key, _NOBODY, secret), 0, 0, 0)
    used: set[int] = set()
    for delivery in case["deliveries"]:
        n, raw, text = delivery["sent_index"], *(bytes.fromhex(delivery[k]) for k in ("payload_v2", "sent_plaintext"))
        _, genuine = PlainSession(sender.fixed, n, 0, 0).seal(text)
        if raw == genuine and n not in used:
            opened = receiver.open(raw)
            assert opened.plaintext == text
            assert delivery.get("plaintext", text.hex()) == text.hex()
            receiver = PlainSession.restore(opened.successor.snapshot())
            used.add(n)
        else:
            before = receiver.snapshot()
            with pytest.raises(Refusal):
                receiver.open(raw)
            assert receiver.snapshot() == before
            if n not in used:
                assert receiver.open(genuine).plaintext == text


def nametag(secret: bytes, n: int) -> bytes:
    """As the n-th message of a direction bears it, and as its receiver expects it."""
    sender = PlainSession(_fixed(_NOBODY, True, _NOBODY, _NOBODY, secret, _NOBODY), n, 0, 0)
    receiver = PlainSession(_fixed(_NOBODY, False, _NOBODY, _NOBODY, _NOBODY, secret), 0, n, 0)
    frame = sender.seal(b"a text")[1]
    assert receiver.open(frame).plaintext == b"a text"
    return frame[:16]


def messages(recorded: list[dict[str, Any]], keys: Split) -> None:
    """Every message of a recorded session: made by us as js made it, and opened by us in the reverse order."""
    sides = {role: PlainSession.begin(keys, session=_NOBODY, initiator=role == "initiator") for role in _PEER}
    for message in recorded:
        sides[message["sender"]], frame = sides[message["sender"]].seal(bytes.fromhex(message["plaintext"]))
        assert frame.hex() == message["payload_v2"]
        assert len(bytes.fromhex(message["ciphertext"])) == message["padded_length"] + 16
    for message in reversed(recorded):
        reader, frame = _PEER[message["sender"]], bytes.fromhex(message["payload_v2"])
        opened = sides[reader].open(frame)
        assert opened.plaintext.hex() == message["plaintext"]
        sides[reader] = opened.successor
        with pytest.raises(Refusal):
            sides[reader].open(frame)


_PEER = {"initiator": "responder", "responder": "initiator"}
