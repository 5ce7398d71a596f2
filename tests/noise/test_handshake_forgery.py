"""A handshake message that anybody touched is refused, and the genuine one is read after it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import Forged, Malformed, Refusal
from kexkit_noise import keys as x25519
from kexkit_noise._noise import Handshake, KeyPair, Keys, Pattern, Written, agree

from tests.noise.handshake_pairs import (
    PROLOGUE,
    UNKEYED,
    Place,
    begin,
    ephemeral,
    keys,
    pair,
    places,
    read,
    secret,
    tag,
    write,
)

EVERY = pytest.mark.parametrize("pattern", Pattern, ids=str)
LOW_ORDER = sorted(x25519._LOW_ORDER) + sorted(point[:-1] + bytes((point[-1] | 0x80,)) for point in x25519._LOW_ORDER)


def refuse(place: Place, fields: bytes, transport: bytes, nametag: bytes) -> None:
    before = place.reader.encode()
    with pytest.raises(Refusal):
        place.reader.read(fields, transport, nametag)
    assert place.reader.encode() == before


def flipped(raw: bytes, position: int) -> bytes:
    return raw[:position] + bytes((raw[position] ^ 1 << position % 8,)) + raw[position + 1 :]


def keyed_places(pattern: Pattern) -> list[Place]:
    return places(pattern)[pattern in UNKEYED :]


@EVERY
def test_a_message_with_one_bit_changed_is_refused_and_the_genuine_one_is_still_read(pattern: Pattern) -> None:
    for place in keyed_places(pattern):
        fields, transport, nametag = place.message.fields, place.message.transport, tag(place.reader.step)
        for position in range(len(fields)):
            refuse(place, flipped(fields, position), transport, nametag)
        for position in range(len(transport)):
            refuse(place, fields, flipped(transport, position), nametag)
        for position in range(len(nametag)):
            refuse(place, fields, transport, flipped(nametag, position))
        assert read(place.reader, place.message).state.step == place.reader.step + 1


@pytest.mark.parametrize("pattern", sorted(UNKEYED, key=str), ids=str)
def test_a_first_message_in_clear_that_was_changed_is_found_out_by_the_answer(pattern: Pattern) -> None:
    first = places(pattern)[0]
    for position in range(0, len(first.message.fields), 3):
        try:
            misled = first.reader.read(flipped(first.message.fields, position), first.message.transport, tag(0)).state
        except Refusal:
            continue
        answer = write(misled)
        with pytest.raises(Forged):
            read(first.message.state, answer)


@EVERY
def test_keys_of_another_number_order_or_form_are_refused(pattern: Pattern) -> None:
    for place in places(pattern):
        fields, transport, nametag = place.message.fields, place.message.transport, tag(place.reader.step)
        more = fields + b"\0" + pair("more").public
        for other in (fields[:-1], fields + b"\0", more, fields[33:] + fields[:33], b"\x02" + fields[1:]):
            if other != fields:
                refuse(place, other, transport, nametag)
        for value in range(256):
            if fields and value != fields[0]:
                refuse(place, bytes((value,)) + fields[1:], transport, nametag)


@EVERY
def test_a_payload_of_another_length_is_refused(pattern: Pattern) -> None:
    for place in places(pattern):
        transport, nametag = place.message.transport, tag(place.reader.step)
        for other in (b"", transport[:-1], transport[1:], transport + b"\0", transport + bytes(247), transport[:248]):
            if other != transport:
                refuse(place, place.message.fields, other, nametag)


@EVERY
def test_padding_must_be_right_though_it_authenticates(pattern: Pattern) -> None:
    """A peer that holds the keys may still not pad as it likes; the error tells it from a forgery to nobody."""
    for place in places(pattern):
        nametag = tag(place.reader.step)
        for padded in (bytes(248), b"\xf9" * 248, b"\x01" * 247, b"", bytes(246) + b"\x01\x02", b"\xff" * 496):
            _, message = place.writer.write_unpadded(padded, nametag, ephemeral=ephemeral(place.writer))
            before = place.reader.encode()
            with pytest.raises(Forged, match="does not authenticate"):
                place.reader.read(place.message.fields, message[_raw(place.message.fields) :], nametag)
            assert place.reader.encode() == before


def _raw(fields: bytes) -> int:
    return len(fields) - sum(1 for _ in _flags(fields))


def _flags(fields: bytes) -> list[int]:
    found = []
    while fields:
        found.append(fields[0])
        fields = fields[49 if fields[0] else 33 :]
    return found


@EVERY
def test_sides_of_different_prologues_never_meet(pattern: Pattern) -> None:
    writer, reader = begin(pattern, initiator=True), begin(pattern, initiator=False, prologue=PROLOGUE + b"\0")
    if pattern in UNKEYED:
        first = write(writer)
        writer, reader = read(reader, first).state, first.state
    with pytest.raises(Forged):
        read(reader, write(writer))


def test_sides_of_different_secrets_never_meet() -> None:
    other = Keys(pair("responder"), psk=secret("another"))
    reader = Handshake.begin(Pattern.XXPSK0, initiator=False, prologue=PROLOGUE, keys=other)
    with pytest.raises(Forged):
        read(reader, write(begin(Pattern.XXPSK0, initiator=True)))


@pytest.mark.parametrize("pattern", [Pattern.XK1, Pattern.K1K1], ids=str)
def test_who_expects_another_static_never_meets(pattern: Pattern) -> None:
    writer = Handshake.begin(
        pattern, initiator=True, prologue=PROLOGUE, keys=keys(pattern, initiator=True, remote=pair("another"))
    )
    first = write(writer)
    answer = write(read(begin(pattern, initiator=False), first).state)
    with pytest.raises(Forged):
        read(first.state, answer)


# --- points ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_a_point_of_low_order_is_refused_wherever_it_comes(point: bytes) -> None:
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.from_private_bytes(secret("any")).exchange(X25519PublicKey.from_public_bytes(point))
    with pytest.raises(Malformed):
        agree(secret("any"), point)
    with pytest.raises(Malformed):
        Handshake.begin(Pattern.XK1, initiator=True, prologue=b"", keys=Keys(pair("i"), remote_static=point))
    for pattern in UNKEYED:
        first = places(pattern)[0]
        with pytest.raises(Malformed):
            first.reader.read(b"\0" + point, first.message.transport, tag(0))
    second = places(Pattern.XX)[1]
    with pytest.raises(Malformed):
        second.reader.read(b"\0" + point + second.message.fields[33:], second.message.transport, tag(1))


def test_a_static_of_low_order_is_refused_though_it_comes_sealed() -> None:
    third = places(Pattern.XX)[2]
    lying = KeyPair(secret("initiator"), bytes(32))
    ours = Handshake.begin(Pattern.XX, initiator=True, prologue=PROLOGUE, keys=Keys(lying))
    first = write(ours)
    answer = write(read(begin(Pattern.XX, initiator=False), first).state)
    message = write(read(first.state, answer).state)
    with pytest.raises(Malformed):
        read(answer.state, message)
    assert read(third.reader, third.message).state.complete


@settings(max_examples=60, derandomize=True)
@given(
    st.one_of(
        st.binary(min_size=32, max_size=32),
        st.sampled_from(LOW_ORDER),
        st.integers(-40, 40).map(lambda n: ((n + 2**255 - 19) % 2**256).to_bytes(32, "little")),
    )
)
def test_points_are_refused_exactly_where_an_agreement_would_be_zero(point: bytes) -> None:
    try:
        X25519PrivateKey.from_private_bytes(secret("any")).exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:
        with pytest.raises(Malformed):
            x25519.public_key(point)
    else:
        assert x25519.public_key(point).public_bytes_raw() == point


# --- our own keys, coming back ---------------------------------------------------------------------------------------


def _mirrored(pair_: KeyPair) -> list[KeyPair]:
    """The same key, and the same with the bit set that X25519 ignores."""
    return [pair_, KeyPair(pair_.private, pair_.public[:-1] + bytes((pair_.public[-1] | 0x80,)))]


@pytest.mark.parametrize("spelling", [0, 1])
def test_our_own_static_as_the_peers_is_refused(spelling: int) -> None:
    ours = _mirrored(pair("initiator"))[spelling]
    begun = Handshake.begin(Pattern.XX, initiator=False, prologue=PROLOGUE, keys=Keys(ours))
    first = write(begin(Pattern.XX, initiator=True))
    answer = write(read(begun, first).state)
    with pytest.raises(Forged, match="key of ours"):
        read(first.state, answer)
    with pytest.raises(Forged, match="key of ours"):
        Handshake.begin(
            Pattern.XK1,
            initiator=True,
            prologue=b"",
            keys=Keys(pair("initiator"), remote_static=ours.public),
        )


def test_our_own_ephemeral_as_the_peers_is_refused() -> None:
    first = write(begin(Pattern.XX, initiator=True))
    reader = read(begin(Pattern.XX, initiator=False), first).state
    answer = reader.write(b"", tag(1), ephemeral=secret("initiator's ephemeral"))
    with pytest.raises(Forged, match="key of ours"):
        first.state.read(answer.fields, answer.transport, tag(1))


def test_a_pairings_shown_key_as_the_initiators_is_refused() -> None:
    responder = begin(Pattern.WAKU_PAIRING, initiator=False)
    first = _reflecting()
    with pytest.raises(Forged, match="key of ours"):
        responder.read(first.fields, first.transport, tag(0))


def _reflecting() -> Written:
    """An initiator that has the shown key's private part can only be the responder itself, or a test."""
    known = Keys(pair("initiator"), remote_ephemeral=pair("responder's ephemeral").public)
    begun = Handshake.begin(Pattern.WAKU_PAIRING, initiator=True, prologue=PROLOGUE, keys=known)
    return begun.write(b"", tag(0), ephemeral=secret("responder's ephemeral"))
