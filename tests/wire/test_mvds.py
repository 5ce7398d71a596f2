"""Data sync payloads: they come back, they are told from bare messages, and a confirmation is in them once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kexkit import limits, secp256k1
from kexkit._pb.status import application_metadata_message_pb2, mvds_pb2
from kexkit._wire import application, mvds
from kexkit.errors import InvalidInput, Limit, Malformed

from tests.interop.protobuf import varint, write
from tests.wire.confirmations import CONFIRM, GROUP, identities
from tests.wire.samples import ALICE, BOB, NOW_S, blobs, repeatable

timestamps = st.integers(0, 2**63 - 1)
groups = st.binary(min_size=32, max_size=32)


def _unwrapped(raw: bytes) -> mvds.Unwrapped:
    found = mvds.unwrap(raw)
    assert found is not None
    return found


@repeatable
@given(st.lists(blobs, max_size=5), st.binary(max_size=300), groups, timestamps)
def test_a_payload_comes_back(bodies: list[bytes], confirm: bytes, group: bytes, timestamp: int) -> None:
    if not bodies and not confirm:
        return
    raw = mvds.wrap(bodies, group=group, timestamp=timestamp, confirm=confirm)
    assert mvds.unwrap(raw) == mvds.Unwrapped(tuple(bodies), confirm or None)


@repeatable
@given(st.lists(st.binary(min_size=1), min_size=1, max_size=3), st.binary(min_size=1), st.integers(1, 2**63 - 1))
def test_a_payload_has_status_fields_and_one_of_ours(bodies: list[bytes], confirm: bytes, timestamp: int) -> None:
    messages = [(5004, write((6001, GROUP), (6002, timestamp), (6003, body))) for body in bodies]
    raw = mvds.wrap(bodies, group=GROUP, timestamp=timestamp, confirm=confirm)
    assert raw == write(*messages, (20055, confirm))


@repeatable
@given(blobs, st.integers(0, 2**31 - 1))
def test_a_bare_message_is_no_payload(payload: bytes, number: int) -> None:
    assert mvds.unwrap(application.wrap(payload, number, ALICE)) is None
    unsigned = application_metadata_message_pb2.ApplicationMetadataMessage(payload=payload, type=number)
    assert mvds.unwrap(unsigned.SerializeToString()) is None


@repeatable
@given(st.lists(blobs, max_size=3), st.binary(min_size=1, max_size=300))
def test_a_payload_says_nothing_as_a_bare_message(bodies: list[bytes], confirm: bytes) -> None:
    """Whoever takes it for one finds no text, no type and no author in it."""
    found = application.unwrap(mvds.wrap(bodies, group=GROUP, timestamp=NOW_S, confirm=confirm))
    assert (found.payload, found.type, found.signer) == (b"", 0, None)


@pytest.mark.parametrize(
    "fields",
    [{"acks": [b""]}, {"offers": [b""]}, {"requests": [b""]}, {"messages": [{}]}, {"group_offers": [{}]}],
    ids=lambda fields: next(iter(fields)),
)
def test_one_field_makes_a_payload_even_if_it_says_nothing(fields: dict[str, list[object]]) -> None:
    """status-go counts elements, not bytes."""
    raw = mvds_pb2.DataSyncPayload(**fields).SerializeToString()  # type: ignore[arg-type]  # by schema
    assert mvds.unwrap(raw) is not None
    assert mvds.unwrap(application.wrap(b"text", 1, ALICE) + raw) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        varint(5004 << 3 | 2) + b"\x05",
        write((5004, b"\xff")),
        write((5005, b"\x0a\x05")),
        write((5004, 7), (20055, 7)),
        write((5006, b"later"), (20057, b"")),
        bytes(300),
    ],
    ids=["empty", "no protobuf", "cut", "broken message", "broken group", "numbers", "unknown fields", "zeros"],
)
def test_what_status_go_would_not_take_for_a_payload_is_none(raw: bytes) -> None:
    assert mvds.unwrap(raw) is None


def test_fields_that_we_do_not_know_are_passed_over() -> None:
    raw = mvds.wrap((b"body",), group=GROUP, timestamp=1, confirm=CONFIRM)
    assert mvds.unwrap(write((7, b"x")) + raw + write((5006, b"y"), (20057, b"z"))) == mvds.unwrap(raw)


@pytest.mark.parametrize("second", [CONFIRM, b"", b"other"], ids=["the same", "empty", "another"])
def test_a_second_confirmation_is_refused(second: bytes) -> None:
    """Protobuf would let the last one win, and other readers perhaps the first."""
    raw = mvds.wrap((b"body",), group=GROUP, timestamp=1, confirm=CONFIRM)
    for doubled in (raw + write((20055, second)), write((20055, second)) + raw):
        with pytest.raises(Malformed):
            mvds.unwrap(doubled)


def test_a_session_that_crossed_is_named_beside_a_confirmation_and_comes_back() -> None:
    raw = mvds.wrap((b"body",), group=GROUP, timestamp=1, confirm=CONFIRM, crossed=GROUP)
    assert raw == mvds.wrap((b"body",), group=GROUP, timestamp=1, confirm=CONFIRM) + write((20056, GROUP))
    assert mvds.unwrap(raw) == mvds.Unwrapped((b"body",), CONFIRM, GROUP)
    for confirm, crossed in ((b"", GROUP), (CONFIRM, GROUP[1:]), (CONFIRM, GROUP + b"x")):
        with pytest.raises(InvalidInput):
            mvds.wrap((b"body",), group=GROUP, timestamp=1, confirm=confirm, crossed=crossed)


@pytest.mark.parametrize(
    "fields",
    [
        ((20056, GROUP),),
        ((20055, CONFIRM), (20056, GROUP), (20056, GROUP)),
        ((20055, CONFIRM), (20056, GROUP[1:])),
        ((20055, CONFIRM), (20056, GROUP + b"x")),
        ((20055, CONFIRM), (20056, b"")),
    ],
    ids=["alone", "two", "short", "long", "empty"],
)
def test_a_session_that_crossed_is_named_once_and_as_it_should(fields: tuple[tuple[int, bytes], ...]) -> None:
    with pytest.raises(Malformed):
        mvds.unwrap(write(*fields))


def test_an_empty_confirmation_is_refused() -> None:
    with pytest.raises(Malformed):
        mvds.unwrap(write((20055, b"")))


def test_a_confirmation_alone_is_a_payload() -> None:
    raw = mvds.wrap((), group=GROUP, timestamp=1, confirm=CONFIRM)
    assert raw == write((20055, CONFIRM))
    assert _unwrapped(raw) == mvds.Unwrapped((), CONFIRM)


def test_ids_are_told_by_kind() -> None:
    group = mvds_pb2.DataSyncGroupOffer(group_id=GROUP, message_ids=[b"e", b"f"])
    raw = mvds_pb2.DataSyncPayload(acks=[b"a", b"b"], offers=[b"c"], requests=[b"d"], group_offers=[group])
    expected = mvds.Unwrapped((), acks=(b"a", b"b"), offers=(b"c", b"e", b"f"), requests=(b"d",))
    assert mvds.unwrap(raw.SerializeToString()) == expected


@repeatable
@given(identities, identities)
def test_two_people_have_one_group_whoever_asks(one: bytes, other: bytes) -> None:
    group = mvds.one_to_one_group(one, other)
    assert group == mvds.one_to_one_group(other, one)
    low, high = sorted((one, other), key=lambda identity: int.from_bytes(identity[1:], "big"))
    assert group == secp256k1.keccak256(low + high)


@pytest.mark.parametrize("wrong", [b"", bytes(33), ALICE.public[1:], secp256k1.uncompressed(ALICE.public)])
def test_a_group_is_made_of_keys(wrong: bytes) -> None:
    for pair in ((wrong, BOB.public), (BOB.public, wrong)):
        with pytest.raises(Malformed):
            mvds.one_to_one_group(*pair)


def test_the_id_that_is_acknowledged_changes_with_group_and_time_and_body() -> None:
    ids = {
        mvds.message_id(body, group=group, timestamp=timestamp)
        for body in (b"a", b"b")
        for group in (GROUP, bytes(32))
        for timestamp in (0, 1, -1, 2**63 - 1, -(2**63))
    }
    assert len(ids) == 20


@pytest.mark.parametrize(
    ("bodies", "group", "timestamp"),
    [((), GROUP, 1), ((b"a",), GROUP[1:], 1), ((b"a",), b"", 1), ((b"a",), GROUP, -1), ((b"a",), GROUP, 2**63)],
)
def test_what_is_no_payload_is_not_written(bodies: tuple[bytes, ...], group: bytes, timestamp: int) -> None:
    with pytest.raises(InvalidInput):
        mvds.wrap(bodies, group=group, timestamp=timestamp)


def test_a_time_before_1970_is_read() -> None:
    message = write((6001, GROUP)) + varint(6002 << 3) + varint(2**64 - 1) + write((6003, b"body"))
    assert _unwrapped(write((5004, message))).bodies == (b"body",)


def test_a_mebibyte_of_empty_ids_is_refused() -> None:
    nothing = write((5001, b""))
    with pytest.raises(Limit):
        mvds.unwrap(nothing * (limits.APPLICATION_BYTES // len(nothing)))
