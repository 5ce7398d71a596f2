"""Bundles: what one person's installations publish so that others can begin sessions with them.

The signature covers installation ids, prekeys, versions and the timestamp one after the other, without a length between
them (facts: X3DH): one signed text can be read in several ways, and digits moved from a timestamp to a version would
outdate a device's genuine bundle. STRICT reads those texts alone that can be read in one way. It also takes no high-s
signature, no prekey off the curve and no timestamp from the future. The protocol version is not signed: it chooses
topics, never keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import frozen
from google.protobuf.message import DecodeError
from kexkit import secp256k1
from kexkit.api import Identity
from kexkit.errors import Forged, Limit, Malformed, OfferNotYetValid

from kexkit_x3dh import limits
from kexkit_x3dh._pb import bundle_pb2 as pb
from kexkit_x3dh.frames import KEY_BYTES

_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NS_IN_MS: Final = 1_000_000
_TIMESTAMP_MIN: Final = 10 ** (limits.TIMESTAMP_DIGITS - 1)


class BundlePolicy(Enum):
    """Which bundles are read."""

    STRICT = "strict"
    """The default. Every bundle that a status-go device makes is one of these."""
    RECORDINGS = "recordings"
    """Also what status-go's verification takes though its devices never make it: for replaying recordings of it, and
    for nothing that comes from a network."""


@frozen
class PublishedPrekey:
    public: bytes
    version: int
    protocol_version: int


@frozen
class Bundle:
    identity: bytes
    prekeys: Mapping[str, PublishedPrekey]
    """by installation"""
    timestamp: int
    """nanoseconds"""
    signature: bytes


def is_installation(name: str) -> bool:
    """As status-go makes them. Of one length and form, so that no digit before one can belong to it."""
    return _UUID.fullmatch(name) is not None


def signed_material(prekeys: Mapping[str, PublishedPrekey], timestamp: int) -> bytes:
    """What status-go signs."""
    parts = [
        name + prekey.public + str(prekey.version).encode()
        for name, prekey in sorted((name.encode(), prekey) for name, prekey in prekeys.items())
    ]
    return b"".join(parts) + (str(timestamp).encode() if timestamp else b"")


def make(identity: Identity, prekeys: Mapping[str, PublishedPrekey], timestamp: int) -> bytes:
    """Signed, and the same bytes for the same bundle."""
    bundle = pb.Bundle(identity=identity.public, timestamp=timestamp)
    for name, prekey in prekeys.items():
        entry = bundle.signed_pre_keys[name]
        entry.signed_pre_key = prekey.public
        entry.version = prekey.version
        entry.protocol_version = prekey.protocol_version
    bundle.signature = identity.sign_status(signed_material(prekeys, timestamp))
    return bundle.SerializeToString(deterministic=True)


def parse(raw: bytes) -> Bundle:
    """What it says, unverified."""
    if len(raw) > limits.BUNDLE_BYTES:
        raise Limit(f"A bundle has more than {limits.BUNDLE_BYTES} bytes.")
    try:
        parsed = pb.Bundle.FromString(raw)
    except DecodeError:
        raise Malformed("A bundle does not parse.") from None
    if len(parsed.signed_pre_keys) > limits.BUNDLE_INSTALLATIONS:
        raise Limit(f"A bundle lists more than {limits.BUNDLE_INSTALLATIONS} installations.")
    prekeys = {
        name: PublishedPrekey(entry.signed_pre_key, entry.version, entry.protocol_version)
        for name, entry in sorted(parsed.signed_pre_keys.items())
    }
    return Bundle(parsed.identity, prekeys, parsed.timestamp, parsed.signature)


def read(raw: bytes, *, maker: bytes, now: int, policy: BundlePolicy = BundlePolicy.STRICT) -> Bundle:
    """A bundle of the person `maker`, verified. The cheapest checks come first, the signature last."""
    bundle = parse(raw)
    if bundle.identity != maker:
        raise Forged("A bundle is of another person.")
    if policy is BundlePolicy.STRICT:
        _check_grammar(bundle, now)
    digest = secp256k1.keccak256(signed_material(bundle.prekeys, bundle.timestamp))
    signer = secp256k1.recover(bundle.signature, digest, allow_high_s=policy is BundlePolicy.RECORDINGS)
    if signer != maker:
        raise Forged("A bundle is not signed by the person it names.")
    return bundle


def _check_grammar(bundle: Bundle, now: int) -> None:
    if not bundle.prekeys:
        raise Malformed("A bundle lists no installation.")
    for name, prekey in bundle.prekeys.items():
        if not is_installation(name):
            raise Malformed("A bundle lists an installation whose id is not a UUID in lower case.")
        if len(prekey.public) != KEY_BYTES:
            raise Malformed(f"A signed prekey has not {KEY_BYTES} bytes.")
        if prekey.version > limits.VERSION_MAX:
            raise Limit(f"A signed prekey's version is above {limits.VERSION_MAX}.")
    if bundle.timestamp < _TIMESTAMP_MIN:
        raise Malformed(f"A bundle's timestamp has not {limits.TIMESTAMP_DIGITS} digits.")
    if bundle.timestamp > (now + limits.AHEAD_MS) * _NS_IN_MS:
        raise OfferNotYetValid("A bundle's timestamp is in the future.")
    for prekey in bundle.prekeys.values():
        secp256k1.check_public(prekey.public)
