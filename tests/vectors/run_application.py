"""Application messages: signature, id, and what becomes of spoiled ones."""

from __future__ import annotations

from typing import Any

import pytest
from kexkit import secp256k1
from kexkit._wire import application, chat_message
from kexkit.errors import Forged
from kexkit.identity import SoftwareIdentity


def wrapped(case: dict[str, Any], document: dict[str, Any]) -> None:
    raw, payload = bytes.fromhex(case["wrapped"]), bytes.fromhex(case["payload"])
    found = application.unwrap(raw)
    assert (found.payload, found.type) == (payload, case["type"])
    if case["type"] == chat_message.TYPE:
        assert f"clock:{chat_message.parse(payload).clock} " in case["payload_text"]
    if "signer" not in case:
        assert found.signer is None
        assert application.message_id(None, raw).hex() == case["status_go_message_id"]
        return
    assert found.signer is not None
    assert found.signer.hex() == case["signer"]["public_compressed"]
    assert application.message_id(found.signer, raw).hex() == case["message_id"]
    assert secp256k1.keccak256(payload).hex() == case["payload_keccak256"]
    signer = SoftwareIdentity(bytes.fromhex(case["signer"]["private"]))
    assert application.wrap(payload, case["type"], signer) == raw


def spoiled(case: dict[str, Any], document: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["wrapped"])
    if not case["recovered_ok"]:
        with pytest.raises(Forged):
            application.unwrap(raw)
        return
    found = application.unwrap(raw)
    if "recovered_public" not in case:
        assert found.signer is None
        return
    assert found.signer is not None
    assert found.signer.hex() == case["recovered_public"]
    assert (found.signer.hex() == case["signer"]["public_compressed"]) == case["recovered_is_signer"]
    assert application.message_id(found.signer, raw).hex() == case["message_id"]
