"""Whole peers that negotiate: each with its own key exchanges and policy, and a tap on what their sessions carry.

with meeting(1, Kit((psk("one@test.example/1"),)), Kit((psk("one@test.example/1"),))) as world:
    world.introduce()
    world.send("alice", "bob")
    world.settle()
    world.tap.said("alice")      # every plaintext that alice's sessions sealed, with its confirmation
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from attrs import define, evolve, field, frozen
from kexkit import _records as records
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit._wire import mvds, offers
from kexkit._wire.confirms import CONFIRM, Confirm, Verdict, kind_of, read_confirm, read_verdict
from kexkit._wire.offers import Entry, OfferBody, SignedOffer
from kexkit.api import (
    Advert,
    Carriage,
    Context,
    Cue,
    Device,
    Envelope,
    Guarantee,
    Have,
    Hear,
    KeyExchange,
    Offer,
    Opening,
    Session,
    Step,
    Wants,
)
from kexkit.events import Event, NegotiationTrouble, SessionOpened, Waiting
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit_noise.exchange import NoiseExchange
from kexkit_psk.exchange import Psk
from kexkit_x3dh.exchange import X3DH

from tests.kits.toy_ladder import Ladder, Silent
from tests.world.ciphers import Ciphers, watching
from tests.world.mechanisms import SECRET, Mechanism
from tests.world.peer import Peer
from tests.world.world import World

E = TypeVar("E", bound=Event)
ONE, TWO, THREE = "one@test.example/1", "two@test.example/1", "three@test.example/1"
"""names of exchanges that differ in nothing else"""
HEALS = Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE
SOON = 120_000
"""milliseconds: after every back-off of a first try"""


# --- what sessions carry ---------------------------------------------------------------------------------------------


@frozen
class Said:
    """One plaintext, as it was given to a session to seal."""

    who: Device
    session: bytes
    mechanism: str
    body: bytes = field(repr=False)

    @property
    def raw(self) -> bytes | None:
        """The confirmation or the answer in it, as bytes."""
        payload = mvds.unwrap(self.body)
        return payload.confirm if payload is not None else None

    @property
    def texts(self) -> tuple[bytes, ...]:
        payload = mvds.unwrap(self.body)
        return (self.body,) if payload is None else payload.bodies

    @property
    def confirm(self) -> Confirm | None:
        return read_confirm(self.raw) if self.raw is not None and kind_of(self.raw) == CONFIRM else None

    @property
    def verdict(self) -> Verdict | None:
        return read_verdict(self.raw) if self.raw is not None and kind_of(self.raw) != CONFIRM else None


Edit = Callable[[Said], bytes]


@define
class Tap:
    """Everything sealed. `edit` lies: what it returns is sealed instead."""

    all: list[Said] = field(factory=list)
    edit: Edit | None = None

    def pass_on(self, said: Said) -> bytes:
        self.all.append(said)
        return said.body if self.edit is None else self.edit(said)


def edited(said: Said, change: Callable[[bytes | None], bytes | None]) -> bytes:
    """The same texts with another confirmation."""
    payload = mvds.unwrap(said.body)
    bodies = (said.body,) if payload is None else payload.bodies
    confirm = change(said.raw)
    if confirm is None and bodies:
        return bodies[0]
    return mvds.wrap(bodies, group=bytes(32), timestamp=1, confirm=confirm or b"")


@frozen
class TappedSession:
    """A session as it is, but for the tap."""

    inner: Session
    exchange: Tapped

    id = property(lambda self: self.inner.id)
    peer = property(lambda self: self.inner.peer)
    due = property(lambda self: self.inner.due)

    @property
    def hears(self) -> frozenset[Hear]:
        return self.inner.hears

    @property
    def grade(self) -> Guarantee | None:
        grade = self.inner.grade
        return None if grade is None else self.exchange.claims(grade)

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        body = self.exchange.tap.pass_on(Said(ctx.me, self.id, self.exchange.name, plaintext))
        return self.exchange.dressed(self.inner.seal(body, ctx=ctx), self)

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        return self.exchange.dressed(self.inner.receive(frame, have, ctx=ctx), self)

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return self.exchange.dressed(self.inner.cue(cue, ctx=ctx), self)

    def snapshot(self) -> bytes:
        return self.inner.snapshot()


@frozen
class Tapped:
    """A key exchange as it is, but for the tap, its name, and what it claims to give, or not to give."""

    inner: KeyExchange
    tap: Tap
    called: str = ""
    adds: Guarantee = Guarantee.NONE
    lacks: Guarantee = Guarantee.NONE

    @property
    def name(self) -> str:
        return self.called or self.inner.name

    @property
    def carriage(self) -> Carriage:
        return self.inner.carriage

    @property
    def guarantees(self) -> Guarantee:
        return self.claims(self.inner.guarantees)

    def claims(self, really: Guarantee) -> Guarantee:
        return (really | self.adds) & ~self.lacks

    def dressed(self, step: Step | Wants, before: TappedSession | None = None) -> Any:
        if isinstance(step, Wants) or step.session is None:
            return step
        same = before is not None and step.session is before.inner
        plain = tuple(evolve(each, grade=self.claims(each.grade)) for each in step.plain)
        return evolve(step, session=before if same else TappedSession(step.session, self), plain=plain)

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        return self.inner.offer(have, siblings=siblings, ctx=ctx)

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        return self.inner.read_offer(public, maker=maker, ctx=ctx)

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step: Step | Wants = self.dressed(self.inner.initiate(opening, have, ctx=ctx))
        return step

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step: Step | Wants = self.dressed(self.inner.accept(frame, opening, have, ctx=ctx))
        return step

    def restore(self, snapshot: bytes) -> Session:
        return TappedSession(self.inner.restore(snapshot), self)


# --- who they are ----------------------------------------------------------------------------------------------------


@frozen
class Plugin:
    """How to make an exchange; each peer makes its own."""

    make: Callable[[], KeyExchange]
    called: str = ""
    adds: Guarantee = Guarantee.NONE
    lacks: Guarantee = Guarantee.NONE


def psk(called: str = "", adds: Guarantee = Guarantee.NONE, secret: bytes = SECRET) -> Plugin:
    """FRAME, and both ends can seal at once. It binds what it answers in its transcript."""
    return Plugin(lambda: Psk(secret), called, adds)


def loose(called: str = "", adds: Guarantee = Guarantee.NONE) -> Plugin:
    """The same for core as x3dh/1: nothing but the confirmation binds the choice."""
    return Plugin(lambda: Psk(SECRET), called, adds, Guarantee.BINDS)


FRAME = psk()
SLOT = Plugin(X3DH)
BARE = Plugin(lambda: NoiseExchange("healing-noise-xk1/1"))
LADDER = Plugin(lambda: Ladder(Silent))
"""opens in order only"""
PSK_NAME, SLOT_NAME, BARE_NAME = (plugin.make().name for plugin in (FRAME, SLOT, BARE))


@frozen
class Kit:
    """What a peer is set up with."""

    plugins: tuple[Plugin, ...]
    policy: Policy = WITHOUT_FORWARD_SECRECY


ONLY_FRAME, ONLY_SLOT, ONLY_BARE = (Kit((plugin,)) for plugin in (FRAME, SLOT, BARE))
KITS = {"frame": ONLY_FRAME, "slot": ONLY_SLOT, "bare": ONLY_BARE}


class Meeting(World):
    """Two peers or more, each with a kit of its own."""

    def __init__(self, seed: int, ciphers: Ciphers, kits: dict[str, Kit]) -> None:
        self.tap = Tap()
        first, *others = kits
        super().__init__(seed, self._mechanism(kits[first]), ciphers, names=(first,))
        for name in others:
            self.peers[name] = Peer(name, self._mechanism(kits[name]), self.network, self.clock, f"{seed}")

    def _mechanism(self, kit: Kit) -> Mechanism:
        def make() -> tuple[Tapped, ...]:
            return tuple(Tapped(each.make(), self.tap, each.called, each.adds, each.lacks) for each in kit.plugins)

        return Mechanism("a kit", make, kit.policy)

    def equip(self, who: str, kit: Kit) -> None:
        """The same device, started again with other plugins or another policy."""
        self.peers[who].mechanism = self._mechanism(kit)
        self.peers[who].crash()

    def sibling(self, who: str, name: str, kit: Kit) -> None:
        """Another device of the same person."""
        secret = self.peers[who].identity.expose_secret()
        self.peers[name] = Peer(name, self._mechanism(kit), self.network, self.clock, f"{self.seed}", secret)

    # --- time --------------------------------------------------------------------------------------------------------

    def pass_time(self, milliseconds: int) -> None:
        self.clock.now += milliseconds
        self.settle()

    def until_rest(self, rounds: int = 12) -> None:
        """All that timers of a few minutes bring."""
        for _ in range(rounds):
            self.pass_time(SOON)

    # --- what stands in rows -----------------------------------------------------------------------------------------

    def device(self, who: str, whom: str) -> records.PeerDevice:
        """What `who` knows of `whom`'s device."""
        other = self.peers[whom].me
        person = self.peers[who].person(other.identity)
        return next(device for device in person.devices if device.installation == other.installation)

    def refs(self, who: str, whom: str) -> list[records.SessionRef]:
        return list(self.device(who, whom).sessions)

    def states(self, who: str, whom: str) -> dict[str, list[State]]:
        """By mechanism, in the order in which they were made."""
        found: dict[str, list[State]] = {}
        for ref in self.refs(who, whom):
            found.setdefault(ref.mechanism, []).append(State(ref.state))
        return found

    def offer_of(self, who: str) -> SignedOffer:
        """What a peer offers now."""
        peer = self.peers[who]
        signed = records.own_public(peer.table("own")[b""].value)
        return offers.read(signed, expected_identity=peer.me.identity)

    # --- what was said and told --------------------------------------------------------------------------------------

    def said(self, who: str) -> list[Said]:
        return [said for said in self.tap.all if said.who == self.peers[who].me]

    def told_of(self, who: str, kind: type[E]) -> list[E]:
        return [event for event in self.peers[who].told_ever if isinstance(event, kind)]

    def troubles(self, who: str) -> list[str]:
        return [event.cause for event in self.told_of(who, NegotiationTrouble)]

    def causes(self, who: str) -> set[str]:
        """Why texts wait."""
        return {event.cause for event in self.told_of(who, Waiting)}

    def opened(self, who: str) -> list[str]:
        return [event.mechanism for event in self.told_of(who, SessionOpened)]

    # --- what people do ----------------------------------------------------------------------------------------------

    def consent(self, who: str, whom: str, what: Consent) -> Any:
        peer = self.peers[who]
        with self.step(peer):
            return peer.perform(lambda: peer.engine.consent(self.peers[whom].me.identity, what, peer.moment()))

    def give(self, who: str, *signed: bytes, of: str) -> None:
        """A contact code comes, with these offers and nothing else."""
        self.peers[who].add(evolve(self.peers[of].code(), bundles=(), offers=signed))

    # --- offers and envelopes by hand --------------------------------------------------------------------------------

    def sign(self, who: str, **changes: Any) -> SignedOffer:
        """An offer like the present one but for these fields, signed by the same person. It is not published."""
        peer = self.peers[who]
        return offers.sign(evolve(self.offer_of(who).body, **changes), peer.identity)

    def sign_names(self, who: str, *names: str, **changes: Any) -> SignedOffer:
        """An offer of these alone, with the public bytes that the present one has for them."""
        body: OfferBody = self.offer_of(who).body
        public = {entry.name: entry.public for entry in body.entries}
        entries = tuple(Entry(name, public.get(name, b"")) for name in names)
        return self.sign(who, **{"seq": body.seq + 1, "entries": entries, **changes})

    def leave(self, who: str) -> list[Envelope]:
        """Everything that waits goes to the network; nobody has read it yet."""
        sent = []
        while self.peers[who].queue:
            envelope = self.transmit(who)
            if envelope is not None:
                sent.append(envelope)
        self.note_had(who)
        return sent

    def read(self, who: str) -> None:
        """Everything that came is taken in; what it makes stays in the outbox."""
        self.network.advance()
        while self.pull(who):
            pass
        self.move_cursors(who)

    def skip(self, who: str) -> int:
        """What came is lost for ever. How many envelopes."""
        self.network.advance()
        lost = 0
        while (arrival := self.peers[who].transport.take()) is not None:
            self.peers[who].cursors[arrival.envelope.topic] = arrival.cursor
            lost += 1
        self.move_cursors(who)
        return lost

    def work(self, who: str) -> None:
        """Everything that is due now, and nothing of the network."""
        peer = self.peers[who]
        while (due := peer.tick()) is not None and due <= peer.now():
            pass


@contextmanager
def meeting(seed: int, alice: Kit, bob: Kit, **others: Kit) -> Iterator[Meeting]:
    with watching() as ciphers:
        yield Meeting(seed, ciphers, {"alice": alice, "bob": bob, **others})
