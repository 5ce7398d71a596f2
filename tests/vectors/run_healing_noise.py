"""Our own vectors of healing Noise: the plugin seals the recorded bytes, opens them, and holds the recorded keys."""

from __future__ import annotations

from typing import Any

from kexkit_noise._noise import Split
from kexkit_noise.healing_keys import chain_step
from kexkit_noise.healing_skipped import key_row
from kexkit_noise.healing_state import Speaking
from kexkit_noise.keys import key_pair

from tests.noise.healing_support import SESSION, End, begun


def _nothing(size: int) -> bytes:
    raise AssertionError("opening draws no randomness")


def transcript(case: dict[str, Any], document: dict[str, Any]) -> None:
    ends = {role: _begin(case, role) for role in ("initiator", "responder")}
    frames: list[bytes] = []
    texts: list[bytes] = []
    for step in case["steps"]:
        end = ends[step["by"]]
        match step["op"]:
            case "seal":
                assert step["message"] == len(frames)
                texts.append(bytes.fromhex(step["text"]))
                frames.append(_seal(end, step))
            case "open":
                assert end.open(frames[step["message"]]) == texts[step["message"]]
                _check_opened(end, step["after"])
            case other:
                raise AssertionError(f"no such step is known here: {other}")


def _begin(case: dict[str, Any], role: str) -> End:
    split = Split(*(bytes.fromhex(case[key]) for key in ("k1", "k2", "h")))
    other = "responder" if role == "initiator" else "initiator"
    own = key_pair(bytes.fromhex(case["private"][role]))
    assert own.public.hex() == case["public"][role]
    value = begun(split, own, bytes.fromhex(case["public"][other]), initiator=role == "initiator")
    start, ratchet = case["start"], value.ratchet
    assert (value.sid.hex(), value.topic, ratchet.root.hex()) == (start["sid"], start["content_topic"], start["root"])
    if isinstance(ratchet.sending, Speaking):
        found = (ratchet.sending.header, ratchet.sending.chain, ratchet.next_sending, ratchet.next_receiving)
    else:
        assert ratchet.receiving is not None
        found = (ratchet.receiving.header, ratchet.receiving.chain, ratchet.next_receiving, ratchet.next_sending)
    header, chain, following, opposite = found
    assert (header.key.hex(), chain.hex()) == (start["header_i"], start["chain"])
    assert (following.key.hex(), opposite.key.hex()) == (start["next_header_i"], start["header_r"])
    return End(value, _nothing)


def _seal(end: End, step: dict[str, Any]) -> bytes:
    drawn = [bytes.fromhex(step["nonce"])]
    if step["new_private"] is not None:
        drawn.insert(0, bytes.fromhex(step["new_private"]))

    def rng(size: int) -> bytes:
        given = drawn.pop(0)
        assert len(given) == size
        return given

    end.rng = rng
    frame = end.seal(bytes.fromhex(step["text"]))
    end.rng = _nothing
    assert not drawn
    assert frame.hex() == step["frame"]
    chain, key = chain_step(bytes.fromhex(step["chain_key"]))
    assert (chain.hex(), key.hex()) == (step["after"]["chain_key"], step["message_key"])
    ratchet, after = end.value.ratchet, step["after"]
    sending = ratchet.sending
    assert isinstance(sending, Speaking)
    assert (sending.n, sending.pn, sending.public.hex()) == (step["n"] + 1, step["pn"], step["ratchet_public"])
    assert sending.header.key.hex() == step["header_key"]
    assert sending.header.tag(step["n"]).hex() == step["nametag"]
    assert (ratchet.root.hex(), sending.chain.hex()) == (after["root"], after["chain_key"])
    assert ratchet.next_sending.key.hex() == after["next_sending_header_key"]
    return frame


def _check_opened(end: End, after: dict[str, Any]) -> None:
    ratchet = end.value.ratchet
    assert ratchet.receiving is not None
    assert ratchet.root.hex() == after["root"]
    assert ratchet.receiving.header.key.hex() == after["receiving_header_key"]
    assert ratchet.receiving.chain.hex() == after["receiving_chain_key"]
    assert (ratchet.receiving.n, ratchet.peer.hex()) == (after["received"], after["peer"])
    assert ratchet.next_receiving.key.hex() == after["next_receiving_header_key"]
    kept = {key_row(SESSION, bytes.fromhex(tag)) for tag in after["kept"]}
    assert kept == {row for row in end.drawer if row.startswith(SESSION + b"k")}
