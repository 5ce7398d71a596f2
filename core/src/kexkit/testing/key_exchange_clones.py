"""The part of `KeyExchangeKit` about devices that exist twice."""

from __future__ import annotations

from collections.abc import Iterator

from kexkit.errors import Cloned, Refusal
from kexkit.testing.key_exchange_case import KeyExchangeCase, altered, talk
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit.testing.key_exchange_rules import demand
from kexkit.testing.pair import Pair


class Clones(KeyExchangeCase):
    def test_that_an_end_exists_twice_is_said_only_of_a_copy_and_then_if_it_says_so(self) -> None:
        pair = self.pair()
        pair.meet()
        talk(pair, turns=2)
        self._nobody_pretends_it(pair)
        if self.tells_clones:
            self._a_copy_is_told(pair)

    def _nobody_pretends_it(self, pair: Pair) -> None:
        """Who carries frames repeats them, returns them to their sender, alters them, and puts two together."""
        sealed = [one.sent for one in pair.log if one.took.plain]
        under_way = [*pair.alice.seal(b"lost", pair.bob.me), *pair.alice.seal(b"late", pair.bob.me)]
        for sent in _made_of(sealed[-3:] + under_way):
            for party in (pair.alice, pair.bob):
                sign = _sign(party, sent)
                demand(sign is None, "it takes a frame that anybody can make for the sign of a copy")

    def _a_copy_is_told(self, pair: Pair) -> None:
        """Two that both answer one turn: each seals what the other has not."""
        talk(pair, turns=1)  # and so alice owes the answer
        session = pair.alice.session_with(pair.bob.me).id
        copy = pair.alice.copy(seed="the copy's")
        pair.say(pair.alice, b"the device answers")
        signs = [_sign(pair.bob, sent) for sent in copy.seal(b"so does the copy", pair.bob.me)]
        told = [sign for sign in signs if sign is not None]
        demand(bool(told), "two copies answered one turn, and the peer was not told")
        demand(all(sign.session == session and not sign.ours for sign in told), "it names another session or end")


def _made_of(frames: list[Sent]) -> Iterator[Sent]:
    for sent in frames:
        yield sent
        for place in range(8, len(sent.frame), max(len(sent.frame) // 8, 1)):
            yield from (sent.altered(sent.frame[:place] + other.frame[place:]) for other in frames)
    for frame in altered(frames[-1].frame):
        yield frames[-1].altered(frame)


def _sign(party: Party, sent: Sent) -> Cloned | None:
    """Of all sessions of a copy of this device, so that frames that do open leave it as it was."""
    for session_id in list(party.sessions):
        try:
            party.copy().receive_in(session_id, sent.frame)
        except Cloned as sign:
            return sign
        except Refusal:
            continue
    return None
