"""What is written is read back, and equal values have equal bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kexkit import limits
from kexkit._wire import application, chat_message, offers, payload26, protocol_message, waku
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.api import Envelope

from tests.wire.samples import (
    ALICE,
    BOB,
    blobs,
    offer_bodies,
    protocol_messages,
    repeatable,
    seeded,
    texts,
)

KEY = bytes(range(32))
envelopes = st.builds(
    Envelope,
    topic=texts,
    payload=blobs,
    version=st.integers(0, 2**32 - 1),
    timestamp=st.integers(-(2**63), 2**63 - 1),
    ephemeral=st.booleans(),
)
clocks = st.integers(0, limits.CLOCK_MAX)
chat_texts = st.builds(
    chat_message.ChatText,
    clock=clocks,
    timestamp=clocks,
    text=texts,
    chat_id=texts,
    message_type=st.integers(-(2**31), 2**31 - 1),
    content_type=st.integers(-(2**31), 2**31 - 1),
    response_to=texts,
    ens_name=texts,
    display_name=texts,
)


@repeatable
@given(protocol_messages)
def test_a_protocol_message_comes_back(message: ProtocolMessage) -> None:
    assert protocol_message.parse(protocol_message.encode(message)) == message


@repeatable
@given(protocol_messages, st.randoms(use_true_random=False))
def test_the_order_in_which_a_map_was_filled_is_not_on_the_wire(message: ProtocolMessage, order: object) -> None:
    items = list(message.slots.items())
    order.shuffle(items)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    shuffled = ProtocolMessage(
        message.installation, message.bundles, dict(items), message.public, message.offers, message.frames
    )
    assert protocol_message.encode(shuffled) == protocol_message.encode(message)


def test_an_empty_public_message_is_no_public_message() -> None:
    raw = protocol_message.encode(ProtocolMessage("phone", public=b""))
    assert raw == protocol_message.encode(ProtocolMessage("phone"))
    assert protocol_message.parse(raw).public is None


@repeatable
@given(blobs, st.integers(0, 2**31 - 1))
def test_an_application_message_comes_back_with_its_author(payload: bytes, number: int) -> None:
    found = application.unwrap(application.wrap(payload, number, ALICE))
    assert (found.payload, found.type, found.signer) == (payload, number, ALICE.public)


@repeatable
@given(chat_texts)
def test_a_chat_text_comes_back(message: chat_message.ChatText) -> None:
    assert chat_message.parse(chat_message.encode(message)) == message


@repeatable
@given(envelopes, st.binary(max_size=limits.META_BYTES))
def test_an_envelope_comes_back_with_its_meta(envelope: Envelope, meta: bytes) -> None:
    assert waku.parse(waku.encode(envelope, meta=meta)) == (envelope, meta)


@repeatable
@given(offer_bodies())
def test_an_offer_comes_back(body: offers.OfferBody) -> None:
    signed = offers.sign(body, ALICE)
    now_ms = body.not_before * 1000
    assert offers.parse(signed.received, expected_identity=ALICE.public, now_ms=now_ms) == signed


@repeatable
@given(st.binary(max_size=1000), st.booleans(), st.integers())
def test_a_payload_comes_back_under_its_key(data: bytes, signed: bool, seed: int) -> None:
    sealed = payload26.seal_symmetric(data, KEY, sign=ALICE if signed else None, rng=seeded(seed))
    assert payload26.open_symmetric(sealed, KEY) == payload26.Opened(data, ALICE.public if signed else None)


@repeatable
@given(st.binary(max_size=1000), st.booleans(), st.integers())
def test_a_payload_comes_back_to_its_recipient(data: bytes, signed: bool, seed: int) -> None:
    sealed = payload26.seal_asymmetric(data, BOB.public, sign=ALICE if signed else None, rng=seeded(seed))
    assert payload26.open_asymmetric(sealed, BOB) == payload26.Opened(data, ALICE.public if signed else None)


@repeatable
@given(st.integers(0, 70_000), st.booleans())
def test_frames_fill_whole_blocks_and_never_go_unpadded(size: int, signed: bool) -> None:
    padding = payload26.padding_size(size, signed=signed)
    assert 1 <= padding <= 256
    frame = payload26.encode_frame(bytes(size), bytes(padding), sign=ALICE if signed else None)
    assert len(frame) % 256 == 0
