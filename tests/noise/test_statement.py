"""A statement ties a static to one device of one person, for a while; nothing else about it can be believed."""

from __future__ import annotations

from itertools import product
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit import secp256k1
from kexkit.api import Context, Device
from kexkit.errors import (
    Forged,
    InvalidInput,
    Malformed,
    OfferExpired,
    OfferForeign,
    OfferNotYetValid,
    Refusal,
    Replayed,
)
from kexkit.identity import SoftwareIdentity, tagged_digest
from kexkit.testing.key_exchange_party import SeededRng
from kexkit_noise import limits, statement
from kexkit_noise.keys import key_pair
from kexkit_noise.statement import Statement

NOW = 1_760_000_000_000
INSTALLATIONS = ("a11ce000-0000-4000-8000-000000000001", "b0b00000-0000-4000-8000-000000000002")


def someone(name: str, installation: str = INSTALLATIONS[0], now: int = NOW) -> Context:
    identity = SoftwareIdentity.generate(SeededRng(name))
    return Context(me=Device(identity.public, installation), now=now, rng=SeededRng(name), identity=identity)


ALICE, BOB = someone("alice"), someone("bob", INSTALLATIONS[1])
ALICES, BOBS = key_pair(b"a" * 32).public, key_pair(b"b" * 32).public


def stated(by: Context = BOB, static: bytes = BOBS, *, since: int = NOW // 1000, life: int = 1000) -> Statement:
    return statement.make(static, not_before=since, not_after=since + life, ctx=by)


def check(
    raw: bytes, *, ctx: Context = ALICE, static: bytes = BOBS, own: bytes = ALICES, meant: Device | None = BOB.me
) -> Statement:
    return statement.check(raw, static=static, own_static=own, meant=meant, ctx=ctx)


def test_a_statement_is_98_bytes_and_a_signature_over_their_tagged_digest() -> None:
    raw = stated().encoded
    since, until = (NOW // 1000).to_bytes(8, "big"), (NOW // 1000 + 1000).to_bytes(8, "big")
    body = b"\x01" + BOB.me.identity + UUID(INSTALLATIONS[1]).bytes + BOBS + since + until
    assert raw[:98] == body
    assert len(raw) == statement.STATEMENT_BYTES == 162
    secp256k1.verify(raw[98:], tagged_digest(b"kexkit/noise-static/1", body), BOB.me.identity)


def test_what_is_made_is_read_and_checked() -> None:
    made = stated()
    assert statement.parse(made.encoded) == made == check(made.encoded) == check(made.encoded, meant=None)


@given(st.binary(max_size=400))
@settings(derandomize=True)
def test_any_bytes_are_malformed_or_a_statement_with_one_encoding(raw: bytes) -> None:
    try:
        assert statement.parse(raw).encoded == raw
    except Malformed:
        return


@given(st.integers(0, 161), st.integers(1, 255))
@settings(derandomize=True, max_examples=300)
def test_every_byte_counts(place: int, change: int) -> None:
    raw = bytearray(stated().encoded)
    raw[place] ^= change
    with pytest.raises(Refusal):
        check(bytes(raw), static=bytes(raw[50:82]), meant=None)


def test_a_statement_cut_or_lengthened_is_malformed() -> None:
    raw = stated().encoded
    for wrong in (raw[:-1], raw + b"\0", b""):
        with pytest.raises(Malformed):
            check(wrong)


def test_no_part_of_one_statement_serves_in_another() -> None:
    """All re-labellings: identity, installation, static and window of three people's under each signature."""
    carol = someone("carol", INSTALLATIONS[1])
    made = [
        stated(ALICE, ALICES, since=NOW // 1000 - 1),
        stated(BOB, BOBS, since=NOW // 1000 - 2),
        stated(carol, key_pair(b"c" * 32).public, since=NOW // 1000 - 3),
    ]
    reader = someone("dave", "da7e0000-0000-4000-8000-000000000004")
    for who, where, what, when, signed in product(range(3), repeat=5):
        mixed = Statement(
            Device(made[who].device.identity, made[where].device.installation),
            made[what].static,
            made[when].not_before,
            made[when].not_after,
            made[signed].signature,
        )
        genuine = mixed in made
        try:
            check(mixed.encoded, ctx=reader, static=mixed.static, own=bytes(32), meant=mixed.device)
        except Forged:
            assert not genuine
        else:
            assert genuine


def test_a_statement_is_about_the_key_that_the_handshake_used() -> None:
    with pytest.raises(Forged, match="another static"):
        check(stated().encoded, static=ALICES, own=bytes(32))


def test_what_is_about_ourselves_was_sent_back_to_us() -> None:
    with pytest.raises(Forged, match="ourselves"):
        check(stated(BOB, ALICES).encoded, static=ALICES, own=ALICES)
    with pytest.raises(Forged, match="ourselves"):
        check(stated(ALICE, BOBS).encoded, meant=None)


def test_an_initiator_takes_the_device_that_it_meant_and_no_other() -> None:
    other_device = evolve(BOB, me=Device(BOB.me.identity, INSTALLATIONS[0]))
    for made in (stated(someone("carol", INSTALLATIONS[1])), stated(other_device)):
        with pytest.raises(OfferForeign):
            check(made.encoded)


def test_the_cheap_checks_come_before_the_signature() -> None:
    unsigned = evolve(stated(), signature=bytes(64))
    with pytest.raises(OfferForeign):
        check(unsigned.encoded, meant=ALICE.me)
    with pytest.raises(OfferExpired):
        check(unsigned.encoded, ctx=evolve(ALICE, now=NOW + 1_000_000))
    with pytest.raises(Forged, match="signature"):
        check(unsigned.encoded)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_statement_lives_400_days_at_most(beyond: int) -> None:
    made = stated(life=limits.STATEMENT_LIFETIME_S + beyond)
    if beyond > 0:
        with pytest.raises(Malformed):
            check(made.encoded)
    else:
        assert check(made.encoded) == made


@pytest.mark.parametrize("life", [0, 1])
def test_a_statement_lives_at_least_a_second(life: int) -> None:
    if life:
        check(stated(life=life).encoded)
    else:
        with pytest.raises(Malformed):
            check(stated(life=life).encoded)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_statement_begins_two_minutes_from_now_at_most(beyond: int) -> None:
    made = stated(since=NOW // 1000 + limits.STATEMENT_AHEAD_S + beyond)
    if beyond > 0:
        with pytest.raises(OfferNotYetValid):
            check(made.encoded)
    else:
        assert check(made.encoded) == made


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_statement_ends_when_it_says(beyond: int) -> None:
    made, now = stated(), evolve(ALICE, now=NOW + 1_000_000 + beyond)
    if beyond >= 0:
        with pytest.raises(OfferExpired):
            check(made.encoded, ctx=now)
    else:
        assert check(made.encoded, ctx=now) == made


@pytest.mark.parametrize("wrong", ["", "phone", INSTALLATIONS[0].upper(), "a11ce000-0000-1000-8000-000000000001"])
def test_only_an_installation_with_one_spelling_makes_statements(wrong: str) -> None:
    with pytest.raises(InvalidInput):
        statement.make(BOBS, not_before=1, not_after=2, ctx=evolve(BOB, me=Device(BOB.me.identity, wrong)))


def test_another_static_needs_a_statement_that_is_not_older_than_the_last() -> None:
    before, after = stated(since=NOW // 1000 - 10), stated(BOB, ALICES, since=NOW // 1000)
    statement.check_pin(after, statement.pin_value(before))
    statement.check_pin(evolve(after, not_before=before.not_before), statement.pin_value(before))
    statement.check_pin(before, statement.pin_value(before))
    statement.check_pin(before, None)
    statement.check_pin(evolve(before, not_before=before.not_before - 1), statement.pin_value(before))
    with pytest.raises(Replayed):
        statement.check_pin(before, statement.pin_value(after))


def test_each_device_has_its_own_pin() -> None:
    devices = [Device(by.me.identity, where) for by in (ALICE, BOB) for where in INSTALLATIONS]
    assert len({statement.pin_row(device) for device in devices}) == 4
