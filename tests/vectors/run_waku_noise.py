"""Handshakes, sessions and derivations as js-noise made them, and what must be refused.

The recordings say what js did; what is asserted is the rule. A message opens if and only if it authenticates, its
lengths are exact, its id, flags and nametag are the expected ones, and its points contribute something.
"""

from __future__ import annotations

from typing import Any, Final

import pytest
from kexkit.errors import Refusal
from kexkit_noise import nametags, payload, qr
from kexkit_noise._noise import Handshake, Keys, Pattern, Read, Split, key_pair
from kexkit_noise.payload import PayloadV2
from kexkit_noise.plain import PlainSession

from tests.vectors import run_waku_sessions

_PATTERNS: Final = {pattern.short: pattern for pattern in Pattern}
_UNAUTHENTICATED: Final = {"unauthenticated-payload-bit-flip", "nametag-not-authenticated"}
"""Spoiled where nothing can be authentic yet, the first message of XX: these open, and the handshake fails later."""


def begin(case: dict[str, Any], *, initiator: bool, **overrides: str) -> Handshake:
    """One side, with what it knows beforehand."""
    pattern = _PATTERNS[case["pattern"]]
    us, them = (case["initiator"], case["responder"])[:: 1 if initiator else -1]
    ours, theirs = pattern.pre_messages[not initiator], pattern.pre_messages[initiator]
    recorded: dict[str, Any] = {**case, **overrides}
    keys = Keys(
        static=key_pair(bytes.fromhex(us["static"]["private"])),
        ephemeral=key_pair(bytes.fromhex(us["ephemeral"]["private"])) if "e" in ours else None,
        remote_static=bytes.fromhex(them["static"]["public"]) if "s" in theirs else None,
        remote_ephemeral=bytes.fromhex(them["ephemeral"]["public"]) if "e" in theirs else None,
        psk=bytes.fromhex(recorded["psk"]) if recorded["psk"] else None,
    )
    return Handshake.begin(pattern, initiator=initiator, prologue=bytes.fromhex(recorded["prologue"]), keys=keys)


def receive(reader: Handshake, raw: bytes, expected: bytes) -> Read:
    received = payload.decode(raw, reader.pattern.protocol_id)
    if received.nametag != expected:
        raise Refusal("another message is expected")
    return reader.read(received.fields, received.transport, expected)


def _both(case: dict[str, Any]) -> dict[str, Handshake]:
    return {"initiator": begin(case, initiator=True), "responder": begin(case, initiator=False)}


def handshake(case: dict[str, Any], document: dict[str, Any]) -> None:
    sides = _both(case)
    for side in sides.values():
        assert side.pattern.noise_name == case["protocol_name"].encode()
        assert side.pattern.protocol_id == case["protocol_id"]
        assert [list(message) for message in side.pattern.tokens] == [
            each["tokens"] for each in case["message_pattern"]
        ]
        assert (side.h.hex(), side.ck.hex()) == (case["initial_state"]["h"], case["initial_state"]["ck"])
    for step in case["steps"]:
        _step(case, step, sides)
    _result(case["result"], sides)
    _nametags(case)
    run_waku_sessions.messages(case["session_messages"], sides["initiator"].split())
    if "pairing" in case:
        _pairing(case)


def _step(case: dict[str, Any], step: dict[str, Any], sides: dict[str, Handshake]) -> None:
    """Written byte for byte, read by the other, both stored and loaded again."""
    sender = step["sender"]
    reader = "responder" if sender == "initiator" else "initiator"
    tag, content = bytes.fromhex(step["message_nametag"]), bytes.fromhex(step["payload_plaintext"])
    if step["message_nametag_source"] == "hkdf_of_h":
        assert nametags.message_nametag(sides[reader].h) == tag
    ephemeral = bytes.fromhex(case[sender]["ephemeral"]["private"])
    written = sides[sender].write(content, tag, ephemeral=ephemeral)
    raw = payload.encode(PayloadV2(tag, case["protocol_id"], written.fields, written.transport))
    assert raw.hex() == step["payload_v2"]
    opened = receive(sides[reader], raw, tag)
    assert opened.payload == content
    for name, side in ((sender, written.state), (reader, opened.state)):
        sides[name] = Handshake.decode(side.encode())
        assert (sides[name].h.hex(), sides[name].ck.hex()) == (step["state_after"]["h"], step["state_after"]["ck"])
        assert nametags.message_nametag(side.h).hex() == step["next_message_nametag_hkdf_of_h"]


def _result(result: dict[str, Any], sides: dict[str, Handshake]) -> None:
    for side in sides.values():
        keys = side.split()
        assert keys.k1.hex() == result["k_initiator_to_responder"]
        assert keys.k2.hex() == result["k_responder_to_initiator"]
        assert keys.h.hex() == result["handshake_hash"]
        assert side.ck.hex() == result["chaining_key"]
        secrets = nametags.nametag_secrets(keys.h)
        assert secrets.initiator_to_responder.hex() == result["nametag_secrets"]["initiator_to_responder"]
        assert secrets.responder_to_initiator.hex() == result["nametag_secrets"]["responder_to_initiator"]
    seen = sides["initiator"].remote_static, sides["responder"].remote_static
    assert [key and key.hex() for key in seen] == [
        result["initiator_sees_remote_static"],
        result["responder_sees_remote_static"],
    ]


def _nametags(case: dict[str, Any]) -> None:
    for direction, listed in case["nametags"].items():
        secret = bytes.fromhex(case["result"]["nametag_secrets"][direction])
        for each in listed:
            assert run_waku_sessions.nametag(secret, each["n"]).hex() == each["nametag"]


def _pairing(case: dict[str, Any]) -> None:
    pairing = case["pairing"]
    code = qr.read(pairing["qr_string"])
    assert code.prologue.hex() == case["prologue"]
    assert (
        nametags.pairing_topic(code.application, code.version, code.shard) == (pairing["content_topic_spec43_and_npm"])
    )
    for side, randomness in (("responder", "responder_randomness_r"), ("initiator", "initiator_randomness_s")):
        static = bytes.fromhex(case[side]["static"]["public"])
        made = nametags.commitment(static, bytes.fromhex(pairing[randomness]))
        assert made.hex() == pairing[f"{side}_commitment"]
    assert code.commitment.hex() == pairing["responder_commitment"]
    first = case["steps"][0]
    assert nametags.auth_code(bytes.fromhex(first["state_after"]["h"])) == first["auth_code_js_big_endian"]


def reject(case: dict[str, Any], document: dict[str, Any]) -> None:
    initiator = case["reader"] == "initiator"
    spoiled, right = (begin(case, initiator=initiator, **each) for each in (case["reader_overrides"], {}))
    writer = begin(case, initiator=not initiator)
    for index, step in enumerate(case["steps"]):
        tag = bytes.fromhex(step["message_nametag"])
        if (index % 2 == 0) == initiator:
            content = bytes.fromhex(step["payload_plaintext"])
            ephemeral = bytes.fromhex(case[case["reader"]]["ephemeral"]["private"])
            spoiled, right = (each.write(content, tag, ephemeral=ephemeral).state for each in (spoiled, right))
        else:
            raw = bytes.fromhex(step["payload_v2"])
            spoiled, right = (receive(each, raw, tag).state for each in (spoiled, right))
    assert spoiled.step == writer.step + case["target_step"]
    bad, expected = bytes.fromhex(case["payload_v2"]), bytes.fromhex(case["expected_message_nametag"])
    before = spoiled.encode()
    if case["mutation"] in _UNAUTHENTICATED:
        assert receive(spoiled, bad, expected).payload.hex() == case["js_payload"]
    else:
        with pytest.raises(Refusal):
            receive(spoiled, bad, expected)
    assert spoiled.encode() == before
    genuine = bytes.fromhex(case["genuine_payload_v2"])
    assert receive(right, genuine, genuine[:16]).payload.hex() == case["payload_plaintext"]


def derived_from_h(case: dict[str, Any], document: dict[str, Any]) -> None:
    h = bytes.fromhex(case["h"])
    assert nametags.auth_code(h) == case["js_noise"]
    assert nametags.message_nametag(h).hex() == case["message_nametag_of_h"]
    secrets = nametags.nametag_secrets(h)
    assert secrets.responder_to_initiator.hex() == case["nms1"]
    assert secrets.initiator_to_responder.hex() == case["nms2"]


def session_ids(case: dict[str, Any], document: dict[str, Any]) -> None:
    """The session id itself never leaves a device: it is one of the nametags' secrets."""
    keys = Split(bytes(32), bytes(32), bytes.fromhex(case["h"]))
    assert nametags.nametag_secrets(keys.h).responder_to_initiator.hex() == case["session_id"]
    for initiator in (True, False):
        session = PlainSession.begin(keys, session=bytes(32), initiator=initiator)
        assert session.marker.hex() == case["hash_session_id"]
        assert case["ct_id"] in session.topic.split("/")


def nametag_buffer(case: dict[str, Any], document: dict[str, Any]) -> None:
    for each in case["tags"]:
        assert run_waku_sessions.nametag(bytes.fromhex(case["secret"]), each["n"]).hex() == each["nametag"]


def commitment(case: dict[str, Any], document: dict[str, Any]) -> None:
    made = nametags.commitment(bytes.fromhex(case["public_key"]), bytes.fromhex(case["r"]))
    assert made.hex() == case["commitment"]


def padding(case: dict[str, Any], document: dict[str, Any]) -> None:
    plaintext, padded = bytes.fromhex(case["plaintext"]), bytes.fromhex(case["padded"])
    assert case["block_size"] == payload.PADDING_BYTES
    assert payload.pad(plaintext) == padded
    assert payload.unpad(padded) == plaintext


def codec(case: dict[str, Any], document: dict[str, Any]) -> None:
    """Both ways, whatever js's reader made of it."""
    fields = case["fields"]
    keys = b"".join(bytes((each["flag"],)) + bytes.fromhex(each["pk"]) for each in fields["handshake_message"])
    value = PayloadV2(
        bytes.fromhex(fields["message_nametag"]),
        fields["protocol_id"],
        keys,
        bytes.fromhex(fields["transport_message"]),
    )
    assert payload.encode(value).hex() == case["payload_v2"]
    assert payload.decode(bytes.fromhex(case["payload_v2"]), fields["protocol_id"]) == value


def qr_code(case: dict[str, Any], document: dict[str, Any]) -> None:
    code = qr.read(case["qr_string"])
    assert (code.application, code.version, code.shard) == (
        case["application_name"],
        case["application_version"],
        case["shard_id"],
    )
    assert code.ephemeral.hex() == case["ephemeral_public_key"]
    assert code.commitment.hex() == case["committed_static_key"]
    assert code.text == case["qr_string"]
