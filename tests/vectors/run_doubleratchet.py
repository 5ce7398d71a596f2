"""Transcripts of status-go's double ratchet, replayed on both sides at once.

status-go makes a new ratchet key when it receives one, we when we next send: the recorded keys are handed to the party
that made them, which uses the last one. It derives the initialisation vector, we draw it: the recorded one is handed
out. It opens a message twice until told to forget its key; ours is gone at once, and the second time is refused.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from kexkit import secp256k1
from kexkit.api import NOTHING, Context, Device, Row, Step, Wants
from kexkit.errors import Refusal
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import frames, session
from kexkit_x3dh.chains import chain_step
from kexkit_x3dh.exchange import X3DH
from kexkit_x3dh.limits import Limits
from kexkit_x3dh.parties import Parties
from kexkit_x3dh.session import RatchetSession
from kexkit_x3dh.skipped import key_row
from kexkit_x3dh.state import Speaking

_NOBODY = SoftwareIdentity(bytes(31) + b"\x01")


@define
class _Party:
    value: RatchetSession
    drawer: dict[bytes, Row] = field(factory=dict)
    ratchet_key: bytes = b""
    """the last that status-go's party made"""
    opened: set[tuple[bytes, int]] = field(factory=set)

    def seal(self, body: bytes, vector: bytes) -> bytes:
        def rng(size: int) -> bytes:
            return self.ratchet_key if size == 32 else vector

        step = self.value.seal(body, ctx=_context(rng))
        assert isinstance(step.session, RatchetSession)
        self.value = self._restored(step.session)
        return step.frames[0]

    def receive(self, frame: bytes) -> bytes:
        before = self.value.snapshot()
        have: dict[bytes, bytes | None] = {}
        step: Step | Wants = self.value.receive(frame, NOTHING, ctx=_context(_none))
        for _ in range(3):
            if isinstance(step, Step):
                break
            have |= {row: self.drawer[row].value if row in self.drawer else None for row in step.rows}
            step = self.value.receive(frame, have, ctx=_context(_none))
        assert self.value.snapshot() == before
        assert isinstance(step, Step)
        assert isinstance(step.session, RatchetSession)
        for row in step.drop:
            self.drawer.pop(row, None)
        self.drawer |= step.keep
        self.value = self._restored(step.session)
        return step.plain[0].body

    def _restored(self, value: RatchetSession) -> RatchetSession:
        """Every step goes on from the stored bytes."""
        restored = X3DH(bounds=value.bounds).restore(value.snapshot())
        assert isinstance(restored, RatchetSession)
        return restored


def _none(size: int) -> bytes:
    raise AssertionError("receiving draws no randomness")


def _context(rng: Any) -> Context:
    return Context(me=Device(_NOBODY.public, "here"), now=1_760_000_000_000, rng=rng, identity=_NOBODY)


def transcript(case: dict[str, Any], document: dict[str, Any]) -> None:
    prekey = bytes.fromhex(case["responder_signed_pre_key"]["public_compressed"])
    bounds = Limits(case["max_skip"], case["max_keep"], case["max_message_keys_per_session"])
    parties: dict[str, _Party] = {}
    sent: list[bytes] = []
    for step in case["steps"]:
        match step["op"]:
            case "init":
                parties[step["party"]] = _begin(case, step, prekey, bounds)
            case "encrypt":
                sent.append(_encrypt(parties[step["party"]], step, prekey))
                assert len(sent) == step["message"] + 1
            case "skip_encrypt":
                party = parties[step["party"]]
                sent += (party.seal(bytes.fromhex(step["plaintext"]), bytes(16)) for _ in range(step["count"]))
            case "decrypt":
                _decrypt(parties[step["party"]], step, sent[step["message"]], prekey)
            case "delete_message_key":
                read = frames.read(sent[step["message"]])
                assert isinstance(read, frames.RatchetFrame)
                assert (read.key, read.n) in parties[step["party"]].opened  # and so it is gone already
            case "final_state":
                _check_state(parties[step["party"]], step["state"])
            case other:
                pytest.fail(f"no such step is known here: {other}")
        if "state_after" in step:
            _check_state(parties[step["party"]], step["state_after"])


def _begin(case: dict[str, Any], step: dict[str, Any], prekey: bytes, bounds: Limits) -> _Party:
    ours = step["role"] == "initiator"
    who = Parties(bytes(32), ours, Device(_NOBODY.public, "there"), prekey, _NOBODY.public)
    secret = bytes.fromhex(case["shared_key"])
    if ours:
        party = _Party(session.begin(who, secret, bounds))
        _make_keys(party, step)
        return party
    return _Party(session.answer(who, secret, bytes.fromhex(case["responder_signed_pre_key"]["private"]), bounds))


def _make_keys(party: _Party, step: dict[str, Any]) -> None:
    for made in step.get("generated_private_keys", []):
        party.ratchet_key = bytes.fromhex(made["private"])


def _frame(header: dict[str, Any], sealed: bytes, prekey: bytes) -> bytes:
    return frames.write_ratchet(prekey, bytes.fromhex(header["dh"]), header["n"], header["pn"], sealed)


def _encrypt(party: _Party, step: dict[str, Any], prekey: bytes) -> bytes:
    sealed = bytes.fromhex(step["ciphertext"])
    if party.value.parties.ours:  # the transcripts are of the ratchet alone, after the agreement
        party.value = RatchetSession(
            party.value.parties, party.value.bounds, True, party.value.root, party.value.sending, party.value.receiving
        )
    frame = party.seal(bytes.fromhex(step["plaintext"]), sealed[:16])
    assert frame == _frame(step["header"], sealed, prekey)
    return frame


def _decrypt(party: _Party, step: dict[str, Any], sent: bytes, prekey: bytes) -> None:
    frame = _altered(sent, step, prekey)
    read = _place(step, sent)
    again = read in party.opened and "tampered" not in step
    if not step["ok"] or again:
        before, rows = party.value.snapshot(), dict(party.drawer)
        with pytest.raises(Refusal):
            party.receive(frame)
        assert (party.value.snapshot(), party.drawer) == (before, rows)
        return
    assert party.receive(frame) == bytes.fromhex(step["plaintext"])
    party.opened.add(read)
    assert key_row(party.value.id, *read) not in party.drawer
    _make_keys(party, step)


def _place(step: dict[str, Any], sent: bytes) -> tuple[bytes, int]:
    read = frames.read(sent)
    assert isinstance(read, frames.RatchetFrame)
    return read.key, read.n


def _altered(sent: bytes, step: dict[str, Any], prekey: bytes) -> bytes:
    """The frame as the step says it arrived."""
    read = frames.read(sent)
    assert isinstance(read, frames.RatchetFrame)
    header = step.get("header", {"dh": read.key.hex(), "n": read.n, "pn": read.pn})
    sealed = bytes.fromhex(step["ciphertext"]) if "ciphertext" in step else read.sealed
    return _frame(header, sealed, prekey)


def _check_state(party: _Party, recorded: dict[str, Any]) -> None:
    """All but what status-go makes on receipt and we on sending, and its count of keys."""
    value = party.value
    chain = bytes.fromhex(recorded["recv_chain_key"])
    hears = (value.receiving.first, value.receiving.chain)
    assert hears == (chain_step(chain)[::-1] if value.receiving.first else (b"", chain))
    assert value.receiving.n == recorded["recv_chain_n"]
    if not isinstance(value.sending, Speaking):
        assert value.sending.n == recorded["pn"]
        assert value.receiving.key.hex() == recorded["dhr"]
        return
    assert value.receiving.key.hex() == recorded["dhr"]
    assert value.root.hex() == recorded["root_chain_key"]
    assert value.sending.secret.hex() == recorded["dhs_private"]
    assert value.sending.public.hex() == recorded["dhs_public"]
    assert value.sending.chain.hex() == recorded["send_chain_key"]
    assert value.sending.n == recorded["send_chain_n"]
    assert value.sending.pn == recorded["pn"]
    assert secp256k1.public_of(value.sending.secret) == value.sending.public
