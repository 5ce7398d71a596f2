"""What an offer says of a static, and how long statics live."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Device
from kexkit.errors import InvalidInput, OfferExpired, OfferMalformed, OfferSignature, Refusal, StoreCorrupt, Unknown
from kexkit.testing.key_exchange_party import Party, SeededRng
from kexkit.testing.key_exchange_rules import ask
from kexkit_noise import limits, offers, statement
from kexkit_noise.keys import key_pair

from tests.noise.meeting import Meeting, mechanism, pair_of, static_of

NAME = "healing-noise-xk1/1"


def offer_of(party: Party, now: int) -> tuple[bytes, dict[bytes, int | None], int]:
    """Public bytes, rows with their ends, and how many bytes were drawn."""
    rng = SeededRng("an offer")
    ctx = evolve(party.context, now=now, rng=rng)
    made = ask(lambda have: offers.offer(have, ctx=ctx), party.look_up, lambda: len(rng.drawn))
    party.drawer |= made.keep
    assert made.renew > now
    return made.public, {row: kept.until for row, kept in made.keep.items()}, len(b"".join(rng.drawn))


def test_an_offer_is_a_static_its_window_and_a_signature() -> None:
    pair = pair_of(NAME)
    public, own = pair.bob.issued[0].offer.public, static_of(pair.bob)
    assert len(public) == offers.PUBLIC_BYTES == 112
    assert public[:32] == own.pair.public
    assert public[48:] == own.stated.signature
    (advert,) = pair.alice.read_offer(public, pair.bob.me)
    assert advert.device == pair.bob.me
    assert advert.expires == own.stated.not_after * 1000


def test_an_offer_made_again_is_the_same_and_draws_nothing() -> None:
    pair = pair_of(NAME)
    before = pair.bob.issued[0].offer.public
    assert offer_of(pair.bob, pair.clock.now + 1) == (before, {}, 0)


@pytest.mark.parametrize("early", [1, 0])
def test_a_static_is_replaced_after_half_a_year_and_answers_for_33_days_more(early: int) -> None:
    pair = pair_of(NAME)
    made, old = static_of(pair.bob).stated.not_before * 1000, static_of(pair.bob).pair.public
    now = made + limits.STATIC_MS - early
    public, rows, drawn = offer_of(pair.bob, now)
    if early:
        assert public[:32] == old
        return
    assert public[:32] != old
    assert drawn == 32
    assert rows[offers.static_row(old)] == now + limits.STATIC_GRACE_MS
    assert rows[offers.static_row(public[:32])] == now + limits.STATIC_MS + limits.STATIC_GRACE_MS
    assert rows[offers.PRESENT_ROW] is None


@pytest.mark.parametrize("late", [0, 1])
def test_a_replaced_static_answers_until_no_offer_can_name_it(late: int) -> None:
    pair = pair_of(NAME)
    first = Meeting(pair).first()
    bob = pair.bob
    pair.clock.now = static_of(bob).stated.not_before * 1000 + limits.STATIC_MS
    bob.make_offer()
    pair.clock.now += (
        limits.STATIC_GRACE_MS - 1 + late
    )  # its row may outlast its time: nobody promises when core cleans
    if late:
        with pytest.raises(Unknown):
            pair.deliver(first)
    else:
        assert pair.deliver(first).sent


def test_a_newer_static_outdates_sessions_with_the_older() -> None:
    pair = pair_of(NAME)
    before = pair.alice.adverts[pair.bob.me]
    pair.clock.now = static_of(pair.bob).stated.not_before * 1000 + limits.STATIC_MS
    pair.publish(pair.bob)
    assert pair.alice.adverts[pair.bob.me].epoch > before.epoch


def test_a_static_made_under_a_clock_that_ran_ahead_is_replaced() -> None:
    pair = pair_of(NAME)
    before = pair.bob.issued[0].offer.public
    made = static_of(pair.bob).stated.not_before * 1000
    assert offer_of(pair.bob.copy(), made - limits.STATEMENT_AHEAD_S * 1000)[0] == before
    assert offer_of(pair.bob.copy(), made - limits.STATEMENT_AHEAD_S * 1000 - 1)[0] != before


@pytest.mark.parametrize("early", [0, 1])
def test_a_static_made_under_a_clock_that_was_behind_is_replaced_once_time_has_caught_up(early: int) -> None:
    """Whoever saw the one before takes none that began earlier."""
    pair = pair_of(NAME)
    first = static_of(pair.bob).stated
    pair.clock.now = first.not_before * 1000 - limits.STATIC_MS // 2
    for _ in range(2):  # a second one, of a time between, changes nothing about that
        pair.clock.now -= 10 * limits.STATEMENT_AHEAD_S * 1000
        pair.bob.make_offer()
    behind = static_of(pair.bob)
    assert behind.stated.not_before < first.not_before
    pair.clock.now = (first.not_before + 1) * 1000
    assert pair.bob.issued[0].offer.renew == pair.clock.now
    pair.clock.now -= early
    pair.bob.make_offer()
    now = static_of(pair.bob).stated
    assert (now == behind.stated) == bool(early)
    assert (now.not_before > first.not_before) == (not early)
    if not early:
        assert pair.bob.issued[0].offer.renew == now.not_before * 1000 + limits.STATIC_MS


def test_an_offer_speaks_for_its_maker_alone() -> None:
    pair = pair_of(NAME)
    public = pair.bob.issued[0].offer.public
    laptop = Device(pair.bob.me.identity, pair.alice.me.installation)
    for maker in (pair.carol.me, laptop):
        with pytest.raises(OfferSignature):
            pair.alice.read_offer(public, maker)
    with pytest.raises(OfferMalformed):
        pair.alice.read_offer(public, Device(pair.bob.me.identity, ""))


@given(st.integers(0, 111), st.integers(1, 255))
@settings(derandomize=True, max_examples=200)
def test_an_altered_offer_is_refused(place: int, change: int) -> None:
    pair = PAIR
    public = bytearray(pair.bob.issued[0].offer.public)
    public[place] ^= change
    with pytest.raises(Refusal):
        pair.alice.read_offer(bytes(public), pair.bob.me)


PAIR = pair_of(NAME)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"])
def test_an_offer_of_a_point_of_low_order_is_refused_though_its_owner_signed_it(point: bytes) -> None:
    pair = pair_of(NAME)
    since = pair.clock.now // 1000
    stated = statement.make(point, not_before=since, not_after=since + 9, ctx=pair.bob.context)
    own = evolve(static_of(pair.bob), stated=stated, pair=evolve(key_pair(b"k" * 32), public=point))
    with pytest.raises(OfferMalformed):
        pair.alice.read_offer(own.public, pair.bob.me)


def test_an_offer_that_has_expired_is_no_advert() -> None:
    pair = pair_of(NAME)
    public = pair.bob.issued[0].offer.public
    pair.clock.now = static_of(pair.bob).stated.not_after * 1000
    with pytest.raises(OfferExpired):
        pair.alice.read_offer(public, pair.bob.me)


def test_a_device_without_a_uuid_makes_no_offer() -> None:
    pair = pair_of(NAME)
    ctx = evolve(pair.bob.context, me=Device(pair.bob.me.identity, "phone"))
    with pytest.raises(InvalidInput):
        mechanism(NAME).offer({}, siblings=(), ctx=ctx)


@pytest.mark.parametrize("row", ["present", "static"])
def test_a_damaged_row_is_a_damaged_store(row: str) -> None:
    pair = pair_of(NAME)
    row_id = offers.PRESENT_ROW if row == "present" else offers.static_row(static_of(pair.bob).pair.public)
    for damaged in (b"", pair.bob.drawer[row_id].value[:-1], b"\xff" + pair.bob.drawer[row_id].value[1:]):
        pair.bob.drawer[row_id] = evolve(pair.bob.drawer[row_id], value=damaged)
        with pytest.raises(StoreCorrupt):
            offer_of(pair.bob, pair.clock.now)


def test_neither_repr_nor_traceback_of_a_static_shows_it() -> None:
    own = static_of(pair_of(NAME).bob)
    assert own.pair.private.hex() not in repr(own)
    assert repr(own.pair.private) not in repr(own)
