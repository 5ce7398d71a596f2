"""Data sync payloads: what is one and what is not, what is in it, and the ids that readers acknowledge."""

from __future__ import annotations

from typing import Any

from kexkit._wire import application, mvds

from tests.interop.protobuf import last, read


def payload(case: dict[str, Any], document: dict[str, Any]) -> None:
    raw = bytes.fromhex(case["payload"])
    found = mvds.unwrap(raw)
    assert (found is not None) == case["valid_datasync"]
    if "alice" in case:
        keys = [bytes.fromhex(case[name]["public_compressed"]) for name in ("alice", "bob")]
        for group in (mvds.one_to_one_group(*keys), mvds.one_to_one_group(*reversed(keys))):
            assert group.hex() == case["one_to_one_group_id"]
    if found is None:
        assert not raw or application.unwrap(raw).signer is not None
        return
    assert found.confirm is None
    messages = case["messages"] or ()
    assert found.bodies == tuple(bytes.fromhex(each["body"]) for each in messages)
    for each in messages:
        body, group = bytes.fromhex(each["body"]), bytes.fromhex(each["group_id"])
        assert mvds.message_id(body, group=group, timestamp=each["timestamp"]).hex() == each["message_id"]
    fields = read(raw)
    assert found.acks == tuple(fields.get(5001, ()))
    assert found.requests == tuple(fields.get(5003, ()))
    offered = [read(group)[2] for group in fields.get(5005, ())]
    assert found.offers == tuple(message for group in offered for message in group)
    for group in fields.get(5005, ()):
        assert last(read(group), 1).hex() == case["one_to_one_group_id"]
    written = b"".join(
        mvds.wrap((bytes.fromhex(each["body"]),), group=bytes.fromhex(each["group_id"]), timestamp=each["timestamp"])
        for each in messages
    )
    assert raw.endswith(written), "our bytes for these messages are status-go's"
