"""Our own bundle: daily, unambiguous, the same bytes as long as nothing changes; and its private parts go in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import evolve
from kexkit import secp256k1
from kexkit.api import Advert, Context, Device, Offer, Row, Wants
from kexkit.errors import InvalidInput, StoreCorrupt
from kexkit.identity import SoftwareIdentity
from kexkit.testing.key_exchange_party import SeededRng
from kexkit_x3dh import bundle, limits, prekeys
from kexkit_x3dh.exchange import X3DH

NOW = 1_760_000_000_000
IDENTITY = SoftwareIdentity.generate(SeededRng("us"))
ME = Device(IDENTITY.public, "11111111-0000-4000-8000-000000000001")
RNG = SeededRng("prekeys")
CONTEXT = Context(me=ME, now=NOW, rng=RNG, identity=IDENTITY)
Drawer = dict[bytes, Row]


def at(now: int) -> Context:
    return evolve(CONTEXT, now=now)


def offer(drawer: Drawer, ctx: Context = CONTEXT, siblings: tuple[Advert, ...] = ()) -> Offer:
    """As core does it: asked until it wants no more, and what it keeps is kept."""
    have: dict[bytes, bytes | None] = {}
    for _ in range(4):
        answer = X3DH().offer(have, siblings=siblings, ctx=ctx)
        if isinstance(answer, Offer):
            drawer |= answer.keep
            return answer
        have |= {row: drawer[row].value if row in drawer else None for row in answer.rows}
    raise AssertionError("it wants rows for ever")


def published(made: Offer, now: int = NOW) -> bundle.Bundle:
    return bundle.read(made.public, maker=ME.identity, now=now)


def ends(drawer: Mapping[bytes, Row]) -> list[int]:
    return sorted((row.until or 0) for key, row in drawer.items() if key.startswith(b"prekey"))


def sibling(number: int, *, issued: int = 0, **changed: Any) -> Advert:
    device = Device(IDENTITY.public, f"5151515{number}-0000-4000-8000-000000000000")
    public = secp256k1.public_of(SeededRng(f"sibling {number}")(32))
    traits = frozenset({"negotiated-topic"})
    return evolve(Advert(device, public, 3, NOW * 10**6 + issued, NOW + 10**9, traits), **changed)


def test_the_first_bundle_has_version_one_and_the_prekey_is_in_the_drawer() -> None:
    drawer: Drawer = {}
    made = offer(drawer)
    found = published(made)
    assert list(found.prekeys) == [ME.installation]
    mine = found.prekeys[ME.installation]
    assert (mine.version, mine.protocol_version, found.timestamp) == (1, 1, NOW * 10**6)
    secret = prekeys.read_prekey(drawer[b"prekey" + mine.public].value).secret
    assert secp256k1.public_of(secret) == mine.public
    assert made.renew == NOW + limits.PREKEY_MS


def test_a_fresh_bundle_is_made_again_as_the_same_bytes_without_randomness() -> None:
    drawer: Drawer = {}
    first = offer(drawer)
    drawn = len(RNG.drawn)
    before = dict(drawer)
    again = offer(drawer, at(NOW + limits.PREKEY_MS - 1))
    assert (again.public, again.renew) == (first.public, first.renew)
    assert drawer == before
    assert len(RNG.drawn) == drawn


@pytest.mark.parametrize(("after", "version"), [(limits.PREKEY_MS - 1, 1), (limits.PREKEY_MS, 2), (10**11, 2)])
def test_a_day_later_comes_the_next_prekey(after: int, version: int) -> None:
    drawer: Drawer = {}
    offer(drawer)
    made = offer(drawer, at(NOW + after))
    assert published(made, NOW + after).prekeys[ME.installation].version == version


def test_the_replaced_prekey_stays_a_week_and_no_longer_than_its_own_end() -> None:
    drawer: Drawer = {}
    offer(drawer)
    assert ends(drawer) == [NOW + limits.PREKEY_END_MS]
    later = NOW + limits.PREKEY_MS
    offer(drawer, at(later))
    assert ends(drawer) == [later + limits.PREKEY_GRACE_MS, later + limits.PREKEY_END_MS]
    much_later = NOW + limits.PREKEY_END_MS + limits.PREKEY_MS - 10
    offer(drawer, at(much_later))
    assert ends(drawer)[-2:] == [later + limits.PREKEY_END_MS, much_later + limits.PREKEY_END_MS]


def test_a_prekey_whose_end_has_come_is_not_kept_again() -> None:
    """Its row may still be there: timers come late."""
    drawer: Drawer = {}
    offer(drawer)
    made = offer(drawer, at(NOW + limits.PREKEY_END_MS))
    assert all(row.until is None or row.until > NOW + limits.PREKEY_END_MS for row in made.keep.values())


def test_a_prekey_that_ended_while_we_were_away_is_replaced_and_its_version_not_used_again() -> None:
    drawer: Drawer = {}
    offer(drawer)
    drawer = {row: kept for row, kept in drawer.items() if kept.until is None}
    made = offer(drawer, at(NOW + limits.PREKEY_END_MS))
    found = published(made, NOW + limits.PREKEY_END_MS)
    assert found.prekeys[ME.installation].version == 2


def test_the_bundle_is_signed_anew_when_siblings_change_and_its_timestamp_grows() -> None:
    drawer: Drawer = {}
    first = published(offer(drawer))
    one = offer(drawer, siblings=(sibling(1),))
    two = offer(drawer, siblings=(sibling(1),))
    gone = offer(drawer)
    assert one.public == two.public
    stamps = [first.timestamp, published(one).timestamp, published(gone).timestamp]
    assert stamps == [NOW * 10**6, NOW * 10**6 + 1, NOW * 10**6 + 2]
    assert set(published(one).prekeys) == {ME.installation, sibling(1).device.installation}
    assert published(one).prekeys[ME.installation] == first.prekeys[ME.installation]


def test_the_two_siblings_that_published_last_are_listed() -> None:
    ourselves = sibling(5, issued=10, device=ME)
    assert limits.SIBLINGS == 2
    siblings = (sibling(1, issued=5), sibling(2, issued=9), sibling(3, issued=7), sibling(4, issued=1), ourselves)
    listed = published(offer({}, siblings=siblings)).prekeys
    assert set(listed) == {ME.installation, siblings[1].device.installation, siblings[2].device.installation}
    copied = listed[siblings[1].device.installation]
    assert (copied.public, copied.version, copied.protocol_version) == (siblings[1].public, 3, 1)


def test_a_sibling_that_no_reader_would_take_is_left_out() -> None:
    unusable = (
        sibling(1, expires=NOW),
        sibling(2, device=Device(IDENTITY.public, "phone")),
        sibling(3, device=ME),
        sibling(4, public=b"short"),
        sibling(5, epoch=10**6),
    )
    made = published(offer({}, siblings=unusable))
    assert list(made.prekeys) == [ME.installation]
    assert (
        published(offer({}, siblings=(sibling(1, traits=frozenset()),)))
        .prekeys[sibling(1).device.installation]
        .protocol_version
        == 0
    )


def test_a_clock_that_was_wrong_costs_a_prekey_and_nothing_else() -> None:
    drawer: Drawer = {}
    offer(drawer, at(NOW + 10**9))
    made = offer(drawer, at(NOW))
    found = published(made)
    assert found.prekeys[ME.installation].version == 2
    assert found.timestamp == NOW * 10**6


def test_a_device_that_no_bundle_can_list_makes_none() -> None:
    with pytest.raises(InvalidInput):
        offer({}, evolve(CONTEXT, me=Device(IDENTITY.public, "phone")))


def test_a_clock_in_the_last_century_makes_no_bundle() -> None:
    with pytest.raises(InvalidInput):
        offer({}, at(10**12 - 1))
    offer({}, at(10**12))


def test_a_restored_device_with_a_new_name_begins_at_version_one() -> None:
    drawer: Drawer = {}
    offer(drawer)
    ctx = evolve(
        CONTEXT, me=Device(IDENTITY.public, "22222222-0000-4000-8000-000000000002"), now=NOW + limits.PREKEY_MS
    )
    made = bundle.read(offer(drawer, ctx).public, maker=ME.identity, now=ctx.now)
    assert made.prekeys[ctx.me.installation].version == 1


@pytest.mark.parametrize("damage", [b"", b"\x01", b"\x07" + bytes(60), b"\x01" + bytes(41) + b"no bundle"])
def test_a_damaged_row_is_the_stores_fault(damage: bytes) -> None:
    drawer: Drawer = {}
    offer(drawer)
    with pytest.raises(StoreCorrupt):
        offer({**drawer, prekeys.PUBLISHED_ROW: Row(damage)}, at(NOW + limits.PREKEY_MS))
    with pytest.raises(StoreCorrupt):
        prekeys.read_prekey(damage)


def test_a_prekeys_repr_shows_no_secret() -> None:
    prekey = prekeys.Prekey(1, 2, b"secret bytes " * 3)
    assert "secret" not in repr(prekey)


def test_it_asks_for_its_state_and_then_for_the_prekey_it_names() -> None:
    drawer: Drawer = {}
    offer(drawer)
    first = X3DH().offer({}, siblings=(), ctx=CONTEXT)
    assert first == Wants(frozenset((prekeys.PUBLISHED_ROW,)))
    second = X3DH().offer({prekeys.PUBLISHED_ROW: drawer[prekeys.PUBLISHED_ROW].value}, siblings=(), ctx=CONTEXT)
    assert isinstance(second, Wants)
    assert second.rows < set(drawer)
