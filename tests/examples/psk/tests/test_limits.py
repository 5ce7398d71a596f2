"""Each bound of kexkit-psk, at one less, itself and one more."""

from __future__ import annotations

import tracemalloc

import pytest
from attrs import evolve
from kexkit.api import Device, Opening
from kexkit.errors import InvalidInput, Limit, Replayed
from kexkit.testing import Pair
from kexkit_psk import kexkit_key_exchanges
from kexkit_psk.exchange import Psk
from kexkit_psk.limits import (
    CLOCK_AHEAD,
    INSTALLATION_BYTES,
    OFFER_LIFE,
    OFFER_RENEWAL,
    OPENING_LIFE,
    SECRET_BYTES,
    SENT,
    WINDOW,
)


@pytest.fixture
def pair() -> Pair:
    pair = Pair(lambda: Psk(bytes(32)))
    pair.begin()
    return pair


@pytest.mark.parametrize(("overtaken_by", "opens"), [(WINDOW - 2, True), (WINDOW - 1, True), (WINDOW, False)])
def test_a_frame_opens_while_it_is_within_the_window(pair: Pair, overtaken_by: int, opens: bool) -> None:
    late = pair.alice.seal(b"late", pair.bob.me)
    for _ in range(overtaken_by):
        pair.say(pair.alice, b"sooner")
    if opens:
        assert pair.settle(late) == [b"late"]
    else:
        with pytest.raises(Replayed):
            pair.deliver(*late)


@pytest.mark.parametrize("gap", [1, WINDOW - 1, WINDOW, WINDOW + 1, 1000])
def test_a_gap_of_any_width_closes_the_window_behind_it_exactly(pair: Pair, gap: int) -> None:
    sealed = [pair.alice.seal(b"%d" % number, pair.bob.me) for number in range(gap + 1)]
    pair.settle(sealed[0], sealed[gap])
    for number in range(1, gap):
        if gap - number < WINDOW:
            assert pair.settle(sealed[number]) == [b"%d" % number]
        else:
            with pytest.raises(Replayed):
                pair.deliver(*sealed[number])


@pytest.mark.parametrize(("sent", "worn_out"), [(SENT - 1, False), (SENT, True), (SENT + 1, True)])
def test_a_session_is_worn_out_after_its_last_frame(pair: Pair, sent: int, worn_out: bool) -> None:
    session = evolve(pair.alice.session_with(pair.bob.me), sent=sent)  # type: ignore[misc]  # a PskSession
    assert (session.grade is None) is worn_out
    frame = session.seal(b"one more", ctx=pair.alice.context).frames[0]
    began = pair.alice.seal(b"first", pair.bob.me)
    pair.settle(began)
    received = pair.bob.session_with(pair.alice.me)
    if worn_out:
        with pytest.raises(Replayed):
            received.receive(frame, {}, ctx=pair.bob.context)
    else:
        received.receive(frame, {}, ctx=pair.bob.context)


@pytest.mark.parametrize(
    ("after", "opens"), [(OPENING_LIFE - 1, True), (OPENING_LIFE, False), (OPENING_LIFE + 1, False)]
)
def test_a_first_frame_opens_for_a_month(pair: Pair, after: int, opens: bool) -> None:
    first = pair.alice.seal(b"first", pair.bob.me)
    pair.clock.now += after
    if opens:
        assert pair.settle(first) == [b"first"]
    else:
        with pytest.raises(Replayed):
            pair.deliver(*first)


def test_a_first_frame_never_opens_twice_though_its_seen_row_has_an_end(pair: Pair) -> None:
    first = pair.alice.seal(b"first", pair.bob.me)
    pair.settle(first)
    pair.bob.sessions.clear()
    for passed in (0, OPENING_LIFE - 1, 1, 1, OPENING_LIFE):
        pair.clock.now += passed
        pair.bob.expire_rows()
        with pytest.raises(Replayed):
            pair.deliver(*first)
    assert not [row_id for row_id in pair.bob.drawer if row_id.startswith(b"seen")]


@pytest.mark.parametrize(("behind", "opens"), [(CLOCK_AHEAD - 1, True), (CLOCK_AHEAD, True), (CLOCK_AHEAD + 1, False)])
def test_a_clock_may_lead_by_a_day(pair: Pair, behind: int, opens: bool) -> None:
    first = pair.alice.seal(b"first", pair.bob.me)
    pair.clock.now -= behind
    if opens:
        assert pair.settle(first) == [b"first"]
    else:
        with pytest.raises(Replayed):
            pair.deliver(*first)


@pytest.mark.parametrize(
    ("length", "fits"), [(INSTALLATION_BYTES - 1, True), (INSTALLATION_BYTES, True), (INSTALLATION_BYTES + 1, False)]
)
def test_an_installation_has_a_name_of_bounded_length(pair: Pair, length: int, fits: bool) -> None:
    opening = Opening(Device(pair.bob.me.identity, "i" * length), pair.alice.adverts[pair.bob.me])
    exchange = Psk(bytes(32))
    if not fits:
        with pytest.raises(Limit):
            exchange.initiate(opening, {}, ctx=pair.alice.context)
        return
    session = exchange.initiate(opening, {}, ctx=pair.alice.context).session
    assert session is not None
    assert exchange.restore(session.snapshot()) == session


@pytest.mark.parametrize(
    ("after", "renewed"), [(OFFER_RENEWAL - 1, False), (OFFER_RENEWAL, True), (OFFER_RENEWAL + 1, True)]
)
def test_an_offer_is_renewed_after_a_week_and_lives_for_a_month(pair: Pair, after: int, renewed: bool) -> None:
    first = pair.alice.adverts[pair.bob.me]
    assert first.expires == first.issued + OFFER_LIFE
    pair.clock.now += after
    offer = pair.bob.make_offer()
    assert (offer.public != first.public) is renewed
    assert offer.renew > pair.clock.now


@pytest.mark.parametrize(("size", "fits"), [(SECRET_BYTES - 1, False), (SECRET_BYTES, True), (SECRET_BYTES + 1, False)])
def test_the_secret_has_exactly_its_length(size: int, fits: bool) -> None:
    config = {"secret": "5e" * size}
    if fits:
        assert [exchange.name for exchange in kexkit_key_exchanges(config)] == ["psk@example.org/1"]
    else:
        with pytest.raises(InvalidInput, match="64 hex digits"):
            kexkit_key_exchanges(config)


def test_the_widest_gap_costs_no_memory(pair: Pair) -> None:
    pair.settle(pair.alice.seal(b"first", pair.bob.me))
    far = evolve(pair.alice.session_with(pair.bob.me), sent=SENT - 1)  # type: ignore[misc]  # a PskSession
    frame = far.seal(b"last", ctx=pair.alice.context).frames[0]
    session = pair.bob.session_with(pair.alice.me)
    tracemalloc.start()
    try:
        session.receive(frame, {}, ctx=pair.bob.context)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
