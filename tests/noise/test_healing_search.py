"""How a frame's place is found: quickly where it should be, and never at great cost twice."""

from __future__ import annotations

import pytest
from kexkit.errors import NotMine, Replayed
from kexkit_noise import limits
from kexkit_noise.healing_keys import HeaderKey

from tests.noise.healing_support import Couple, met, stream


class Counted:
    """How many nametags are derived."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        derive = HeaderKey.tag

        def counting(header: HeaderKey, n: int) -> bytes:
            self.count += 1
            return derive(header, n)

        monkeypatch.setattr(HeaderKey, "tag", counting)

    def since(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def tags(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def junk(pair: Couple, seed: int) -> bytes:
    return stream(f"junk {seed}")(16) + pair.initiator.seal(b"text")[16:]


@pytest.mark.parametrize("turns", [False, True])
@pytest.mark.parametrize("missing", [0, 1, 7, 8, 9, 10, 500, 990])
def test_a_message_is_found_however_many_are_missing_before_it(missing: int, turns: bool) -> None:
    assert limits.NEAR_TAGS == 8
    pair = met(stores=False)
    if turns:
        pair.initiator.open(pair.responder.seal(b"a turn"))
    for _ in range(missing):
        pair.initiator.seal(b"lost")
    frame = pair.initiator.seal(b"text")
    assert pair.responder.open(frame) == b"text"
    assert pair.responder.refuses(frame) is Replayed
    assert pair.responder.open(pair.initiator.seal(b"next")) == b"next"


def test_a_message_in_its_turn_costs_one_nametag_and_a_turn_three(tags: Counted) -> None:
    pair = met(stores=False)
    frame = pair.initiator.seal(b"in order")
    tags.since()
    pair.responder.open(frame)
    assert tags.since() == 1
    frame = pair.responder.seal(b"a turn")
    tags.since()
    pair.initiator.open(frame)
    assert tags.since() <= 2


def test_who_knows_the_topic_makes_us_search_both_chains_once_and_never_again(tags: Counted) -> None:
    pair = met(stores=False)
    pair.initiator.open(pair.responder.seal(b"a turn"))
    pair.responder.open(pair.initiator.seal(b"and back"))
    pair.responder.seal(b"so that the next chain may come too")
    tags.since()
    assert pair.responder.refuses(junk(pair, 0)) is NotMine
    assert tags.since() <= 2 * limits.CHAIN_MESSAGES + 5 * limits.NEAR_TAGS + 4
    for n in range(1, 50):
        assert pair.responder.refuses(junk(pair, n)) is NotMine
    assert tags.since() <= 50 * (5 * limits.NEAR_TAGS + 4)
