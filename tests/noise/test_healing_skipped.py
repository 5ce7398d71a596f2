"""Keys kept for messages that have not arrived: how many, how long, and that the oldest go first without a search."""

from __future__ import annotations

import random

import pytest
from kexkit.api import Row, Wants
from kexkit.errors import NotMine, Replayed, StoreCorrupt
from kexkit_noise import healing_skipped as skipped
from kexkit_noise import limits
from kexkit_noise.healing_skipped import NONE_KEPT, Filed, Kept

from tests.noise.healing_support import NOW, SESSION, Couple, met, stream

SKIPPED_MS = 14 * 24 * 3600 * 1000


class Drawer:
    """Keys filed, used and pushed out, beside a list that is what they should be: unused, and of the newest 2000."""

    def __init__(self) -> None:
        self.rows: dict[bytes, Row] = {}
        self.kept = NONE_KEPT
        self.model: list[bytes] = []
        self.made: list[bytes] = []
        self.draw = stream("drawer")

    def file(self, count: int) -> None:
        missed = [(self.draw(16), self.draw(32)) for _ in range(count)]
        have: dict[bytes, bytes | None] = {}
        filed = skipped.file(SESSION, self.kept, missed, have=have, until=NOW)
        while isinstance(filed, Wants):
            assert filed.rows
            assert filed.rows.isdisjoint(have)
            have |= {row: self.rows[row].value if row in self.rows else None for row in filed.rows}
            filed = skipped.file(SESSION, self.kept, missed, have=have, until=NOW)
        assert isinstance(filed, Filed)
        assert set(filed.drop) <= have.keys(), "a row goes that was not shown, and leaves its timer"
        self._take(filed)
        self.model += [tag for tag, _ in missed]
        self.made += [tag for tag, _ in missed]
        gone = set(self.made[: -limits.SKIPPED_KEYS])
        self.model = [tag for tag in self.model if tag not in gone]

    def use(self, tag: bytes) -> None:
        self._take(skipped.use(SESSION, self.kept, tag))
        self.model.remove(tag)

    def _take(self, filed: Filed) -> None:
        assert not set(filed.keep) & set(filed.drop)
        for row in filed.drop:
            self.rows.pop(row, None)
        self.rows |= filed.keep
        self.kept = filed.kept

    def tags(self) -> list[bytes]:
        return [row[len(SESSION) + 1 :] for row in self.rows if row[len(SESSION) :].startswith(b"k")]

    def lists(self) -> int:
        return sum(row[len(SESSION) :].startswith(b"g") for row in self.rows)


@pytest.mark.parametrize("filed", [1999, 2000, 2001, 2033, 3500])
@pytest.mark.parametrize("at_once", [1, 7, 32, 999])
def test_the_newest_two_thousand_keys_are_kept_and_no_row_of_another(filed: int, at_once: int) -> None:
    assert limits.SKIPPED_KEYS == 2000
    drawer = Drawer()
    while len(drawer.made) < filed:
        drawer.file(min(at_once, filed - len(drawer.made)))
    assert drawer.tags() == drawer.made[-2000:]
    assert drawer.lists() <= 2000 // limits.SKIPPED_GROUP + 2


def test_more_keys_at_once_than_are_kept_leave_the_newest() -> None:
    drawer = Drawer()
    drawer.file(37)
    drawer.file(5000)
    assert drawer.tags() == drawer.made[-2000:]
    drawer.file(3)
    assert drawer.tags() == drawer.made[-2000:]


@pytest.mark.parametrize("seed", range(8))
def test_keys_filed_and_used_in_any_order_leave_what_they_should(seed: int) -> None:
    chance, drawer = random.Random(seed), Drawer()
    for _ in range(300):
        if drawer.model and chance.random() < 0.5:
            drawer.use(chance.choice(drawer.model))
        else:
            drawer.file(chance.choice((1, 1, 2, 5, 31, 64)))
        assert drawer.tags() == drawer.model
        assert len(drawer.model) <= drawer.kept.unused <= limits.SKIPPED_KEYS
    for tag in list(drawer.model):
        drawer.use(tag)
    assert drawer.tags() == []
    assert drawer.lists() <= limits.SKIPPED_KEYS // limits.SKIPPED_GROUP + 2


def test_with_the_last_key_the_last_row_goes() -> None:
    chance, drawer = random.Random(0), Drawer()
    for count in (1, 31, 32, 33, 700):
        drawer.file(count)
        drawer.file(2)
        chance.shuffle(drawer.model)
        for tag in list(drawer.model):
            drawer.use(tag)
        assert drawer.rows == {}
        assert drawer.kept == Kept(drawer.kept.made, drawer.kept.made, 0)


def test_lists_that_the_store_let_go_are_begun_anew() -> None:
    drawer = Drawer()
    drawer.file(40)
    drawer.rows.clear()  # all have expired
    drawer.file(40)
    assert drawer.tags() == drawer.made[40:]
    drawer.file(1999)
    assert drawer.tags() == drawer.made[-2000:]


@pytest.mark.parametrize("raw", [b"", b"\1", bytes(33), b"\1" + bytes(31), b"\1" + bytes(33), b"\2" + bytes(32)])
def test_a_damaged_key_is_told_from_a_forgery(raw: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        skipped.read_key(raw)


@pytest.mark.parametrize("raw", [b"", b"\1", b"\2\0", b"\1\0" + bytes(15), b"\1\x20" + bytes(16), b"\1\0" + bytes(528)])
def test_a_damaged_list_is_told_from_a_forgery(raw: bytes) -> None:
    kept = Kept(made=40, low=0, unused=40)
    with pytest.raises(StoreCorrupt):
        skipped.file(SESSION, kept, [(bytes(16), bytes(32))], have={skipped.group_row(SESSION, 1): raw}, until=0)


# --- in a session ----------------------------------------------------------------------------------------------------


def lost(pair: Couple, count: int) -> list[bytes]:
    """Frames of the initiator's, all but the last not delivered."""
    frames = [pair.initiator.seal(b"%d" % n) for n in range(count)]
    pair.responder.open(pair.initiator.seal(b"overtakes"))
    return frames


def turn(pair: Couple) -> None:
    pair.initiator.open(pair.responder.seal(b"a turn"))


@pytest.mark.parametrize(("more", "opens"), [(0, True), (1, True), (2, False)])
def test_the_two_thousand_and_first_skipped_message_pushes_out_the_first(more: int, opens: bool) -> None:
    pair = met()
    first = lost(pair, 1)[0]
    for count in (900, 900, 198 + more):
        turn(pair)
        lost(pair, count)
    assert pair.responder.kept_keys() == min(1999 + more, 2000)
    if opens:
        assert pair.responder.open(first) == b"0"
    else:
        assert pair.responder.refuses(first) is NotMine


def test_kept_keys_go_after_fourteen_days() -> None:
    pair = met()
    assert limits.SKIPPED_MS == SKIPPED_MS
    lost(pair, 100)
    assert {row.until for row in pair.responder.drawer.values()} == {NOW + SKIPPED_MS}
    pair.initiator.seal(b"lost as well")
    pair.responder.open(pair.initiator.seal(b"a second later"), now=NOW + 1000)
    for row, kept in pair.responder.drawer.items():
        listed_later = row == skipped.group_row(SESSION, 100 // limits.SKIPPED_GROUP)
        expected = {NOW + SKIPPED_MS + 1000} if listed_later else {NOW + SKIPPED_MS, NOW + SKIPPED_MS + 1000}
        assert kept.until in expected


def test_a_key_that_the_store_let_go_opens_nothing_and_hinders_nothing() -> None:
    pair = met()
    frames = lost(pair, 3)
    pair.responder.drawer.clear()
    assert pair.responder.refuses(frames[0]) is Replayed
    turn(pair)
    assert pair.responder.refuses(frames[0]) is Replayed
    assert pair.responder.open(pair.initiator.seal(b"on")) == b"on"


def test_a_row_is_asked_for_only_while_keys_are_kept_and_only_out_of_order() -> None:
    pair = met()
    frames = lost(pair, 2)
    in_order = pair.initiator.seal(b"in order")
    assert not isinstance(pair.responder.value.open(in_order, {}, now=NOW), Wants)
    assert isinstance(pair.responder.value.open(frames[0], {}, now=NOW), Wants)
    for frame in frames:
        pair.responder.open(frame)
    assert pair.responder.drawer == {}
    with pytest.raises(Replayed):
        pair.responder.value.open(frames[0], {}, now=NOW)


def test_a_session_with_thousands_of_kept_keys_is_no_larger() -> None:
    pair = met()
    before = len(pair.responder.value.snapshot())
    for _ in range(3):
        lost(pair, 950)
        turn(pair)
    assert len(pair.responder.value.snapshot()) == before
    assert pair.responder.kept_keys() == 2000
