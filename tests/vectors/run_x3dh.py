"""Bundles and agreements of status-go. Where a recording has what no status-go device makes, RECORDINGS reads it."""

from __future__ import annotations

from typing import Any

import pytest
from kexkit import secp256k1
from kexkit.api import Context, Device
from kexkit.errors import Refusal
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import agreement as agreements
from kexkit_x3dh import bundle as bundles
from kexkit_x3dh.bundle import BundlePolicy, PublishedPrekey
from kexkit_x3dh.exchange import X3DH

LENIENT = X3DH(policy=BundlePolicy.RECORDINGS)
STRICT = X3DH()


def _context(at: int) -> Context:
    me = Device(secp256k1.public_of(bytes(31) + b"\x01"), "reader")
    return Context(me=me, now=at, rng=bytes, identity=SoftwareIdentity(bytes(31) + b"\x01"))


def _prekeys(recorded: dict[str, Any]) -> dict[str, PublishedPrekey]:
    return {
        name: PublishedPrekey(bytes.fromhex(each["signed_pre_key"]), each["version"], each["protocol_version"])
        for name, each in recorded["signed_pre_keys"].items()
    }


def _read_as_recorded(recorded: dict[str, Any]) -> None:
    """Our reading of the bytes says what status-go's did."""
    maker, timestamp = bytes.fromhex(recorded["identity"]), recorded["timestamp"]
    prekeys = _prekeys(recorded)
    assert bundles.signed_material(prekeys, timestamp).hex() == recorded["signature_material"]
    assert (
        secp256k1.keccak256(bytes.fromhex(recorded["signature_material"])).hex()
        == (recorded["signature_material_keccak256"])
    )
    adverts = LENIENT.read_offer(
        bytes.fromhex(recorded["serialized"]), maker=Device(maker, ""), ctx=_context(timestamp // 10**6)
    )
    assert {advert.device.installation: advert.public for advert in adverts} == {
        name: prekey.public for name, prekey in prekeys.items()
    }
    for advert in adverts:
        prekey = prekeys[advert.device.installation]
        assert advert.device.identity == maker
        assert (advert.epoch, advert.issued) == (prekey.version, timestamp)
        assert bool(advert.traits) == (prekey.protocol_version >= 1)


def _made_by_a_device(recorded: dict[str, Any]) -> bool:
    """Whether the bundle is one that a status-go device could have published: then the default policy reads it."""
    return (
        len(str(recorded["timestamp"])) == 19
        and bool(recorded["signed_pre_keys"])
        and all(bundles.is_installation(name) for name in recorded["signed_pre_keys"])
        and all(each["version"] <= 999_999 for each in recorded["signed_pre_keys"].values())
    )


def _check_default_policy(recorded: dict[str, Any]) -> None:
    raw, maker = bytes.fromhex(recorded["serialized"]), Device(bytes.fromhex(recorded["identity"]), "")
    ctx = _context(recorded["timestamp"] // 10**6)
    if _made_by_a_device(recorded):
        assert STRICT.read_offer(raw, maker=maker, ctx=ctx)
    else:
        with pytest.raises(Refusal):
            STRICT.read_offer(raw, maker=maker, ctx=ctx)


def bundle(case: dict[str, Any], document: dict[str, Any]) -> None:
    assert case["verify"]
    recorded = case["bundle"]
    _read_as_recorded(recorded)
    _check_default_policy(recorded)
    made = bundles.make(
        SoftwareIdentity(bytes.fromhex(case["identity"]["private"])), _prekeys(recorded), recorded["timestamp"]
    )
    assert bundles.parse(made) == bundles.parse(bytes.fromhex(recorded["serialized"]))  # signature and all
    for each in case["signed_pre_keys"]:
        public = secp256k1.public_of(bytes.fromhex(each["key"]["private"]))
        assert public == _prekeys(recorded)[each["installation_id"]].public


def signbundle(case: dict[str, Any], document: dict[str, Any]) -> None:
    assert case["verify"]
    recorded = case["bundle"]
    _read_as_recorded(recorded)
    prekeys = _prekeys(recorded)
    (prekey,) = prekeys.values()
    assert secp256k1.public_of(bytes.fromhex(case["signed_pre_key_private"])) == prekey.public
    made = bundles.make(SoftwareIdentity(bytes.fromhex(case["identity"]["private"])), prekeys, recorded["timestamp"])
    assert made.hex() == recorded["serialized"]  # with one installation there is one order to write it in


def bad_bundle(case: dict[str, Any], document: dict[str, Any]) -> None:
    assert not case["verify"]
    recorded = case["bundle"]
    raw = bytes.fromhex(recorded["serialized"])
    genuine = bytes.fromhex(case["identity"]["public_compressed"])
    for maker in {bytes.fromhex(recorded["identity"]), genuine}:
        for exchange in (LENIENT, STRICT):
            with pytest.raises(Refusal):
                exchange.read_offer(raw, maker=Device(maker, ""), ctx=_context(recorded["timestamp"] // 10**6))


def ok_edge(case: dict[str, Any], document: dict[str, Any]) -> None:
    """What status-go takes though it could not have made it: read for the record, refused from the network."""
    assert case["verify"]
    _read_as_recorded(case["bundle"])
    raw, maker = bytes.fromhex(case["bundle"]["serialized"]), bytes.fromhex(case["bundle"]["identity"])
    with pytest.raises(Refusal):
        STRICT.read_offer(raw, maker=Device(maker, ""), ctx=_context(case["bundle"]["timestamp"] // 10**6))


def agreement(case: dict[str, Any], document: dict[str, Any]) -> None:
    initiator, responder = _pair(case["initiator_identity"]), _pair(case["responder_identity"])
    ephemeral, prekey = _pair(case["initiator_ephemeral"]), _pair(case["responder_signed_pre_key"])
    assert secp256k1.agree(initiator[0], prekey[1]).hex() == case["dh1"]
    assert secp256k1.agree(ephemeral[0], responder[1]).hex() == case["dh2"]
    assert secp256k1.agree(ephemeral[0], prekey[1]).hex() == case["dh3"]
    active = agreements.initiator_secret(
        SoftwareIdentity(initiator[0]), ephemeral[0], peer=responder[1], prekey=prekey[1]
    )
    passive = agreements.responder_secret(
        SoftwareIdentity(responder[0]), prekey[0], peer=initiator[1], ephemeral=ephemeral[1]
    )
    assert active.hex() == case["shared_key_active"]
    assert passive.hex() == case["shared_key_passive"]
    assert active == passive


def _pair(recorded: dict[str, str]) -> tuple[bytes, bytes]:
    secret, public = bytes.fromhex(recorded["private"]), bytes.fromhex(recorded["public_compressed"])
    assert secp256k1.public_of(secret) == public
    return secret, public
