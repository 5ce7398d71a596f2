"""Answers that others published, and properties of names that the network relies on."""

from __future__ import annotations

import pytest
from kexkit import secp256k1
from kexkit._pb.status import (
    application_metadata_message_pb2,
    bundle_pb2,
    chat_message_pb2,
    mvds_pb2,
    protocol_message_pb2,
)
from kexkit._pb.waku import waku_message_pb2
from kexkit._wire import application, topics, waku
from kexkit.api import Envelope
from kexkit.errors import InvalidInput, Malformed
from kexkit.identity import SoftwareIdentity

from tests.wire.samples import ALICE

# 14/WAKU2-MESSAGE, section on deterministic hashing
PUBSUB = "/waku/2/default-waku/proto"
TOPIC = "/waku/2/default-content/proto"
PAYLOAD = bytes.fromhex("010203045445535405060708")
TIMESTAMP = 0x175789BFA23F8400
HASHES = [
    (PAYLOAD, "73757065722d736563726574", "64cce733fed134e83da02b02c6f689814872b1a0ac97ea56b76095c3c72bfe05"),
    (PAYLOAD, "", "a2554498b31f5bcdfcbf7fa58ad1c2d45f0254f3f8110a85588ec3cf10720fd8"),
]


@pytest.mark.parametrize(("payload", "meta", "expected"), HASHES)
def test_the_message_hash_is_that_of_the_specification(payload: bytes, meta: str, expected: str) -> None:
    envelope = Envelope(TOPIC, payload, 1, TIMESTAMP)
    assert waku.message_hash(PUBSUB, envelope, meta=bytes.fromhex(meta)).hex() == expected


def test_the_message_hash_does_not_cover_version_and_ephemeral() -> None:
    one, other = Envelope(TOPIC, PAYLOAD, 1, TIMESTAMP), Envelope(TOPIC, PAYLOAD, 2, TIMESTAMP, ephemeral=True)
    assert waku.message_hash(PUBSUB, one) == waku.message_hash(PUBSUB, other)


@pytest.mark.parametrize("timestamp", [2**63, -(2**63) - 1])
def test_a_timestamp_beyond_64_bits_is_our_own_fault(timestamp: int) -> None:
    envelope = Envelope(TOPIC, PAYLOAD, 1, timestamp)
    with pytest.raises(InvalidInput):
        waku.message_hash(PUBSUB, envelope)
    with pytest.raises(InvalidInput):
        waku.encode(envelope)


def test_our_symbols_and_files_are_ours_alone_in_protobufs_pool() -> None:
    """Protobuf keeps one pool a process: a name that another distribution registers too cannot be imported twice."""
    for module in (
        application_metadata_message_pb2,
        bundle_pb2,
        chat_message_pb2,
        mvds_pb2,
        protocol_message_pb2,
        waku_message_pb2,
    ):
        assert module.DESCRIPTOR.package.startswith("kexkit.")
        assert module.DESCRIPTOR.name.startswith("kexkit/")


@pytest.mark.parametrize(
    "name", [topics.partitioned_name, topics.personal_name, topics.contact_code_name], ids=lambda name: name.__name__
)
def test_names_are_made_of_keys_only(name: object) -> None:
    for wrong in (b"", bytes(33), ALICE.public[:32], secp256k1.uncompressed(ALICE.public)):
        with pytest.raises(Malformed):
            name(wrong)  # type: ignore[operator]  # each is a function from a key to a name


def test_a_partition_is_a_remainder_of_x() -> None:
    secrets = [bytes(31) + bytes((number,)) for number in range(1, 100)]
    for public in map(secp256k1.public_of, secrets):
        expected = int(public[1:].hex(), 16) % 5000
        assert topics.partitioned_name(public) == f"contact-discovery-{expected}"


@pytest.mark.parametrize("name", ["", "\ud800"])
def test_a_topic_needs_a_name(name: str) -> None:
    with pytest.raises(InvalidInput):
        topics.content_topic(name)
    with pytest.raises(InvalidInput):
        topics.symmetric_key(name)


def test_a_negotiated_name_needs_a_whole_secret() -> None:
    with pytest.raises(InvalidInput):
        topics.negotiated_name(bytes(31))


@pytest.mark.parametrize("number", [-1, 2**31])
def test_a_type_is_a_positive_number(number: int) -> None:
    with pytest.raises(InvalidInput):
        application.wrap(b"", number, ALICE)


def test_a_message_id_is_over_the_bytes_and_the_author() -> None:
    wrapped = application.wrap(b"hello", 1, ALICE)
    ids = {
        application.message_id(ALICE.public, wrapped),
        application.message_id(None, wrapped),
        application.message_id(ALICE.public, wrapped + b"\x00"),
        application.message_id(SoftwareIdentity(bytes(31) + b"\x01").public, wrapped),
    }
    assert len(ids) == 4
    assert application.message_id(None, wrapped) == secp256k1.keccak256(wrapped)
