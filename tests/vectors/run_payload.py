"""Transport payloads of 26/WAKU2-PAYLOAD as go-waku made them, and spoiled ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kexkit import secp256k1
from kexkit._wire import payload26
from kexkit.errors import Refusal
from kexkit.identity import SoftwareIdentity


def _identity(key: dict[str, str] | None) -> SoftwareIdentity | None:
    return None if key is None else SoftwareIdentity(bytes.fromhex(key["private"]))


def payload(case: dict[str, Any], document: dict[str, Any]) -> None:
    encoded, inner, data = (bytes.fromhex(case[name]) for name in ("encoded", "inner", "data"))
    sender = _identity(case.get("sender")) if case["signed"] else None
    signer = None if sender is None else sender.public
    if case["mode"] == "symmetric":
        key = bytes.fromhex(case["symmetric_key"])
        assert payload26.open_frame_symmetric(encoded, key) == inner
        assert payload26.open_symmetric(encoded, key) == payload26.Opened(data, signer)
        assert payload26.seal_frame_symmetric(inner, key, encoded[-12:]) == encoded
    else:
        recipient = _identity(case["recipient"])
        assert recipient is not None
        assert payload26.open_frame_asymmetric(encoded, recipient) == inner
        assert payload26.open_asymmetric(encoded, recipient) == payload26.Opened(data, signer)
    _check_frame(case, inner, data, sender)


def _check_frame(case: dict[str, Any], inner: bytes, data: bytes, sender: SoftwareIdentity | None) -> None:
    """The frame is made again, byte for byte, from its parts."""
    assert inner[0] == case["flags"]
    end = len(inner) - (65 if sender is not None else 0)
    start = 1 + (inner[0] & 3) + len(data)
    padding = inner[start:end]
    assert len(padding) == case["padding_length"]
    assert payload26.encode_frame(data, padding, sign=sender) == inner
    if sender is not None:
        assert inner[end:].hex() == case["signature"]
        assert secp256k1.keccak256(inner[:end]).hex() == case["signed_hash"]
    if "explicit-padding" in case["name"]:
        return
    assert payload26.padding_size(len(data), signed=sender is not None) == case["padding_length"]
    if "symmetric_key" in case:
        encoded = bytes.fromhex(case["encoded"])
        drawn: Iterator[bytes] = iter((padding, encoded[-12:]))
        key = bytes.fromhex(case["symmetric_key"])
        assert payload26.seal_symmetric(data, key, sign=sender, rng=lambda size: next(drawn)) == encoded


def spoiled(case: dict[str, Any], document: dict[str, Any]) -> None:
    encoded, key = bytes.fromhex(case["encoded"]), bytes.fromhex(case["symmetric_key"])
    assert payload26.open_frame_symmetric(encoded, key).hex() == case["inner"]
    if not case["decodes"]:
        with pytest.raises(Refusal):
            payload26.open_symmetric(encoded, key)
        return
    signer = case.get("signer")
    expected = payload26.Opened(bytes.fromhex(case["data"]), None if signer is None else bytes.fromhex(signer))
    assert payload26.open_symmetric(encoded, key) == expected
