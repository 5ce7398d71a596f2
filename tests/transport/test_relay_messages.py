"""What a client and a relay say: every value survives, and any bytes are a value or Malformed."""

from __future__ import annotations

from random import Random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Envelope
from kexkit.errors import InvalidInput, Malformed, TransportRefused
from kexkit_transport_relay._pb import relay_pb2 as pb
from kexkit_transport_relay.limits import ARRIVAL_COST, MAX_CURSOR, MAX_PAYLOAD, MAX_REASON, MAX_TOPIC, PAGE_COUNT
from kexkit_transport_relay.limits import WATCHES_PER_MESSAGE as MANY
from kexkit_transport_relay.messages import (
    Delivered,
    FromRelay,
    Grant,
    Page,
    Publish,
    Refused,
    Stored,
    ToRelay,
    Unwatch,
    Watch,
    WatchTopic,
    Welcome,
    check_envelope,
    check_topic,
    decode_from_relay,
    decode_to_relay,
    encode_from_relay,
    encode_to_relay,
)

from tests.transport.by_hand import envelope

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
TIMES = st.integers(-(2**63), 2**63 - 1)
TOPICS = st.text(min_size=1, max_size=60, alphabet=st.characters(exclude_categories=["Cs"]))
PAYLOADS = st.binary(max_size=300)
ENVELOPES = st.builds(Envelope, TOPICS, PAYLOADS, U32, TIMES, st.booleans())
WATCHES = st.builds(WatchTopic, U32, TOPICS, st.none() | st.binary(min_size=1, max_size=MAX_CURSOR))
ARRIVALS = st.builds(Delivered, U32, st.binary(max_size=30), PAYLOADS, U32, TIMES, st.booleans())
TO_RELAY = st.one_of(
    st.builds(Publish, U64, ENVELOPES),
    st.builds(Watch, st.lists(WATCHES, max_size=5).map(tuple)),
    st.builds(Unwatch, st.lists(U32, max_size=5).map(tuple)),
    st.builds(Grant, U32),
)
REASONS = st.text(min_size=1, max_size=MAX_REASON, alphabet="abc äß€ .")
FROM_RELAY = st.one_of(
    st.builds(Welcome, st.binary(min_size=8, max_size=8), st.integers(1, MAX_PAYLOAD), st.integers(1, 2**32 - 1)),
    st.builds(Stored, st.lists(U64, max_size=5).map(tuple)),
    st.builds(Refused, REASONS, st.booleans(), U32, U64, st.none()),
    st.builds(Refused, REASONS, st.booleans(), U32, st.none(), U32),
    st.builds(Page, st.lists(ARRIVALS, max_size=5).map(tuple)),
)


@settings(max_examples=200, derandomize=True)
@given(message=TO_RELAY)
def test_what_a_client_says_survives(message: ToRelay) -> None:
    assert decode_to_relay(encode_to_relay(message)) == message


@settings(max_examples=200, derandomize=True)
@given(message=FROM_RELAY)
def test_what_a_relay_says_survives(message: FromRelay) -> None:
    assert decode_from_relay(encode_from_relay(message)) == message


SAMPLES_TO: list[ToRelay] = [
    Publish(7, envelope(1, 200)),
    Watch(tuple(WatchTopic(number, f"/topic/{number}", bytes(24)) for number in range(9))),
    Unwatch(tuple(range(30))),
    Grant(2**20),
]
SAMPLES_FROM: list[FromRelay] = [
    Welcome(bytes(8), MAX_PAYLOAD, 4096),
    Stored(tuple(range(40))),
    Refused("Too fast.", False, 30, request=4),
    Page(tuple(Delivered(number, bytes(24), bytes(50), 1, 2**60, False) for number in range(5))),
]


@pytest.mark.parametrize("side", ["to the relay", "from the relay"])
def test_a_hundred_thousand_spoiled_inputs_are_values_or_malformed(side: str) -> None:
    to_relay = side == "to the relay"
    decode = decode_to_relay if to_relay else decode_from_relay
    samples = list(map(encode_to_relay, SAMPLES_TO)) if to_relay else list(map(encode_from_relay, SAMPLES_FROM))
    random = Random(side)
    values = 0
    for _ in range(100_000):
        data = bytearray(random.choice(samples))
        kind = random.randrange(4)
        if kind == 0:
            data = bytearray(random.randbytes(random.randrange(80)))
        elif kind == 1:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        elif kind == 2:
            del data[random.randrange(len(data)) :]
        else:
            place = random.randrange(len(data))
            data[place:place] = random.randbytes(random.randrange(1, 9))
        try:
            decode(bytes(data))
            values += 1
        except Malformed:
            pass
    assert 1000 < values < 99_000


# --- bounds ---


@pytest.mark.parametrize(("size", "fits"), [(0, False), (1, True), (MAX_TOPIC, True), (MAX_TOPIC + 1, False)])
def test_a_topic_has_so_many_bytes(size: int, fits: bool) -> None:
    topic = "x" * size
    sent = pb.ToRelay(publish=pb.Publish(topic=topic)).SerializeToString()
    watched = pb.ToRelay(watch=pb.Watch(topics=[pb.Watch.Topic(topic=topic)])).SerializeToString()
    if fits:
        check_topic(topic)
        decode_to_relay(sent)
        decode_to_relay(watched)
        return
    with pytest.raises(InvalidInput):
        check_topic(topic)
    for data in (sent, watched):
        with pytest.raises(Malformed):
            decode_to_relay(data)


def test_topics_are_counted_in_bytes_and_must_be_text() -> None:
    check_topic("ä" * (MAX_TOPIC // 2))
    for topic in ("ä" * (MAX_TOPIC // 2) + "x", "\ud800"):
        with pytest.raises(InvalidInput):
            check_topic(topic)


@pytest.mark.parametrize(("size", "kept"), [(MAX_CURSOR - 1, True), (MAX_CURSOR, True), (MAX_CURSOR + 1, False)])
def test_a_cursor_that_is_too_long_means_the_beginning(size: int, kept: bool) -> None:
    said = decode_to_relay(encode_to_relay(Watch((WatchTopic(1, "/t", bytes(size)),))))
    assert isinstance(said, Watch)
    assert said.topics[0].cursor == (bytes(size) if kept else None)


@pytest.mark.parametrize(("count", "fits"), [(MANY - 1, True), (MANY, True), (MANY + 1, False)])
def test_one_message_names_so_many_topics(count: int, fits: bool) -> None:
    for message in (
        Watch(tuple(WatchTopic(number, "/t", None) for number in range(count))),
        Unwatch(tuple(range(count))),
    ):
        data = encode_to_relay(message)
        if fits:
            assert decode_to_relay(data) == message
        else:
            with pytest.raises(Malformed):
                decode_to_relay(data)


@pytest.mark.parametrize("size", [MAX_REASON - 1, MAX_REASON, MAX_REASON + 1])
def test_a_reason_is_cut_and_shows_no_control_characters(size: int) -> None:
    said = decode_from_relay(encode_from_relay(Refused("\x1b\n" + "x" * size, True, watch=1)))
    assert isinstance(said, Refused)
    assert said.reason == "x" * min(size, MAX_REASON - 2)


@pytest.mark.parametrize(
    ("welcome", "fits"),
    [
        (Welcome(bytes(8), MAX_PAYLOAD, 1), True),
        (Welcome(bytes(8), MAX_PAYLOAD + 1, 1), False),
        (Welcome(bytes(8), 0, 1), False),
        (Welcome(bytes(8), 1, 0), False),
        (Welcome(bytes(7), 1, 1), False),
        (Welcome(bytes(9), 1, 1), False),
    ],
)
def test_a_welcome_makes_sense_or_is_malformed(welcome: Welcome, fits: bool) -> None:
    data = encode_from_relay(welcome)
    if fits:
        assert decode_from_relay(data) == welcome
    else:
        with pytest.raises(Malformed):
            decode_from_relay(data)


@pytest.mark.parametrize(("field", "bad"), [("version", -1), ("version", 2**32), ("timestamp", 2**63)])
def test_an_envelope_that_no_relay_can_carry_is_refused_before_it_is_sent(field: str, bad: int) -> None:
    check_envelope(envelope(1), MAX_PAYLOAD)
    with pytest.raises(InvalidInput):
        check_envelope(evolve(envelope(1), **{field: bad}), MAX_PAYLOAD)


@pytest.mark.parametrize(("size", "fits"), [(999, True), (1000, True), (1001, False)])
def test_a_payload_beyond_what_the_relay_carries_is_refused_before_it_is_sent(size: int, fits: bool) -> None:
    if fits:
        check_envelope(envelope(1, size), 1000)
    else:
        with pytest.raises(TransportRefused, match="1001 bytes"):
            check_envelope(envelope(1, size), 1000)


def test_an_arrival_costs_its_payload_and_a_constant() -> None:
    assert Delivered(1, b"", bytes(100), 1, 1, False).cost == 100 + ARRIVAL_COST


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_page_brings_so_many_arrivals_with_so_long_cursors(over: int) -> None:
    """What a client has room for is counted by payloads: without these bounds a relay could send gigabytes beside."""
    small, large = (Delivered(1, bytes(size), b"", 1, 1, False) for size in (24, MAX_CURSOR + over))
    for page in (Page((small,) * (PAGE_COUNT + over)), Page((small, large))):
        data = encode_from_relay(page)
        if over <= 0:
            assert decode_from_relay(data) == page
        else:
            with pytest.raises(Malformed):
                decode_from_relay(data)
