"""Handshakes step by step, for tests that come between the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from attrs import define, evolve
from kexkit.api import Session
from kexkit.errors import Refusal
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit.testing.pair import Pair
from kexkit_noise import offers
from kexkit_noise.answering import answer
from kexkit_noise.exchange import NoiseExchange
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_noise.offers import OwnStatic
from kexkit_noise.sessions import Running

PSK = bytes(range(100, 132))
NAMES = tuple(MECHANISMS)
SENDS_STATIC = [name for name in NAMES if "k1k1" not in name]
"""names whose third message says who the initiator is"""
TELLS_STATIC = [name for name in NAMES if "xx" in name]
"""names whose second message says who the responder is"""
DAY_MS = 24 * 3600 * 1000
S = TypeVar("S")


def mechanism(name: str) -> NoiseExchange:
    return NoiseExchange(name, PSK if "psk" in name else None)


def pair_of(name: str, *, twice: bool = False) -> Pair:
    """Alice, Bob and Carol, who all have the psk if there is one: it must not be what tells them apart."""
    pair = Pair(lambda: mechanism(name))
    for party in pair.parties:
        party.twice = twice
    return pair


@define
class Meeting:
    """Alice begins with Bob, one message at a time."""

    pair: Pair

    def first(self) -> Sent:
        (sent,) = self.pair.alice.initiate(self.pair.bob.me).sent
        return sent

    def second(self, first: Sent) -> Sent:
        (sent,) = self.pair.deliver(first).sent
        return sent

    def third(self, second: Sent) -> Sent:
        (sent,) = self.pair.deliver(second).sent
        return sent

    def all(self) -> tuple[Sent, Sent, Sent]:
        first = self.first()
        second = self.second(first)
        third = self.third(second)
        self.pair.deliver(third)
        return first, second, third


def only(party: Party, kind: type[S]) -> S:
    """The one session of this kind that the party has."""
    (found,) = [session for session in party.sessions.values() if isinstance(session, kind)]
    return found


def put(party: Party, session: Session) -> None:
    """In the place of the one with its id: what a dishonest program would go on with."""
    party.sessions[session.id] = session


def static_of(party: Party) -> OwnStatic:
    row = offers.static_row(party.issued[0].offer.public[:32])
    return offers.read_static(party.drawer[row].value, party.me)


def refused(act: Callable[[], object]) -> Refusal | None:
    """What it refuses with; None: it does not."""
    try:
        act()
    except Refusal as refusal:
        return refusal
    return None


def nobody_is_believed(pair: Pair) -> None:
    for party in (pair.alice, pair.bob):
        for session in party.sessions.values():
            assert not isinstance(session, Running), "a session opened"


def answer_of(pair: Pair, first: Sent, own: OwnStatic) -> Sent:
    """What Carol answers in Bob's place: she knows his offer, hence bind and tag."""
    bobs = pair.bob.issued[0]
    opening = evolve(pair.bob.opening(None, bobs.bind), hint=b"")
    ours = MECHANISMS[pair.alice.exchange.name]
    psk = mechanism(ours.name).psk
    step = answer(ours, first.frame, opening, own, psk, pair.carol.context)
    return Sent(pair.carol.me, None, step.frames[0], step.to)
