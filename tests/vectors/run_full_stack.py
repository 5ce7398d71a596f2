"""A whole message as status-go sent it, through every layer: from the text to the network's bytes, and back."""

from __future__ import annotations

from typing import Any

from kexkit._wire import application, protocol_message, topics, waku
from kexkit.identity import SoftwareIdentity

from tests.vectors import run_payload
from tests.vectors.recorded_party import RecordedParty, decoded, exchange_for


def message(case: dict[str, Any], document: dict[str, Any]) -> None:
    alice, bob = (SoftwareIdentity(bytes.fromhex(case[name]["private"])) for name in ("alice", "bob"))
    wrapped = bytes.fromhex(case["application_metadata"])
    assert application.unwrap(wrapped).signer == alice.public
    assert application.message_id(alice.public, wrapped).hex() == case["message_id"]

    raw = bytes.fromhex(case["protocol_message"])
    parsed = protocol_message.parse(raw)
    assert len(parsed.bundles) == 1
    assert alice.public in parsed.bundles[0]
    assert len(parsed.slots) == 1
    assert (parsed.public, parsed.offers, parsed.frames) == (None, (), ())
    assert protocol_message.encode(parsed) == raw

    _check_encryption(case, alice, bob)

    assert case["transport"]["data"] == case["protocol_message"]
    assert case["transport"]["sender"]["public_compressed"] == alice.public.hex()
    run_payload.payload({**case["transport"], "name": case["name"]}, document)

    name = topics.partitioned_name(bob.public)
    assert name == case["partitioned_topic_name"]
    assert topics.content_topic(name) == case["content_topic"]
    assert case["pubsub_topic"] == topics.PUBSUB_DEFAULT

    envelope, meta = waku.parse(bytes.fromhex(case["waku_message"]))
    assert envelope.payload.hex() == case["transport"]["encoded"]
    assert (envelope.topic, envelope.version) == (case["content_topic"], 1)
    assert envelope.timestamp == case["waku_message_timestamp"]
    assert waku.message_hash(case["pubsub_topic"], envelope, meta=meta).hex() == case["waku_message_hash"]
    assert waku.parse(waku.encode(envelope, meta=meta)) == (envelope, meta)


def _check_encryption(case: dict[str, Any], alice: SoftwareIdentity, bob: SoftwareIdentity) -> None:
    """Alice knew nothing of Bob's devices: any of them opens it, and from the same keys we make the same frame."""
    raw = bytes.fromhex(case["protocol_message"])
    recorded = decoded(raw)
    payload = case["mvds_payload"] or case["application_metadata"]
    (listed,) = recorded["bundles"]
    exchange = exchange_for({recorded["installation_id"], *listed["signed_pre_keys"]})
    secrets = {bytes.fromhex(each["public"]): bytes.fromhex(each["private"]) for each in case["generated_private_keys"]}
    now = listed["timestamp"] // 10**6
    reader = RecordedParty(bob, "any of Bob's", exchange, secrets, now)
    opened = reader.layer.open(alice.public, raw)
    assert opened is not None
    assert [plain.body.hex() for plain in opened] == [payload]
    writer = RecordedParty(alice, recorded["installation_id"], exchange, secrets, now)
    writer.send_as(
        {"kind": "direct", "to": bob.public.hex(), "payload": payload, "message": raw.hex(), "decoded": recorded}
    )
