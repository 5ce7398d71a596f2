"""Texts wrapped by data sync: status-go passes over the confirmation beside them, and kexkit reads what it wraps."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit._wire import application, mvds
from kexkit.errors import Refusal
from kexkit.identity import SoftwareIdentity

from tests.interop import status_go_messages
from tests.interop.devices import KexkitDevice, StatusGoDevice, Workshop
from tests.interop.protobuf import read, write
from tests.interop.status_go_messages import read_application
from tests.vectors.documents import cases_of

_CASES = [
    case.content
    for case in cases_of(Path(__file__).parent.parent / "vectors" / "data" / "status-go" / "wrap.json")
    if case.content["kind"] in ("mvds", "application_metadata")
]
NOW_S = 1_760_000_000


@pytest.mark.parametrize("case", _CASES, ids=[case["name"] for case in _CASES])
def test_the_oracle_is_what_was_recorded(case: dict[str, Any]) -> None:
    if case["kind"] == "application_metadata":
        found = read_application(bytes.fromhex(case["wrapped"]))
        assert (found.type, found.payload.hex()) == (case["type"], case["payload"])
        assert found.signer.hex() == case.get("signer", {}).get("public_compressed", "")
        assert found.id.hex() == case.get("message_id", case.get("status_go_message_id"))
        return
    raw, messages = bytes.fromhex(case["payload"]), case.get("messages") or []
    assert status_go_messages.is_payload(raw) == case["valid_datasync"]
    assert status_go_messages.unwrap(raw) == (tuple(bytes.fromhex(each["body"]) for each in messages) or (raw,))
    if len({each["timestamp"] for each in messages}) == 1:
        made = status_go_messages.wrap(
            [bytes.fromhex(each["body"]) for each in messages],
            group=bytes.fromhex(messages[0]["group_id"]),
            timestamp=messages[0]["timestamp"],
            acks=read(raw).get(5001, []),
        )
        assert made == raw


@frozen
class Pair:
    """A kexkit person and a status-go person who know each other's bundles."""

    author: SoftwareIdentity
    ours: KexkitDevice
    theirs: StatusGoDevice

    @property
    def group(self) -> bytes:
        return mvds.one_to_one_group(self.ours.identity, self.theirs.identity)


def _pair() -> Pair:
    workshop = Workshop(Random(0))
    secret = workshop.person()
    pair = Pair(SoftwareIdentity(secret), workshop.kexkit(secret), workshop.status_go(workshop.person()))
    pair.ours.process_bundle(pair.theirs.identity, pair.theirs.bundle())
    pair.theirs.process_bundle(pair.ours.identity, pair.ours.bundle())
    return pair


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("confirm", [b"", b"\x01\x01" + b"confirmation" * 300], ids=["alone", "with a confirmation"])
def test_status_go_takes_texts_out_of_data_sync_whatever_is_beside_them(count: int, confirm: bytes) -> None:
    pair = _pair()
    texts = [application.wrap(b"text %d" % number, 1, pair.author) for number in range(count)]
    message = pair.ours.send(pair.theirs.identity, mvds.wrap(texts, group=pair.group, timestamp=NOW_S, confirm=confirm))
    delivered = pair.theirs.peer.deliver(pair.ours.identity, message)
    assert delivered == tuple(texts)
    for number, text in enumerate(delivered):
        found = read_application(text)
        assert (found.type, found.payload) == (1, b"text %d" % number)
        assert found.signer == pair.ours.identity
        assert found.id == application.message_id(pair.ours.identity, text), "an id is the same in either form"


def test_status_go_finds_no_text_in_a_confirmation_that_travels_alone() -> None:
    pair = _pair()
    raw = mvds.wrap((), group=pair.group, timestamp=NOW_S, confirm=b"confirmation")
    (delivered,) = pair.theirs.peer.deliver(pair.ours.identity, pair.ours.send(pair.theirs.identity, raw))
    found = read_application(delivered)
    assert (found.type, found.payload, found.signer) == (0, b"", b"")


def test_a_bare_text_is_delivered_as_it_is() -> None:
    pair = _pair()
    text = application.wrap(b"text", 1, pair.author)
    assert pair.theirs.receive(pair.ours.identity, pair.ours.send(pair.theirs.identity, text)) == text


def test_kexkit_takes_out_what_status_go_wraps() -> None:
    pair = _pair()
    raw = status_go_messages.wrap((b"one", b"two"), group=pair.group, timestamp=NOW_S, acks=(b"\x07" * 32,))
    opened = pair.ours.receive(pair.theirs.identity, pair.theirs.send(pair.ours.identity, raw))
    assert opened is not None
    assert mvds.unwrap(opened) == mvds.Unwrapped((b"one", b"two"), acks=(b"\x07" * 32,))


_numbers = st.sampled_from([1, 2, 3, 5001, 5002, 5003, 5004, 5005, 5006, 6003, 20055])
_contents = st.one_of(
    st.integers(1, 2**64 - 1),
    st.binary(max_size=6),
    st.binary(max_size=6).map(lambda body: write((6001, b"group"), (6003, body))),
)


@settings(derandomize=True, deadline=None, max_examples=600, database=None)
@given(st.lists(st.tuples(_numbers, _contents), max_size=4), st.integers(0, 3))
def test_both_tell_payloads_from_bare_messages_by_the_same_rule(
    fields: list[tuple[int, int | bytes]], cut: int
) -> None:
    raw = write(*fields)
    raw = raw[: len(raw) - cut]
    try:
        found = mvds.unwrap(raw)
    except Refusal:
        assert (20055, b"") in fields or [number for number, _ in fields].count(20055) > 1
        return
    assert status_go_messages.unwrap(raw) == (found.bodies if found is not None and found.bodies else (raw,))
    if found is None or found.confirm is None:
        assert status_go_messages.is_payload(raw) == (found is not None)
