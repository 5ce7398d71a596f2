"""Handshakes as values: what both sides get, what is stored, what a message may not be."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import InvalidInput, KexkitError, Limit, Malformed, StoreCorrupt, StoreNewer
from kexkit_noise import _noise, limits
from kexkit_noise._noise import Handshake, Keys, Pattern, key_pair
from kexkit_noise.patterns import HELD

from tests.noise.handshake_pairs import PAYLOADS, begin, finished, keys, pair, places, read, secret, tag, write

EVERY = pytest.mark.parametrize("pattern", Pattern, ids=str)
BYTES_32 = st.binary(min_size=32, max_size=32)


@EVERY
def test_both_sides_get_the_same_keys_and_know_each_other(pattern: Pattern) -> None:
    initiator, responder = finished(pattern)
    assert initiator.split() == responder.split()
    assert len({initiator.split().k1, initiator.split().k2, initiator.h}) == 3
    assert initiator.remote_static == pair("responder").public
    assert responder.remote_static == pair("initiator").public
    assert responder.remote_ephemeral == initiator.local_ephemeral_public == pair("initiator's ephemeral").public


@EVERY
def test_payloads_arrive(pattern: Pattern) -> None:
    assert tuple(read(place.reader, place.message).payload for place in places(pattern)) == PAYLOADS


@settings(max_examples=30, derandomize=True)
@given(
    st.sampled_from(Pattern),
    st.lists(BYTES_32, min_size=5, max_size=5, unique=True),
    st.binary(max_size=80),
    st.lists(st.binary(max_size=800), min_size=3, max_size=3),
)
def test_any_keys_prologue_and_payloads_make_a_session(
    pattern: Pattern, seeds: list[bytes], prologue: bytes, payloads: list[bytes]
) -> None:
    static_i, static_r, e_i, e_r, psk = seeds
    i, r = key_pair(static_i), key_pair(static_r)
    known = pattern.pre_messages
    shown = key_pair(e_r) if "e" in known[1] else None
    shared = psk if pattern is Pattern.XXPSK0 else None
    ours = Keys(i, None, r.public if "s" in known[1] else None, shown and shown.public, shared)
    theirs = Keys(r, shown, i.public if "s" in known[0] else None, None, shared)
    writer = Handshake.begin(pattern, initiator=True, prologue=prologue, keys=ours)
    reader = Handshake.begin(pattern, initiator=False, prologue=prologue, keys=theirs)
    for step, payload in enumerate(payloads):
        written = writer.write(payload, tag(step), ephemeral=e_r if step % 2 else e_i)
        got = reader.read(written.fields, written.transport, tag(step))
        assert got.payload == payload
        writer, reader = Handshake.decode(got.state.encode()), Handshake.decode(written.state.encode())
    assert writer.split() == reader.split()


@EVERY
def test_a_handshake_goes_on_from_its_stored_form_as_if_nothing_had_been(pattern: Pattern) -> None:
    for place in places(pattern):
        writer, reader = Handshake.decode(place.writer.encode()), Handshake.decode(place.reader.encode())
        again = write(writer)
        assert (again.fields, again.transport) == (place.message.fields, place.message.transport)
        assert again.state.encode() == place.message.state.encode()
        straight, stored = read(place.reader, place.message), read(reader, place.message)
        assert straight.payload == stored.payload
        assert straight.state.encode() == stored.state.encode()
        for one, other in ((writer, place.writer), (reader, place.reader), (stored.state, straight.state)):
            assert (one.h, one.ck, one.step, one.writes, one.complete) == (
                other.h,
                other.ck,
                other.step,
                other.writes,
                other.complete,
            )
            assert (one.remote_static, one.remote_ephemeral, one.local_ephemeral_public) == (
                other.remote_static,
                other.remote_ephemeral,
                other.local_ephemeral_public,
            )


@EVERY
def test_a_step_leaves_the_value_as_it_was_and_gives_the_same_again(pattern: Pattern) -> None:
    for place in places(pattern):
        before = place.writer.encode(), place.reader.encode()
        assert [write(place.writer).transport for _ in range(2)] == [place.message.transport] * 2
        assert len({read(place.reader, place.message).state.encode() for _ in range(2)}) == 1
        assert (place.writer.encode(), place.reader.encode()) == before


@EVERY
def test_one_value_serves_many_threads(pattern: Pattern) -> None:
    place = places(pattern)[-1]
    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(lambda _: write(place.writer).transport, range(64)))
        states = list(pool.map(lambda _: read(place.reader, place.message).state.encode(), range(64)))
    assert set(written) == {place.message.transport}
    assert len(set(states)) == 1


@EVERY
def test_a_finished_handshake_holds_no_private_key(pattern: Pattern) -> None:
    for side in finished(pattern):
        stored = side.encode()
        for name in ("initiator", "responder", "initiator's ephemeral", "responder's ephemeral"):
            assert secret(name) not in stored
        assert side._s is None
        assert side._e.private is None


@EVERY
def test_a_secret_that_no_later_message_needs_is_gone_from_the_value_too(pattern: Pattern) -> None:
    for place in places(pattern):
        for after in (place.message.state, read(place.reader, place.message).state):
            assert after._psk == b""
            assert bool(after._k) == ("k" in HELD[pattern, after.initiator, after.step])


@EVERY
def test_what_the_library_shares_between_handshakes_is_left_as_it_was(pattern: Pattern) -> None:
    before = dict(vars(_noise._PROTOCOLS[pattern]))
    finished(pattern)
    assert vars(_noise._PROTOCOLS[pattern]) == before


@EVERY
def test_a_message_out_of_turn_is_refused(pattern: Pattern) -> None:
    for place in places(pattern):
        with pytest.raises(InvalidInput, match="not ours"):
            write(place.reader)
        with pytest.raises(Malformed, match="out of turn"):
            read(place.writer, place.message)
        with pytest.raises(InvalidInput, match="not complete"):
            place.reader.split()
    for side in finished(pattern):
        with pytest.raises(InvalidInput, match="not ours"):
            side.write(b"", tag(3))
        with pytest.raises(Malformed, match="after the last"):
            side.read(b"", bytes(264), tag(3))
        with pytest.raises(Malformed, match="out of turn"):
            side.read_unpadded(bytes(264))


@EVERY
@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize("name", ["static", "ephemeral", "remote_static", "remote_ephemeral", "psk"])
def test_a_side_begins_with_exactly_the_keys_of_its_pattern_and_role(
    pattern: Pattern, initiator: bool, name: str
) -> None:
    right = keys(pattern, initiator=initiator)
    known = {each: getattr(right, each) for each in ("static", "ephemeral", "remote_static", "remote_ephemeral", "psk")}
    other = pair("another") if name in ("static", "ephemeral") else pair("another").public
    known[name] = None if known[name] is not None else other
    with pytest.raises(InvalidInput, match=name):
        Handshake.begin(pattern, initiator=initiator, prologue=b"", keys=Keys(**known))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_have_32_bytes(size: int) -> None:
    with pytest.raises(InvalidInput):
        key_pair(bytes(size))
    with pytest.raises(InvalidInput):
        begin(Pattern.XX, initiator=True).write(b"", tag(0), ephemeral=bytes(size))
    with pytest.raises(InvalidInput):
        Handshake.begin(Pattern.XXPSK0, initiator=True, prologue=b"", keys=Keys(pair("i"), psk=bytes(size)))
    with pytest.raises(Malformed):
        Handshake.begin(Pattern.XK1, initiator=True, prologue=b"", keys=Keys(pair("i"), remote_static=bytes(size)))


def test_the_payload_of_a_handshake_message_has_a_bound() -> None:
    longest = limits.HANDSHAKE_PAYLOAD_BYTES
    for place in places(Pattern.XXPSK0):
        for size in (longest - 1, longest):
            assert read(place.reader, write(place.writer, bytes(size))).payload == bytes(size)
        with pytest.raises(InvalidInput):
            write(place.writer, bytes(longest + 1))
        message = write(place.writer, bytes(longest))
        with pytest.raises(Limit):
            place.reader.read(message.fields, message.transport + b"\0", tag(place.reader.step))


@EVERY
def test_what_was_damaged_in_the_store_is_found_or_harmless(pattern: Pattern) -> None:
    for place in places(pattern):
        stored = place.reader.encode()
        for size in range(len(stored)):
            with pytest.raises(StoreCorrupt):
                Handshake.decode(stored[:size])
        with pytest.raises(StoreCorrupt):
            Handshake.decode(stored + b"\0")
        with pytest.raises(StoreCorrupt):
            Handshake.decode(stored + bytes(32))
        with pytest.raises(StoreNewer):
            Handshake.decode(b"\x02" + stored[1:])
        with pytest.raises(StoreCorrupt):
            Handshake.decode(b"\x00" + stored[1:])
        for position in range(1, 4):
            for value in set(range(256)) - {stored[position]}:
                spoiled = stored[:position] + bytes((value,)) + stored[position + 1 :]
                try:
                    assert Handshake.decode(spoiled).encode() == spoiled
                except StoreCorrupt:
                    continue


@settings(max_examples=200, derandomize=True)
@given(st.binary(max_size=400))
def test_any_stored_bytes_give_a_handshake_or_a_typed_error(raw: bytes) -> None:
    for form in (raw, b"\x01\x0c\x01\x00" + raw):
        try:
            assert Handshake.decode(form).encode() == form
        except (StoreCorrupt, StoreNewer):
            continue


@EVERY
def test_no_secret_shows_in_a_repr_or_a_pickle(pattern: Pattern) -> None:
    for place in places(pattern):
        known = keys(pattern, initiator=place.writer.initiator)
        shown = repr((place.writer, place.message, read(place.reader, place.message), known))
        for name in ("initiator", "responder", "initiator's ephemeral", "responder's ephemeral"):
            assert repr(secret(name)) not in shown
        assert repr(place.writer.ck) not in shown
        assert repr(known.psk) not in shown or known.psk is None
        for thing in (place.writer, place.message, known, known.static):
            with pytest.raises(TypeError):
                pickle.dumps(thing)
    split = finished(pattern)[0].split()
    assert repr(split.k1) not in repr(split)
    assert repr(split.k2) not in repr(split)


def test_the_errors_of_a_handshake_are_kexkits() -> None:
    place = places(Pattern.XX)[1]
    for fields, transport in (
        (b"", b""),
        (b"\0" * 82, b""),
        (place.message.fields, b""),
        (b"", place.message.transport),
    ):
        with pytest.raises(KexkitError) as caught:
            place.reader.read(fields, transport, tag(1))
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
