"""Topic names, content topics and the keys that go with names."""

from __future__ import annotations

from typing import Any

from kexkit import secp256k1
from kexkit._wire import topics


def _check(name: str, expected: dict[str, str]) -> None:
    assert name == expected["topic_name"]
    assert topics.content_topic(name) == expected["content_topic"]
    assert f"0x{expected['topic']}/" in expected["content_topic"]
    if "symmetric_key" in expected:
        assert topics.symmetric_key(name).hex() == expected["symmetric_key"]


def public_chat(case: dict[str, Any], document: dict[str, Any]) -> None:
    _check(case["topic_name"], case)


def identity(case: dict[str, Any], document: dict[str, Any]) -> None:
    public = bytes.fromhex(case["key"]["public_compressed"])
    assert secp256k1.public_of(bytes.fromhex(case["key"]["private"])) == public
    assert secp256k1.uncompressed(public).hex() == case["key"]["public_uncompressed"]
    peer = case["negotiated_with"]
    secret = secp256k1.agree(bytes.fromhex(case["key"]["private"]), bytes.fromhex(peer["public_compressed"]))
    assert secret.hex() == case["shared_secret"]
    assert secp256k1.agree(bytes.fromhex(peer["private"]), public) == secret
    _check(topics.negotiated_name(secret), case["negotiated"])
    for field, name in (
        ("contact_code", topics.contact_code_name),
        ("partitioned", topics.partitioned_name),
        ("personal_discovery", topics.personal_name),
    ):
        if field in case:
            _check(name(public), case[field])
    if "legacy_discovery" in case:
        _check(case["legacy_discovery"]["topic_name"], case["legacy_discovery"])
