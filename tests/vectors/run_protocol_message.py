"""Transcripts of status-go's whole encryption layer, replayed with our SecurityLayer as every party at once.

Each party receives the recorded bytes and must get what the recorded party got; each makes the messages that the
recorded party sent, from the same private keys, and the frames in them must be the recorded bytes. Ours is deliberately
safer in two things: a text opens once (status-go opens it until told otherwise), and what came from somebody else than
its maker does not open (status-go finds a session without asking whose it is). Each case runs twice: with sessions kept
in memory, and with every one restored from its row before each step.

Informative, and not compared: how many message keys status-go keeps, its list of sessions, its table of bundles, which
shared secrets and topics it has agreed on, the texts of its errors, and when it makes a ratchet key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, evolve, field
from kexkit import secp256k1
from kexkit._wire import protocol_message
from kexkit.api import Context, Device
from kexkit.errors import Refusal, Replayed
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import bundle as bundles

from tests.vectors.recorded_party import RecordedParty, exchange_for

_NS_IN_MS = 1_000_000
_STRANGER = SoftwareIdentity(bytes(31) + b"\x01")
_SOME_TIME_NS = 1_760_000_000 * 10**9


@define
class _Message:
    raw: bytes
    maker: str
    """the party that made it, or whose message was spoiled"""
    decoded: dict[str, Any]


@define
class _Transcript:
    parties: dict[str, RecordedParty]
    restarts: bool
    messages: dict[int, _Message] = field(factory=dict)
    duplicates: int = 0
    imposters: int = 0


def transcript(case: dict[str, Any], document: dict[str, Any]) -> None:
    for restarts in (False, True):
        replay = _Transcript(_parties(case), restarts)
        for number, step in enumerate(case["steps"]):
            try:
                _play(replay, step)
            except AssertionError as problem:
                problem.add_note(f"step {number} of {case['name']}: {step['op']} by {step.get('party')}")
                raise
        steered = sum(party.steered for party in replay.parties.values())
        print(
            f"{case['name']}: {len(case['steps'])} steps; safer than the recording: {replay.duplicates} duplicates and "
            f"{replay.imposters} imposters refused; session chosen as status-go would: {steered} sends"
        )


def _parties(case: dict[str, Any]) -> dict[str, RecordedParty]:
    installations = {each["installation_id"] for each in case["parties"]}
    for bundle in _bundles(case["steps"]):
        installations |= set(bundle["signed_pre_keys"])
    secrets = {
        bytes.fromhex(made["public"]): bytes.fromhex(made["private"])
        for step in case["steps"]
        for made in step.get("generated_private_keys") or ()
    }
    assert all(secp256k1.public_of(secret) == public for public, secret in secrets.items())
    start = min((bundle["timestamp"] for bundle in _bundles(case["steps"])), default=_SOME_TIME_NS) // _NS_IN_MS
    found = {}
    for each in case["parties"]:
        identity = SoftwareIdentity(bytes.fromhex(each["identity"]["private"]))
        assert identity.public.hex() == each["identity"]["public_compressed"]
        exchange = exchange_for(installations)
        found[each["name"]] = RecordedParty(identity, each["installation_id"], exchange, secrets, start)
    return found


def _bundles(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        if "bundle" in step:
            yield step["bundle"]
        if "decoded" in step:
            yield from step["decoded"]["bundles"] or ()


def _play(replay: _Transcript, step: dict[str, Any]) -> None:
    _pass_time(replay, step)
    match step["op"]:
        case "process_bundle":
            _process_bundle(replay, step)
        case "enable_installation":
            replay.parties[step["party"]].layer.enable(step["installation_id"])
        case "send":
            for bundle in step["decoded"]["bundles"] or ():
                _check_bundle(replay, bundle)
            replay.parties[step["party"]].send_as(step)
            _note_message(replay, step, step["party"])
        case "modify":
            _note_message(replay, step, replay.messages[step["of"]].maker)
        case "receive":
            _receive(replay, step)
        case "confirm" | "note" | "bundles_table":
            pass  # a used key is gone anyway; the others inform
        case other:
            pytest.fail(f"no such step is known here: {other}")


def _pass_time(replay: _Transcript, step: dict[str, Any]) -> None:
    """The clock follows the timestamps of the bundles that are made."""
    made = [bundle["timestamp"] // _NS_IN_MS for bundle in _bundles([step])]
    for party in replay.parties.values():
        party.now = max(party.now, *made) if made else party.now
        if replay.restarts:
            party.layer.shell.forget_sessions()


# --- bundles ---------------------------------------------------------------------------------------------------------


def _check_bundle(replay: _Transcript, recorded: dict[str, Any]) -> None:
    """Everybody reads it, and its maker signs the same thing with the same bytes."""
    raw, maker = bytes.fromhex(recorded["serialized"]), bytes.fromhex(recorded["identity"])
    read = bundles.parse(raw)
    assert bundles.signed_material(read.prekeys, read.timestamp).hex() == recorded["signature_material"]
    for party in replay.parties.values():
        context = Context(Device(party.identity.public, party.installation), party.now, bytes, party.identity)
        adverts = party.exchange.read_offer(raw, maker=Device(maker, ""), ctx=context)
        assert [advert.device for advert in adverts] == [Device(maker, name) for name in read.prekeys]
        assert {advert.device.installation: advert.public.hex() for advert in adverts} == {
            name: prekey["signed_pre_key"] for name, prekey in recorded["signed_pre_keys"].items()
        }
        if party.identity.public == maker:
            assert bundles.parse(bundles.make(party.identity, read.prekeys, read.timestamp)) == read


def _process_bundle(replay: _Transcript, step: dict[str, Any]) -> None:
    recorded, party = step["bundle"], replay.parties[step["party"]]
    raw, maker = bytes.fromhex(recorded["serialized"]), bytes.fromhex(recorded["identity"])
    if not step["ok"]:
        before = party.rows
        with pytest.raises(Refusal):
            party.layer.process_bundle(maker, raw)
        assert party.rows == before
        return
    _check_bundle(replay, recorded)
    if "from" in step:
        replay.parties[step["from"]].publish_as(recorded)
    party.layer.process_bundle(maker, raw)
    _check_known(party, maker, step)


def _check_known(party: RecordedParty, identity: bytes, step: dict[str, Any]) -> None:
    known = {device.installation for device in party.devices_of(identity) if device.adverts}
    assert known >= set(step["new_installations"] or ())


# --- messages --------------------------------------------------------------------------------------------------------


def _note_message(replay: _Transcript, step: dict[str, Any], maker: str) -> None:
    raw, decoded = bytes.fromhex(step["message"]), step["decoded"]
    parsed = protocol_message.parse(raw)
    assert parsed.installation == decoded["installation_id"]
    assert [bundle.hex() for bundle in parsed.bundles] == [each["serialized"] for each in decoded["bundles"] or ()]
    assert parsed.slots.keys() == (decoded["encrypted_message"] or {}).keys()
    assert (parsed.public or b"").hex() == decoded.get("public_message", "")
    replay.messages[step["index"]] = _Message(raw, maker, decoded)


def _receive(replay: _Transcript, step: dict[str, Any]) -> None:
    party, message = replay.parties[step["party"]], replay.messages[step["message"]]
    sender, before = bytes.fromhex(step["sender"]), party.rows
    place = _place(message, party.installation)
    signed = place is not None or message.decoded["bundles"]  # else nothing in it says whose it is
    genuine = replay.parties[message.maker].identity.public == sender or not signed
    if not step["ok"] or not genuine or place in party.opened:
        wanted = Replayed if step["ok"] and genuine else Refusal
        with pytest.raises(wanted):
            party.layer.open(sender, message.raw)
        assert party.rows == before, "a refusal changed a row"
        replay.duplicates += step["ok"] and genuine
        replay.imposters += step["ok"] and not genuine
        return
    if place is not None:
        _attack(party, sender, message)
    got = party.layer.open(sender, message.raw)
    if (sender, message.decoded["installation_id"]) == (party.identity.public, party.installation):
        assert got is None, "our own echo is nobody's text"
        assert step["payload_is_nil"]
        assert party.rows == before
        return
    assert got is not None
    (plain,) = got
    assert plain.body.hex() == step["payload"]
    assert (not plain.body) == step["payload_is_nil"]
    _check_known(party, sender, step)
    if place is not None:
        party.opened.add(place)


def _attack(party: RecordedParty, sender: bytes, message: _Message) -> None:
    """What the recordings do once, done to every text of a session before it opens."""
    parsed, before = protocol_message.parse(message.raw), party.rows
    bare = protocol_message.encode(evolve(parsed, bundles=()))
    spoiled = {name: frame[:-1] + bytes((frame[-1] ^ 1,)) for name, frame in parsed.slots.items()}
    attempts = {
        "an imposter is believed": (_STRANGER.public, bare),
        "a spoiled frame opens": (sender, protocol_message.encode(evolve(parsed, slots=spoiled))),
    }
    for danger, (claimed, raw) in attempts.items():
        with pytest.raises(Refusal):
            pytest.fail(f"{danger}: {party.layer.open(claimed, raw)}")
        assert party.rows == before, "a refusal changed a row"


def _place(message: _Message, installation: str) -> tuple[str, int] | None:
    """(ratchet key, n) of the frame that this installation is to open."""
    if message.decoded.get("public_message"):
        return None
    entries = message.decoded["encrypted_message"] or {}
    header = entries.get(installation, entries.get("none", {})).get("dr_header")
    return (header["key"], header["n"]) if header is not None else None
