"""A frame has one encoding, and everything else is refused by type."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kexkit.errors import Limit, Malformed, Refusal
from kexkit_x3dh import frames, limits
from kexkit_x3dh._pb.encrypted_message_pb2 import EncryptedMessageProtocol
from kexkit_x3dh.frames import DirectFrame, RatchetFrame

KEY, OTHER, THIRD = b"\x02" + b"k" * 32, b"\x03" + b"o" * 32, b"\x02" + b"t" * 32
numbers = st.integers(0, 2**32 - 1)
point_like = st.builds(lambda sign, x: bytes((sign,)) + x, st.sampled_from((2, 3)), st.binary(min_size=32, max_size=32))


@given(point_like, point_like, numbers, numbers, st.binary(min_size=48, max_size=200), st.none() | point_like)
@settings(max_examples=100, derandomize=True)
def test_what_is_written_is_read(
    prekey: bytes, key: bytes, n: int, pn: int, sealed: bytes, ephemeral: bytes | None
) -> None:
    raw = frames.write_ratchet(prekey, key, n, pn, sealed, ephemeral=ephemeral or b"")
    assert frames.read(raw) == RatchetFrame(ephemeral or b"", prekey, key, n, pn, sealed)


@given(point_like, st.binary(min_size=28, max_size=200))
@settings(max_examples=50, derandomize=True)
def test_a_direct_frame_is_read_as_written(key: bytes, sealed: bytes) -> None:
    assert frames.read(frames.write_direct(key, sealed)) == DirectFrame(key, sealed)


@given(st.binary(max_size=300))
@settings(max_examples=300, derandomize=True)
@example(frames.write_ratchet(KEY, OTHER, 1, 1, bytes(48), ephemeral=THIRD)[:-1])
def test_any_bytes_are_a_frame_or_a_refusal(raw: bytes) -> None:
    try:
        frames.read(raw)
    except (Malformed, Limit):
        return
    assert EncryptedMessageProtocol.FromString(raw).SerializeToString() == raw


@pytest.mark.parametrize(("size", "taken"), [(47, False), (48, True), (49, True)])
def test_a_payload_without_room_for_vector_and_mac_is_refused_before_it_is_cut(size: int, taken: bool) -> None:
    raw = frames.write_ratchet(KEY, OTHER, 0, 0, bytes(size))
    if taken:
        frames.read(raw)
    else:
        with pytest.raises(Malformed):
            frames.read(raw)


@pytest.mark.parametrize(("size", "taken"), [(27, False), (28, True)])
def test_a_direct_payload_without_room_for_nonce_and_tag_is_refused(size: int, taken: bool) -> None:
    raw = frames.write_direct(KEY, bytes(size))
    if taken:
        frames.read(raw)
    else:
        with pytest.raises(Malformed):
            frames.read(raw)


@pytest.mark.parametrize(("more", "taken"), [(-1, True), (0, True), (1, False)])
def test_a_frame_is_no_larger_than_the_payload_that_carries_it(more: int, taken: bool) -> None:
    around = len(frames.write_ratchet(KEY, OTHER, 1, 1, bytes(10**6))) - 10**6
    raw = frames.write_ratchet(KEY, OTHER, 1, 1, bytes(limits.FRAME_BYTES - around + more))
    assert len(raw) == limits.FRAME_BYTES + more
    if taken:
        frames.read(raw)
    else:
        with pytest.raises(Limit):
            frames.read(raw)


def test_the_largest_body_fits_a_frame() -> None:
    sealed = bytes(limits.BODY_BYTES + 48)
    raw = frames.write_ratchet(KEY, OTHER, 2**32 - 1, 2**32 - 1, sealed, ephemeral=THIRD)
    assert len(raw) <= limits.FRAME_BYTES
    assert len(frames.write_direct(KEY, sealed)) <= limits.FRAME_BYTES


def test_other_encodings_of_the_same_frame_are_refused() -> None:
    raw = frames.write_ratchet(KEY, OTHER, 1, 0, bytes(48))
    header, payload = raw[: raw.index(b"\x1a")], raw[raw.index(b"\x1a") :]
    assert isinstance(frames.read(header + payload), RatchetFrame)
    for variant in (
        payload + header,  # fields in another order
        header + payload + payload,  # a field twice
        header + b"\x1a\xb0\x00" + payload[2:],  # a length longer than it need be
        b"\x2a\x00" + header + payload,  # an unknown field before known ones
        header[:1] + bytes((header[1] + 2,)) + header[2:] + b"\x18\x00" + payload,  # a default spelled out
    ):
        with pytest.raises(Malformed):
            frames.read(variant)


def test_fields_of_a_later_status_go_may_follow() -> None:
    raw = frames.write_ratchet(KEY, OTHER, 1, 0, bytes(48)) + b"\xba\x06\x03new"
    assert isinstance(frames.read(raw), RatchetFrame)


def test_where_headers_compete_the_ratchet_wins_then_the_direct_one() -> None:
    message = EncryptedMessageProtocol(payload=bytes(48), hr_header=b"")
    with pytest.raises(Malformed, match="communities"):
        frames.read(message.SerializeToString())
    message.dh_header.key = KEY
    assert isinstance(frames.read(message.SerializeToString()), DirectFrame)
    message.dr_header.key, message.dr_header.id = OTHER, THIRD
    assert isinstance(frames.read(message.SerializeToString()), RatchetFrame)


def test_a_frame_that_names_no_key_is_refused() -> None:
    message = EncryptedMessageProtocol(payload=bytes(48))
    message.x3dh_header.key, message.x3dh_header.id = KEY, OTHER
    for raw in (b"", message.SerializeToString()):
        with pytest.raises(Malformed):
            frames.read(raw)


def test_a_frame_of_one_session_that_opens_another_is_refused() -> None:
    message = EncryptedMessageProtocol(payload=bytes(48))
    message.dr_header.key, message.dr_header.id = KEY, OTHER
    message.x3dh_header.key, message.x3dh_header.id = KEY, THIRD
    with pytest.raises(Malformed):
        frames.read(message.SerializeToString())


@pytest.mark.parametrize(
    "key", [b"", bytes(33), KEY[:32], KEY + b"\0", b"\x04" + KEY[1:], b"\x06" + bytes(64), b"\x04" + bytes(64)]
)
@pytest.mark.parametrize("field", ["ratchet key", "prekey", "ephemeral", "direct"])
def test_a_key_that_is_not_33_compressed_bytes_is_refused_in_every_field(field: str, key: bytes) -> None:
    if field == "ephemeral" and not key:
        return  # an absent ephemeral is none
    raw = {
        "ratchet key": lambda: frames.write_ratchet(OTHER, key, 0, 0, bytes(48)),
        "prekey": lambda: frames.write_ratchet(key, OTHER, 0, 0, bytes(48)),
        "ephemeral": lambda: frames.write_ratchet(OTHER, OTHER, 0, 0, bytes(48), ephemeral=key),
        "direct": lambda: frames.write_direct(key, bytes(48)),
    }[field]()
    with pytest.raises(Refusal):
        frames.read(raw)
