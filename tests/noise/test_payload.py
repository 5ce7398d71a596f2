"""PayloadV2: one encoding a value, and padding that is checked to the last byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import Forged, InvalidInput, Limit, Malformed, Refusal
from kexkit_noise import limits
from kexkit_noise.payload import PayloadV2, decode, encode, pad, unpad

TAG = bytes(range(16))
VALUES = st.builds(
    PayloadV2,
    nametag=st.binary(min_size=16, max_size=16),
    protocol_id=st.integers(0, 255),
    fields=st.binary(max_size=limits.FIELDS_BYTES),
    transport=st.binary(max_size=600),
)


@settings(derandomize=True)
@given(VALUES)
def test_a_value_comes_back_from_its_bytes(value: PayloadV2) -> None:
    assert decode(encode(value), value.protocol_id) == value


@settings(derandomize=True)
@given(VALUES, st.integers(0, 255))
def test_a_payload_under_another_protocol_id_is_refused(value: PayloadV2, expected: int) -> None:
    if expected == value.protocol_id:
        assert decode(encode(value), 1, expected, 2) == value
    else:
        with pytest.raises(Malformed, match="protocol id"):
            decode(encode(value), expected)


@settings(derandomize=True)
@given(VALUES, st.binary(min_size=1, max_size=3))
def test_no_byte_may_be_missing_or_follow(value: PayloadV2, more: bytes) -> None:
    raw = encode(value)
    for other in (raw[:-1], raw[: len(raw) // 2], raw + more):
        with pytest.raises(Malformed):
            decode(other, value.protocol_id)


@settings(max_examples=300, derandomize=True)
@given(st.binary(max_size=80))
def test_any_bytes_give_a_value_with_these_bytes_or_a_refusal(raw: bytes) -> None:
    try:
        assert encode(decode(raw, *range(256))) == raw
    except Refusal:
        return


@pytest.mark.parametrize("length", [0, 3, 5, 2**32, 2**63, 2**64 - 1])
def test_a_length_that_is_not_exact_is_refused(length: int) -> None:
    raw = TAG + bytes((0, 0)) + length.to_bytes(8, "little") + b"four"
    with pytest.raises(Malformed, match="lengths"):
        decode(raw, 0)
    assert decode(TAG + bytes((0, 0)) + (4).to_bytes(8, "little") + b"four", 0).transport == b"four"


def test_a_payload_is_as_long_as_the_network_carries() -> None:
    for size, fits in ((-1, True), (0, True), (1, False)):
        raw = encode(PayloadV2(TAG, 0, b"", bytes(limits.PAYLOAD_BYTES - 26 + size)))
        if fits:
            assert len(decode(raw, 0).transport) == len(raw) - 26
        else:
            with pytest.raises(Limit):
                decode(raw, 0)


def test_keys_of_a_handshake_are_as_long_as_one_byte_can_say() -> None:
    for size in (limits.FIELDS_BYTES - 1, limits.FIELDS_BYTES):
        assert len(decode(encode(PayloadV2(TAG, 0, bytes(size), b"")), 0).fields) == size
    with pytest.raises(InvalidInput):
        encode(PayloadV2(TAG, 0, bytes(limits.FIELDS_BYTES + 1), b""))


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_nametag_is_never_left_out(size: int) -> None:
    """js-noise writes nothing where there is no nametag, so that its payload is 16 bytes short."""
    with pytest.raises(InvalidInput):
        encode(PayloadV2(bytes(size), 0, b"", b""))


@settings(derandomize=True)
@given(st.binary(max_size=800))
def test_padding_goes_on_and_comes_off(plaintext: bytes) -> None:
    padded = pad(plaintext)
    assert len(padded) % 248 == 0
    assert 0 < len(padded) - len(plaintext) <= 248
    assert unpad(padded) == plaintext


@pytest.mark.parametrize("size", [0, 1, 246, 247, 248, 249, 495, 496])
def test_every_byte_of_the_padding_counts(size: int) -> None:
    padded = pad(bytes(size))
    for position in range(size, len(padded)):
        spoiled = padded[:position] + bytes((padded[position] ^ 1,)) + padded[position + 1 :]
        with pytest.raises(Forged):
            unpad(spoiled)


@pytest.mark.parametrize(
    "padded", [b"", bytes(248), b"\x01", b"\x01" * 247, b"\xf9" * 496, b"\xff" * 248, b"\xff" * 496]
)
def test_what_is_no_padding_is_refused(padded: bytes) -> None:
    with pytest.raises(Forged):
        unpad(padded)
