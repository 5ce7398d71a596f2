"""The oracle is as good as its likeness to status-go: it makes the recorded bytes and takes them as status-go did.

It draws its keys in status-go's own order, so nothing is tried or steered here: each party is handed the private keys
that the recording says it generated in that step, and must use up all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from coincurve import PrivateKey

from tests.interop.protobuf import last, map_of, read
from tests.interop.status_go_peer import StatusGoPeer
from tests.interop.status_go_ratchet import StatusGoError
from tests.vectors.documents import cases_of

_DATA = Path(__file__).parent.parent / "vectors" / "data" / "status-go"
_CASES = [
    case.content
    for name in ("protocol_message", "protocol_message_multidevice")
    for case in cases_of(_DATA / f"{name}.json")
]


@define
class _Party:
    peer: StatusGoPeer
    draws: list[bytes]
    timestamp: list[int]


@define
class _Replay:
    parties: dict[str, _Party] = field(factory=dict)
    messages: dict[int, bytes] = field(factory=dict)


def _party(recorded: dict[str, Any]) -> _Party:
    draws: list[bytes] = []
    timestamp = [1]

    def rng(size: int) -> bytes:
        assert len(draws[0]) == size
        return draws.pop(0)

    secret = PrivateKey(bytes.fromhex(recorded["identity"]["private"]))
    return _Party(StatusGoPeer(secret, recorded["installation_id"], lambda: timestamp[0], rng), draws, timestamp)


@pytest.mark.parametrize("case", _CASES, ids=[case["name"] for case in _CASES])
def test_the_oracle_is_what_was_recorded(case: dict[str, Any]) -> None:
    replay = _Replay({each["name"]: _party(each) for each in case["parties"]})
    for step in case["steps"]:
        for made in step.get("generated_private_keys") or ():
            replay.parties[made["owner"]].draws.append(bytes.fromhex(made["private"]))
        _play(replay, step)
        assert not any(party.draws for party in replay.parties.values())


def _play(replay: _Replay, step: dict[str, Any]) -> None:
    match step["op"]:
        case "process_bundle":
            _made_bundle(replay.parties[step["from"]], step["bundle"])
            assert _bundle(replay.parties[step["from"]].peer.bundle()) == _bundle(_raw(step["bundle"]))
            replay.parties[step["party"]].peer.process_bundle(_raw(step["bundle"]))
        case "enable_installation":
            replay.parties[step["party"]].peer.enable(step["installation_id"])
        case "send":
            replay.messages[step["index"]] = bytes.fromhex(step["message"])
            made = _send(replay.parties[step["party"]], step)
            assert _message(made) == _message(bytes.fromhex(step["message"]))
        case "modify":
            replay.messages[step["index"]] = bytes.fromhex(step["message"])
        case "receive":
            _receive(replay.parties[step["party"]].peer, step, replay.messages[step["message"]])
        case "confirm":
            entry = read(replay.messages[step["message"]])
            peer = replay.parties[step["party"]].peer
            header = read(last(read(map_of(entry[101])[peer.installation]), 2))
            del peer.kept[last(header, 1), last(header, 2, 0)]


def _raw(bundle: dict[str, Any]) -> bytes:
    return bytes.fromhex(bundle["serialized"])


def _made_bundle(party: _Party, recorded: dict[str, Any]) -> None:
    """The recorded clock; and the refresh interval of the recording, which was short."""
    party.timestamp[0] = recorded["timestamp"]
    own = recorded["signed_pre_keys"][party.peer.installation]
    party.peer.refresh_due = bytes.fromhex(own["signed_pre_key"]) not in party.peer.prekeys


def _send(party: _Party, step: dict[str, Any]) -> bytes:
    for bundle in step["decoded"]["bundles"]:
        _made_bundle(party, bundle)
    payload = bytes.fromhex(step["payload"])
    for entry in step["decoded"]["encrypted_message"].values():
        if "dh_header" in entry:
            party.draws.insert(1, bytes.fromhex(entry["payload"])[-12:])
    if step["kind"] == "public":
        return party.peer.build_public(payload)
    build = party.peer.build if step["kind"] == "direct" else party.peer.build_dh
    return build(bytes.fromhex(step["to"]), payload)


def _receive(peer: StatusGoPeer, step: dict[str, Any], message: bytes) -> None:
    sender = bytes.fromhex(step["sender"])
    if not step["ok"]:
        with pytest.raises(StatusGoError):
            peer.handle(sender, message)
        return
    assert (peer.handle(sender, message) or b"").hex() == step["payload"]


def _bundle(raw: bytes) -> dict[int, Any]:
    """Order of map entries means nothing."""
    fields = read(raw)
    return {**fields, 2: map_of(fields.get(2, []))}


def _message(raw: bytes) -> dict[int, Any]:
    fields = read(raw)
    return {**fields, 3: [_bundle(each) for each in fields.get(3, [])], 101: map_of(fields.get(101, []))}
