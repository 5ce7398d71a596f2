"""A world of peers and a network, driven step by step. One seed gives one run, for ever.

world = World(7, X3DH_ALONE)
world.introduce()
message = world.send("alice", "bob", "hello")
world.quiesce()                          # faults end; everything is retried until nothing moves
world.must_agree()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from attrs import evolve
from kexkit import _records as records
from kexkit._engine.peers import sealing_order
from kexkit._transitions import State
from kexkit.api import Envelope
from kexkit.contact import ContactCode
from kexkit.events import TextReceived
from kexkit.testing import Faults, MemoryNetwork

from tests.world.ciphers import Ciphers, watching
from tests.world.ledger import Ledger
from tests.world.mechanisms import Mechanism
from tests.world.peer import Clock, Crash, Peer

SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
ROUNDS = 400
"""of the quiet phase: more means that two peers answer one another for ever"""


class World:
    """Peers by name. Every verb is one step, after which the rules of the ledger hold."""

    def __init__(
        self,
        seed: int,
        mechanism: Mechanism,
        ciphers: Ciphers,
        *,
        names: tuple[str, ...] = ("alice", "bob"),
        faults: Faults | None = None,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.clock = Clock()
        self.network = MemoryNetwork(seed, automatic=False)
        if faults is not None:
            self.network.set_faults(faults)
        self.ledger = Ledger(ciphers)
        self.peers = {name: Peer(name, mechanism, self.network, self.clock, f"{seed}") for name in names}
        self.texts = 0

    def __repr__(self) -> str:
        return f"<World {self.seed}>"

    @property
    def alice(self) -> Peer:
        return self.peers["alice"]

    @property
    def bob(self) -> Peer:
        return self.peers["bob"]

    # --- what people do ----------------------------------------------------------------------------------------------

    def introduce(self, *pairs: tuple[str, str]) -> None:
        """Each of these adds the other from a code; by default, everybody adds everybody."""
        everybody = [(a, b) for a in self.peers for b in self.peers if a != b]
        for who, whom in pairs or everybody:
            self.peers[who].add(self.peers[whom].code())

    def add_device(self, who: str, name: str) -> None:
        """Another device of the same person."""
        first = self.peers[who]
        secret = first.identity.expose_secret()
        self.peers[name] = Peer(name, first.mechanism, self.network, self.clock, f"{self.seed}", secret)

    def add_by_key(self, who: str, whom: str) -> None:
        self.peers[who].add(ContactCode(self.peers[whom].me.identity))

    def send(self, who: str, whom: str, text: str | None = None) -> bytes:
        self.texts += 1
        text = text or f"text {self.texts} of {who} to {whom}"
        peer, to = self.peers[who], self.peers[whom].me.identity
        with self.step(peer):
            message_id = peer.send(to, text)
            self.ledger.note_sent(peer, to, message_id, text)
        return message_id

    def send_together(self, who: str, whom: str, count: int) -> list[bytes]:
        """Texts that wait together and share a commit."""
        peer, to = self.peers[who], self.peers[whom].me.identity
        texts = [f"text {self.texts + n} of {who} to {whom}, with others" for n in range(1, count + 1)]
        self.texts += count
        with self.step(peer):
            ids: list[bytes] = peer.perform_together([peer.sending(to, text) for text in texts])
            for message_id, text in zip(ids, texts, strict=True):
                self.ledger.note_sent(peer, to, message_id, text)
        return ids

    def ack(self, who: str) -> None:
        """The application has dealt with the first thing that it was told."""
        peer = self.peers[who]
        told = peer.read_inbox()
        if told:
            with self.step(peer):
                peer.ack(told[0].receipt)

    # --- what the machinery does -------------------------------------------------------------------------------------

    def transmit(self, who: str) -> Envelope | None:
        peer = self.peers[who]
        with self.step(peer):
            envelope = peer.transmit()
            if envelope is not None:
                self.ledger.check_left(peer, envelope)
        return envelope

    def note_had(self, who: str) -> None:
        with self.step(self.peers[who]):
            self.peers[who].note_had()

    def pull(self, who: str) -> bool:
        peer = self.peers[who]
        with self.step(peer):
            return peer.pull() is not None

    def move_cursors(self, who: str) -> None:
        with self.step(self.peers[who]):
            self.peers[who].move_cursors()

    def tick(self, who: str) -> None:
        with self.step(self.peers[who]):
            self.peers[who].tick()

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def crash(self, who: str) -> None:
        with self.step(self.peers[who]):
            self.peers[who].crash()

    def crash_during(self, who: str, when: str, action: Callable[[], object]) -> bool:
        """The process dies just "before" or just "after" the commit of an action; False: it had nothing to commit."""
        peer = self.peers[who]
        peer.disk.crash = when
        try:
            action()
        except Crash:
            peer.crash()
            self._rules(peer)
            return True
        peer.disk.crash = None
        return False

    def send_and_die(self, who: str, whom: str, when: str) -> bytes | None:
        """The process dies around the commit of a send: the text is there if the commit was."""
        self.texts += 1
        peer, to, text = self.peers[who], self.peers[whom].me.identity, f"text {self.texts} of {who}, who dies"
        before = set(peer.history(to))
        self.crash_during(who, when, lambda: peer.send(to, text))
        new = [message_id for message_id in peer.history(to) if message_id not in before]
        assert len(new) == (when == "after"), "a commit that was made is gone, or one that was not is there"
        for message_id in new:
            self.ledger.note_sent(peer, to, message_id, text)
        return new[0] if new else None

    def trouble_at_next_commit(self, who: str, *, after: bool) -> None:
        """The store fails once, before or after it did what it was asked."""
        self.peers[who].rows.fail("apply", 1, after=after)

    def lose_store(self, who: str) -> None:
        """Reinstalled, and everybody's contact again. What was under way to the old installation may be lost."""
        peer = self.peers[who]
        peer.lose_store()
        for (name, message_id), _ in list(self.ledger.told.items()):
            if name == who:
                del self.ledger.told[name, message_id]
        self._rules(peer)

    def replay(self, envelope: Envelope, *, later: int = 0) -> None:
        """To everybody who listens; with another timestamp it is another message to the network."""
        self.network.inject(evolve(envelope, timestamp=envelope.timestamp + later))

    # --- the rules ---------------------------------------------------------------------------------------------------

    @contextmanager
    def step(self, peer: Peer) -> Iterator[None]:
        peer.take_events()
        before = peer.rows.dump()
        yield
        self.ledger.check_refusal(peer, before)
        self._rules(peer)

    def _rules(self, peer: Peer) -> None:
        self.ledger.check_told(peer)
        self.ledger.check_bounds(peer)
        self.ledger.check_ciphers()

    # --- the end -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything that can happen now happens, at this instant of the clock."""
        for _ in range(ROUNDS):
            moved = [self._work_off(name) for name in self.peers]
            if not any(moved):
                return
        raise AssertionError("the peers never come to rest")

    def _work_off(self, name: str) -> bool:
        peer, moved = self.peers[name], False
        while peer.queue:
            self.transmit(name)
            moved = True
        self.note_had(name)
        self.network.advance()
        while self.pull(name):
            moved = True
        self.move_cursors(name)
        while (due := peer.tick()) is not None and due <= peer.now():
            moved = True
        return moved

    def quiesce(self, hours: int = 2) -> None:
        """Faults end, everything lost comes again, and a little time passes."""
        self.network.heal()
        self.settle()
        for _ in range(hours):
            self.clock.now += HOUR
            self.network.repair()
            self.settle()

    def must_agree(self, *, but: frozenset[bytes] = frozenset()) -> None:
        """Everything sent is told exactly once, both ends show it in the same order, and nothing is left to do."""
        for message_id, sent in self.ledger.sent.items():
            for peer in self.peers.values():
                if peer.me.identity == sent.peer and message_id not in but:
                    assert (peer.name, message_id) in self.ledger.told, f"lost: {sent.text}"
        for a in self.peers.values():
            for b in self.peers.values():
                ours, theirs = a.history(b.me.identity), b.history(a.me.identity)
                if a is not b and not but:
                    assert ours == theirs, "the two ends show another history"
        for peer in self.peers.values():
            assert not peer.queue
            assert not peer.table("outbox")
            for row in peer.table("text").values() if not but else ():
                assert records.read_text(row.value).pending == 0, "a text that is had is still counted as under way"
            if not but:
                assert not peer.table("waiting")
                assert not peer.table("held"), "a frame is held though everything could be opened"

    def must_converge(self) -> None:
        """After a text each way, every two devices seal in one and the same session.

        Excepted are two openings that crossed and were then each outdated for the end that began it: until the next
        rotation each end seals in the other's.
        """
        pairs = [(a, b) for a in self.peers for b in self.peers if a != b and self._acquainted(a, b)]
        for _ in range(2):
            for who, whom in pairs:
                self.send(who, whom)
                self.settle()
        for who, whom in pairs:
            ours, theirs = self._best(who, whom), self._best(whom, who)
            outdated = self._is_stale(whom, who, ours) and self._is_stale(who, whom, theirs)
            assert ours == theirs or outdated, f"{who} and {whom} seal in different sessions"

    def _acquainted(self, who: str, whom: str) -> bool:
        return self.peers[whom].me.identity in self.peers[who].table("peer")

    def _is_stale(self, who: str, whom: str, session: bytes | None) -> bool:
        person = self.peers[who].person(self.peers[whom].me.identity)
        refs = [ref for device in person.devices for ref in device.sessions if ref.id == session]
        return any(ref.state == State.STALE for ref in refs)

    def _best(self, who: str, whom: str) -> bytes | None:
        peer, other = self.peers[who], self.peers[whom]
        device = device_named(peer.person(other.me.identity), other.me.installation)
        order = sealing_order(device, peer.mechanism.main) if device is not None else []
        return order[0].id if order else None

    def told(self, who: str) -> list[str]:
        """Texts that wait for an acknowledgement, in order of arrival."""
        return [event.text for event in self.peers[who].read_inbox() if isinstance(event, TextReceived)]


@contextmanager
def a_world(seed: int, mechanism: Mechanism, **settings: object) -> Iterator[World]:
    with watching() as ciphers:
        yield World(seed, mechanism, ciphers, **settings)  # type: ignore[arg-type]  # passed on


def device_named(person: records.Peer, installation: str) -> records.PeerDevice | None:
    return next((device for device in person.devices if device.installation == installation), None)
