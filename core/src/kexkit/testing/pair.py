"""Two devices and a stranger, without network, store or clock: the short way to try a key exchange.

    pair = Pair(lambda: Psk(bytes(32)))
    pair.meet()                                     # a session that both ends can seal in
    assert pair.say(pair.alice, b"hello") == [b"hello"]

Frames travel when the test says so: `alice.seal(...)` gives them, `pair.deliver(...)` brings one to its reader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from attrs import field, frozen

from kexkit.api import Answer, Ask, Carriage, Close, Device, Due, Session, Unpicklable
from kexkit.errors import NotMine, Refusal
from kexkit.identity import SoftwareIdentity
from kexkit.testing.key_exchange_party import Clock, Make, Party, SeededRng, Sent, Took
from kexkit.testing.key_exchange_rules import demand

AnswerFor: TypeAlias = Callable[[Ask], bytes]

DELIVERIES: Final = 64
"""Frames that one conversation may bring forth by itself; more is two plugins answering each other for ever."""
TIMERS: Final = 16
"""Times a handshake may wait for its clock before the test gives up."""
_INSTALLATIONS: Final = {
    "alice": "a11ce000-0000-4000-8000-000000000001",
    "bob": "b0b00000-0000-4000-8000-000000000002",
    "carol": "ca401000-0000-4000-8000-000000000003",
}


def say_yes(ask: Ask) -> bytes:
    """A person who compares two texts and finds them equal."""
    demand(ask.kind == "compare", f"nobody here answers an Ask of kind {ask.kind!r}: give the pair an `answer`")
    return b"yes"


@frozen
class Delivered(Unpicklable):
    """A frame that was taken in, by whom, and that device's snapshots just before."""

    reader: Party
    sent: Sent
    took: Took
    before: Mapping[bytes, bytes] = field(repr=False)


class Pair(Unpicklable):
    """Alice and Bob, who have read each other's offers, and Carol, who has read both and is trusted by neither."""

    def __init__(
        self,
        make: Make,
        *,
        stranger: Make | None = None,
        secret: bytes | None = None,
        answer: AnswerFor = say_yes,
        seed: str = "0",
    ) -> None:
        """`make` gives the mechanism, `stranger` Carol's, if hers differs; `secret` becomes Opening.secret."""
        self.clock = Clock()
        self.answer = answer
        self.log: list[Delivered] = []
        self.alice = self._party("alice", make, seed, secret)
        self.bob = self._party("bob", make, seed, secret)
        self.carol = self._party("carol", stranger or make, seed, None)
        self.parties = (self.alice, self.bob, self.carol)
        for party in self.parties:
            self.publish(party)

    def _party(self, name: str, make: Make, seed: str, secret: bytes | None) -> Party:
        identity = SoftwareIdentity.generate(SeededRng(f"identity of {name}, {seed}"))
        me = Device(identity.public, _INSTALLATIONS[name])
        rng = SeededRng(f"randomness of {name}, {seed}")
        return Party(make, me=me, identity=identity, rng=rng, clock=self.clock, secret=secret)

    def publish(self, party: Party) -> None:
        """Make this party's next offer and let the others read it, if they can."""
        offer = party.make_offer()
        for reader in self.parties:
            if reader is self.carol or party is self.carol:
                try:
                    reader.learn(offer.public, party.me)
                except Refusal:  # configured otherwise, she may be unable to read ours, and we hers
                    continue
            else:
                reader.learn(offer.public, party.me)

    def other(self, party: Party) -> Party:
        return self.bob if party is self.alice else self.alice

    # --- conversations ---

    def begin(self, initiator: Party | None = None) -> None:
        """One side initiates, and every flight that follows by itself arrives. `alice` unless told otherwise."""
        initiator = initiator or self.alice
        peer = self.other(initiator)
        took = initiator.initiate(peer.me)
        self.settle(took.sent, self.answers(initiator, took))
        for _ in range(TIMERS):
            if initiator.can_seal(peer.me):
                return
            self.settle(self.advance(self.next_due() - self.clock.now))
        demand(initiator.can_seal(peer.me), "the handshake ends, and its initiator still cannot seal")

    def meet(self, initiator: Party | None = None) -> None:
        """Begin, then a text each way and one more: whatever is special about first flights is over."""
        initiator = initiator or self.alice
        self.begin(initiator)
        for sender in (initiator, self.other(initiator), initiator):
            self.say(sender, b"how do you do")

    def say(self, sender: Party, text: bytes) -> list[bytes]:
        """Seal a text and deliver it, and whatever follows. Returns the texts that opened at the other end."""
        sent = sender.seal(text, self.other(sender).me)
        opened = self.settle(sent)
        demand(opened == [text], f"a text of {len(text)} bytes was sealed and {len(opened)} texts opened, or another")
        return opened

    def deliver(self, sent: Sent, to: Party | None = None) -> Took:
        """Bring one frame to its reader. Raises the reader's Refusal; then nothing has changed."""
        reader = to or self.reader_of(sent)
        before = {session_id: session.snapshot() for session_id, session in reader.sessions.items()}
        took = reader.receive(sent)
        self.log.append(Delivered(reader, sent, took, before))
        return took

    def reader_of(self, sent: Sent) -> Party:
        bare = self.alice.exchange.carriage is Carriage.BARE
        for party in (self.alice, self.bob):
            if party.me != sent.sender and (party.hears(sent) if bare else party.me == sent.to):
                return party
        raise NotMine("Nobody here reads this frame: it is dropped.")

    def settle(self, *batches: Iterable[Sent]) -> list[bytes]:
        """Deliver these frames and every answer to them, in order. Returns all texts that opened."""
        wire = deque(sent for batch in batches for sent in batch)
        texts: list[bytes] = []
        for _ in range(DELIVERIES):
            if not wire:
                return texts
            sent = wire.popleft()
            reader = self.reader_of(sent)
            try:
                took = self.deliver(sent, reader)
            except Refusal as refusal:
                refusal.add_note("It is the answer to a genuine frame, in a conversation in which nobody does wrong.")
                raise
            texts += took.texts
            wire.extend(took.sent)
            wire.extend(self.answers(reader, took))
        raise AssertionError(f"after {DELIVERIES} frames the two still answer each other")

    def answers(self, party: Party, took: Took) -> list[Sent]:
        """What leaves when a person answers the questions of a step."""
        sent: list[Sent] = []
        for question in took.asks:
            demand(took.session is not None, "a session that is over asks a question")
            answered = party.cue(took.session or b"", Answer(self.answer(question)))
            sent += [*answered.sent, *self.answers(party, answered)]
        return sent

    def close(self, party: Party, session: Session) -> Took:
        return party.cue(session.id, Close())

    # --- time ---

    def next_due(self) -> int:
        """When the next session wants its Due; the test fails if none does, for then nothing would ever happen."""
        dues = [s.due for party in self.parties for s in party.sessions.values() if s.due is not None]
        demand(dues, "no end can seal, nothing is on its way and no session has a `due`: the handshake is stuck")
        return min(dues)

    def advance(self, milliseconds: int) -> list[Sent]:
        """Let time pass: old rows go, offers are renewed, sessions get their Due. Returns the frames that leave."""
        self.clock.now += max(milliseconds, 0)
        sent: list[Sent] = []
        for party in self.parties:
            party.expire_rows()
            if party.issued[0].offer.renew <= self.clock.now:
                self.publish(party)
            for session in list(party.sessions.values()):
                if session.due is not None and session.due <= self.clock.now:
                    sent += self._due(party, session)
        return sent

    def _due(self, party: Party, session: Session) -> tuple[Sent, ...]:
        took = party.cue(session.id, Due())
        after = party.sessions.get(session.id)
        moved = after is None or after.due is None or after.due > self.clock.now
        demand(moved, "after its Due a session is due at once again: core would never stop")
        return took.sent
