"""The part of `KeyExchangeKit` in which a thief copies a device: what was promised against that is tried.

The thief has everything: snapshots, drawer, identity key, configuration, every frame ever sent, and the program. He may
forget rows that only record what was seen, and set counters back, for counters are no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from kexkit.api import Guarantee, Row
from kexkit.errors import KexkitError, Refusal
from kexkit.testing.key_exchange_case import KeyExchangeCase, talk
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit.testing.key_exchange_rules import ContractBroken, demand
from kexkit.testing.pair import Delivered, Pair

KEY_BYTES: Final = 12
"""A stretch of a snapshot that differs over so many bytes is taken for a key, a shorter one for a counter."""
GAP: Final = 2
"""Two keys may agree by chance in so many bytes running, and still be other keys."""


class Thefts(KeyExchangeCase):
    def test_a_theft_does_not_open_what_was_opened_before_if_it_says_so(self) -> None:
        if not self.declares(Guarantee.FORWARD_SECRECY):
            return
        pair = self.pair()
        pair.begin()
        for turn in range(4):
            for sender in (pair.alice, pair.bob):
                for text in (b"one", b"two", b"three")[: 1 + turn % 3]:
                    pair.say(sender, text)
                for victim in (pair.alice, pair.bob):
                    self._open_the_past(pair, victim)

    def _open_the_past(self, pair: Pair, victim: Party) -> None:
        past = [delivered for delivered in pair.log if delivered.reader is victim]
        afresh = victim.copy(seed="thief")
        afresh.sessions.clear()
        for delivered in past:
            promised = any(Guarantee.FORWARD_SECRECY in plain.grade for plain in delivered.took.plain)
            thief = victim.copy(seed="thief")
            opened, _ = _try_hard(thief, delivered.sent)
            reopened, afresh = _try_hard(afresh, delivered.sent)
            rolled_back = _roll_back(thief, delivered)
            demand(
                not promised or not (opened or reopened or rolled_back),
                "it declares FORWARD_SECRECY, and a later theft opens a frame that was opened before",
            )

    def test_an_old_theft_does_not_open_what_comes_after_a_full_turn_if_it_says_so(self) -> None:
        if not self.declares(Guarantee.POST_COMPROMISE):
            return
        for after in range(4):
            for name in ("alice", "bob"):
                pair = self.pair()
                pair.meet()
                talk(pair, turns=after % 2, burst=1)
                if after > 1:
                    pair.say(pair.alice, b"one more before the theft")
                victim = getattr(pair, name)
                self._open_the_future(pair, victim, victim.copy(seed="thief"))

    def _open_the_future(self, pair: Pair, victim: Party, thief: Party) -> None:
        """One thief only listens; each of the others began at some point to do as the victim does."""
        peer, seen = pair.other(victim), len(pair.log)
        thieves = [thief]
        for turn in range(5):
            pair.say(victim, b"what the victim says")
            pair.say(peer, b"what the peer says")
            pair.say(peer, b"and adds")
            thieves = [thieves[0], *(_seals_too(each, peer) for each in thieves)]
            for delivered in [delivered for delivered in pair.log[seen:] if delivered.reader is victim]:
                tried = [_try_hard(each, delivered.sent) for each in thieves]
                thieves = [each for _, each in tried]
                promised = any(Guarantee.POST_COMPROMISE in plain.grade for plain in delivered.took.plain)
                demand(
                    turn == 0 or not promised or not any(opened for opened, _ in tried),
                    "it declares POST_COMPROMISE, and a theft before a full turn opens a frame after it",
                )
            seen = len(pair.log)


def _seals_too(thief: Party, peer: Party) -> Party:
    bold = thief.copy()
    with suppress(KexkitError, ContractBroken):
        bold.seal(b"what the victim says", peer.me)
    return bold


def _try_hard(thief: Party, sent: Sent) -> tuple[bool, Party]:
    """Does the frame open to this thief? And the thief as he then is."""
    only_keys = {row_id: row for row_id, row in thief.drawer.items() if len(row.value) >= KEY_BYTES}
    drawers: tuple[Mapping[bytes, Row], ...] = (thief.drawer, only_keys, {})
    for drawer in drawers:
        bold = _with_drawer(thief, drawer)
        try:
            took = bold.receive(sent)
        except (Refusal, ContractBroken):  # with rows hidden from it the plugin may well stumble
            continue
        if took.plain or took.sent:
            return bool(took.plain), bold
    return False, thief


def _with_drawer(thief: Party, drawer: Mapping[bytes, Row]) -> Party:
    bold = thief.copy()
    bold.drawer = dict(drawer)
    return bold


def _roll_back(thief: Party, delivered: Delivered) -> bool:
    """Does the frame open in the stolen session with its counters set back to where they were when it came?"""
    session_id = delivered.took.session
    stolen = thief.sessions.get(session_id or b"")
    then = delivered.before.get(session_id or b"")
    if session_id is None or stolen is None or then is None:
        return False
    bold = thief.copy()
    try:
        bold.sessions[session_id] = bold.exchange.restore(set_back(stolen.snapshot(), then))
        return bool(bold.receive_in(session_id, delivered.sent.frame).plain)
    except (KexkitError, ContractBroken):
        return False


def set_back(stolen: bytes, then: bytes) -> bytes:
    """The stolen snapshot with every short difference, a counter's or a window's, as it was then."""
    if len(stolen) != len(then):
        return stolen
    mixed = bytearray(stolen)
    place = 0
    while place < len(stolen):
        if stolen[place] == then[place]:
            place += 1
            continue
        end = _end_of_difference(stolen, then, place)
        if end - place < KEY_BYTES:
            mixed[place:end] = then[place:end]
        place = end
    return bytes(mixed)


def _end_of_difference(one: bytes, other: bytes, start: int) -> int:
    end = start + 1
    for place in range(start, len(one)):
        if one[place] != other[place]:
            end = place + 1
        elif place - end >= GAP:
            break
    return end
