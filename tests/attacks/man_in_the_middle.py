"""Somebody between real devices: every envelope passes through their hands, and everything public can be replaced.

They see inside the outermost envelope and can make it anew, as though spec 26 protected nothing: negotiation must not
rest on it. What a session seals they cannot open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import TypeVar

from attrs import evolve
from kexkit import _records as records
from kexkit._engine.engine import Engine
from kexkit._engine.setting import Setting
from kexkit._negotiation import choose
from kexkit._transitions import State
from kexkit._wire import offers as wire
from kexkit._wire import payload26, topics
from kexkit._wire.offers import Entry, OfferBody
from kexkit._wire.protocol_message import ProtocolMessage, encode, parse
from kexkit.api import Envelope, KeyExchange
from kexkit.contact import ContactCode
from kexkit.events import Event, FrameRefused, NegotiationTrouble, TextReceived, Waiting
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit.testing import MemoryNetwork
from kexkit_noise.exchange import NoiseExchange
from kexkit_psk.exchange import Psk
from kexkit_x3dh.exchange import X3DH

from tests.world.ciphers import Ciphers, watching
from tests.world.mechanisms import SECRET, Mechanism
from tests.world.peer import Clock, Peer

X3DH_NAME, PSK_NAME, HEALING, XK1, XX = (
    "x3dh/1",
    "psk@example.org/1",
    "healing-noise-xk1/1",
    "noise-xk1/1",
    "noise-xx/1",
)
SECOND = 1000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
PAUSES = (SECOND, 61 * SECOND, 11 * 60 * SECOND, HOUR, 6 * HOUR, DAY)
"""long enough for what is tried again to be tried again"""
ROUNDS = 300

E = TypeVar("E", bound=Event)
Hook = Callable[[str, Envelope], Sequence[Envelope]]
"""What becomes of an envelope of somebody's"""


def exchange(name: str) -> KeyExchange:
    if name == X3DH_NAME:
        return X3DH()
    return Psk(SECRET) if name == PSK_NAME else NoiseExchange(name)


def able(*names: str, policy: Policy = WITHOUT_FORWARD_SECRECY) -> Mechanism:
    """A device with these key exchanges, best first."""
    return Mechanism(" ".join(names), lambda: tuple(exchange(name) for name in names), policy)


class Middle:
    """The hand between; `hook` is what it does with everything that passes."""

    def __init__(self, ciphers: Ciphers, people: dict[str, Mechanism]) -> None:
        self.ciphers = ciphers
        self.clock = Clock()
        self.network = MemoryNetwork(1, automatic=False)
        self.peers = {name: Peer(name, what, self.network, self.clock, "middle") for name, what in people.items()}
        self.hook: Hook = pass_on
        self.log: list[tuple[str, Envelope]] = []
        self.refused = ""
        """why a contact code was not taken"""

    def __getattr__(self, name: str) -> Peer:
        try:
            return self.__dict__["peers"][name]  # type: ignore[no-any-return]  # it holds peers
        except KeyError:
            raise AttributeError(name) from None

    # --- what people do ----------------------------------------------------------------------------------------------

    def adds(self, who: str, whom: str, change: Callable[[ContactCode], ContactCode] = lambda code: code) -> None:
        self.peers[who].add(change(self.peers[whom].code()))

    def says(self, who: str, whom: str, text: str) -> bytes:
        message_id = self.peers[who].send(self.peers[whom].me.identity, text)
        self.settle()
        return message_id

    def becomes(self, who: str, what: Mechanism) -> None:
        """Other plugins or another policy from now on."""
        self.clock.now += SECOND
        self.peers[who].mechanism = what
        self.peers[who].boot()

    def second_device(self, who: str, name: str, what: Mechanism) -> Peer:
        secret = self.peers[who].identity.expose_secret()
        self.peers[name] = Peer(name, what, self.network, self.clock, "middle", secret)
        return self.peers[name]

    # --- the wire ----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        for _ in range(ROUNDS):
            moved = [self._work_off(name) for name in list(self.peers)]
            if not any(moved):
                return
        raise AssertionError("they never come to rest")

    def _work_off(self, name: str) -> bool:
        peer, moved = self.peers[name], False
        while peer.queue:
            departure = peer.queue.pop(0)
            peer.had.append(departure.key)
            peer.note_had()
            self.log.append((name, departure.envelope))
            for envelope in self.hook(name, departure.envelope):
                self.deliver(envelope, sender=name)
            moved = True
        while (due := peer.tick()) is not None and due <= peer.now():
            moved = True
        return moved

    def deliver(self, envelope: Envelope, *, sender: str = "") -> None:
        for name, peer in list(self.peers.items()):
            if name != sender:
                peer.receive(envelope)

    def wait(self, *pauses: int) -> None:
        for pause in pauses or PAUSES:
            self.clock.now += pause
            self.settle()

    def heal(self) -> None:
        """The hand lets go: everything lost comes at last, and what has to be tried again is."""
        self.hook = pass_on
        for name, envelope in list(self.log):
            self.deliver(envelope, sender=name)
        self.settle()
        self.wait()

    # --- what the hand makes -----------------------------------------------------------------------------------------

    def inside(self, envelope: Envelope) -> ProtocolMessage | None:
        data = self.ciphers.inside(envelope.payload) if envelope.version == 1 else None
        return parse(data) if data is not None else None

    def remade(self, maker: str, to: str, message: ProtocolMessage) -> Envelope:
        """As though the outermost layer could be forged."""
        random = Random(encode(message) + self.clock.now.to_bytes(8, "big"))
        owner = self.peers[to].me.identity
        sealed = payload26.seal_asymmetric(
            encode(message), owner, sign=self.peers[maker].identity, rng=random.randbytes
        )
        topic = topics.content_topic(topics.partitioned_name(owner))
        return Envelope(topic, sealed, 1, self.clock.now * 10**6 + len(self.log))

    def offer_of(self, who: str) -> bytes:
        """What a device offers now, as it signed it."""
        row = self.peers[who].table(records.SIGNED_OFFER[0])[records.SIGNED_OFFER[1]]
        return records.own_public(row.value)

    def digest_of(self, who: str) -> bytes:
        signed = self.offer_of(who)
        return wire.read(signed, expected_identity=signed[1:34]).digest

    # --- what came of it ---------------------------------------------------------------------------------------------

    def heard(self, who: str) -> list[str]:
        return [event.text for event in self.peers[who].read_inbox() if isinstance(event, TextReceived)]

    def device(self, who: str, whom: str) -> records.PeerDevice:
        """One's row for the other's device."""
        person = self.peers[who].person(self.peers[whom].me.identity)
        return next(each for each in person.devices if each.installation == self.peers[whom].me.installation)

    def sessions(self, who: str, whom: str, *states: State) -> list[records.SessionRef]:
        found = list(self.device(who, whom).sessions) if self.knows(who, whom) else []
        return [ref for ref in found if not states or State(ref.state) in states]

    def knows(self, who: str, whom: str) -> bool:
        identity = self.peers[whom].me.identity
        if identity not in self.peers[who].table("peer"):
            return False
        person = self.peers[who].person(identity)
        return any(each.installation == self.peers[whom].me.installation for each in person.devices)

    def mechanisms(self, who: str, whom: str, *states: State) -> list[str]:
        return [ref.mechanism for ref in self.sessions(who, whom, *(states or (State.OPEN,)))]

    def causes(self, who: str) -> set[str]:
        """Why texts wait or were refused, by the names of errors, and in words."""
        found: set[str] = set()
        for event in self.peers[who].told_ever:
            if isinstance(event, (Waiting, NegotiationTrouble)):
                found |= {event.cause, event.reason}
            elif isinstance(event, FrameRefused):
                found.add(event.cause)
        return found

    def events(self, who: str, kind: type[E]) -> list[E]:
        return [event for event in self.peers[who].told_ever if isinstance(event, kind)]

    def begun(self, who: str) -> list[str]:
        """The mechanism of every frame that left, in the order of their leaving, where it can be seen."""
        found: list[str] = []
        for name, envelope in self.log:
            message = self.inside(envelope) if name == who else None
            if message is not None:
                found += [X3DH_NAME] * bool(message.slots) + [frame.mechanism for frame in message.frames]
        return found

    def assert_best(self, who: str, whom: str) -> None:
        """No open session but over the best one, and both ends of it hold one record."""
        best = self.best(who, whom)
        assert set(self.mechanisms(who, whom)) <= {best}
        assert set(self.mechanisms(whom, who)) <= {best}
        theirs = {ref.id: ref.record for ref in self.sessions(whom, who, State.OPEN)}
        for ref in self.sessions(who, whom, State.OPEN):
            assert theirs.get(ref.id, ref.record) == ref.record

    def best(self, who: str, whom: str) -> str | None:
        return choose(self.peers[who].engine.setting.offered, self.peers[whom].engine.setting.offered)


def pass_on(sender: str, envelope: Envelope) -> Sequence[Envelope]:
    return [envelope]


def drop(sender: str, envelope: Envelope) -> Sequence[Envelope]:
    return []


@contextmanager
def a_middle(**people: Mechanism) -> Iterator[Middle]:
    with watching() as ciphers:
        yield Middle(ciphers, people)


# --- what can be done to an offer ------------------------------------------------------------------------------------


def with_body(signed: bytes, change: Callable[[OfferBody], OfferBody]) -> bytes:
    """Another body under the old signature, canonical or not."""
    body = wire.read(signed, expected_identity=signed[1:34]).body
    return raw_body(change(body)) + signed[-64:]


def raw_body(body: OfferBody) -> bytes:
    entries = [_lp(1, entry.name.encode()) + _lp(2, entry.public) for entry in body.entries]
    siblings = [wire._uuid_bytes(one.installation) + one.seq.to_bytes(8, "big") for one in body.siblings]
    extensions = [one.type.to_bytes(2, "big") + _lp(2, one.value) for one in body.extensions]
    parts = [b"\x01", body.identity, wire._uuid_bytes(body.installation)]
    parts += [number.to_bytes(8, "big") for number in (body.seq, body.not_before, body.not_after)]
    for listed in (entries, siblings, extensions):
        parts += [bytes((len(listed),)), *listed]
    return b"".join(parts)


def _lp(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def listing(change: Callable[[tuple[Entry, ...]], Sequence[Entry]]) -> Callable[[bytes], bytes]:
    def edited(signed: bytes) -> bytes:
        return with_body(signed, lambda body: evolve(body, entries=tuple(change(body.entries))))

    return edited


def signed_anew(peer: Peer, signed: bytes, change: Callable[[OfferBody], OfferBody]) -> bytes:
    """What only the owner of the identity can make."""
    body = wire.read(signed, expected_identity=signed[1:34]).body
    return wire.sign(change(body), peer.identity).received


def without_offers(code: ContactCode) -> ContactCode:
    return evolve(code, offers=(), pins=())


def with_offers(*offers: bytes) -> Callable[[ContactCode], ContactCode]:
    return lambda code: evolve(code, offers=offers)


def make_no_offers(peer: Peer) -> None:
    """From now on, a program that knows nothing of negotiation, with the same keys."""
    setting = Setting(peer.me, tuple(peer.mechanism.make()), peer.mechanism.policy, negotiates=False)
    peer.engine = Engine(setting)
    peer._look_at_everything()
