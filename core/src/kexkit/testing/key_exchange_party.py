"""One device of a test: it does with a key exchange what core does, by hand, and checks every answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

from attrs import evolve, field, frozen

from kexkit.api import (
    Advert,
    Ask,
    Carriage,
    Context,
    Cue,
    Device,
    Have,
    Hear,
    Identity,
    KeyExchange,
    Offer,
    Opening,
    Plain,
    Row,
    Session,
    Step,
    Unpicklable,
    Wants,
)
from kexkit.errors import NotMine, Refusal
from kexkit.identity import tagged_digest
from kexkit.testing.key_exchange_rules import (
    TAG_BYTES,
    ask,
    check_adverts,
    check_offer,
    check_step,
    demand,
    session_facts,
    step_facts,
    typed_errors_only,
)

Act: TypeAlias = Callable[[KeyExchange, Session | None, Have, Context], Step | Wants]
Make: TypeAlias = Callable[[], KeyExchange]


class SeededRng(Unpicklable):
    """Randomness that is the same for the same seed and remembers what it gave: the canaries of the leak tests."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self.drawn: list[bytes] = []

    def __call__(self, size: int) -> bytes:
        drawn = hashlib.shake_256(self._seed + len(self.drawn).to_bytes(8, "big")).digest(size)
        self.drawn.append(drawn)
        return drawn

    def copy(self) -> SeededRng:
        twin = SeededRng(self._seed.decode())
        twin.drawn = list(self.drawn)
        return twin

    def __repr__(self) -> str:
        return f"<SeededRng {len(self.drawn)} draws>"


class Clock:
    """Milliseconds that pass when a test says so."""

    def __init__(self, now: int = 1_760_000_000_000) -> None:
        self.now = now


@frozen
class Sent:
    """A frame on its way. A test delivers, repeats, alters or loses it."""

    sender: Device
    to: Device | None
    """None: BARE, to whoever hears"""
    frame: bytes
    topic: str | None = None

    def altered(self, frame: bytes) -> Sent:
        return evolve(self, frame=frame)


@frozen
class Took:
    """What one step did."""

    session: bytes | None
    """the id of the session that moved, None: it is over"""
    plain: tuple[Plain, ...]
    sent: tuple[Sent, ...]
    asks: tuple[Ask, ...]
    offers: tuple[bytes, ...] = ()
    """BARE: offers of the peer that came in clear"""

    @property
    def texts(self) -> list[bytes]:
        return [plain.body for plain in self.plain]


@frozen
class Issued:
    """An offer of ours that may still be answered, and the bind of openings to it."""

    offer: Offer = field(repr=False)
    bind: bytes
    to: Hear | None = None
    """BARE: where openings to it turn up"""


class Party(Unpicklable):
    """A device with a drawer, sessions and what it knows of others.

    `twice`: each call of the plugin is made a second time, by a fresh mechanism on a restored session, with equal
    randomness, and must do the same. `restarts`: the restored session is the one that goes on.
    """

    twice = False
    restarts = False

    def __init__(
        self, make: Make, *, me: Device, identity: Identity, rng: SeededRng, clock: Clock, secret: bytes | None = None
    ) -> None:
        self.make = make
        self.exchange = make()
        self.me, self.identity, self.rng, self.clock, self.secret = me, identity, rng, clock, secret
        self.drawer: dict[bytes, Row] = {}
        self.sessions: dict[bytes, Session] = {}
        self.toward: dict[bytes, Device] = {}
        self.adverts: dict[Device, Advert] = {}
        self.issued: list[Issued] = []
        self.hint = b""
        """BARE: not empty: what accept() shall answer instead of beginning a session"""

    def __repr__(self) -> str:
        return f"<Party {self.me.installation}>"

    @property
    def context(self) -> Context:
        return Context(me=self.me, now=self.clock.now, rng=self.rng, identity=self.identity)

    def state(self) -> object:
        """All that lasts. Two equal ones go on equally."""
        sessions = {session_id: session_facts(session) for session_id, session in self.sessions.items()}
        return sessions, {row_id: (row.value, row.until) for row_id, row in self.drawer.items()}

    def copy(self, *, seed: str = "", me: Device | None = None) -> Party:
        """Everything this device has, from its stored bytes alone; with a seed, going its own way from here."""
        twin = Party(
            self.make,
            me=me or self.me,
            identity=self.identity,
            rng=SeededRng(seed) if seed else self.rng.copy(),
            clock=self.clock,
            secret=self.secret,
        )
        twin.drawer = dict(self.drawer)
        twin.sessions = {
            session_id: twin.exchange.restore(session.snapshot()) for session_id, session in self.sessions.items()
        }
        twin.toward, twin.adverts, twin.issued = dict(self.toward), dict(self.adverts), list(self.issued)
        twin.hint = self.hint
        return twin

    # --- offers ---

    def make_offer(self) -> Offer:
        """Make the next offer and keep what it says."""

        def call(have: Have) -> Offer | Wants:
            return self.exchange.offer(have, siblings=(), ctx=self.context)

        offer = check_offer(ask(call, self.look_up, self.draws), self.clock.now)
        self.drawer |= offer.keep
        adverts = self.read_offer(offer.public, self.me)
        own = [advert for advert in adverts if advert.device == self.me]
        demand(len(own) == 1, "our own offer does not advertise this device exactly once")
        demand(own[0].expires > self.clock.now, "an offer is published that has expired")
        to = place_of(self.exchange, own[0]) if self.exchange.carriage is Carriage.BARE else None
        self.issued.insert(0, Issued(offer, bind_of(self.exchange, own[0]), to))
        return offer

    def read_offer(self, public: bytes, maker: Device) -> tuple[Advert, ...]:
        adverts = typed_errors_only(lambda: self.exchange.read_offer(public, maker=maker, ctx=self.context))
        return check_adverts(adverts, maker)

    def learn(self, public: bytes, maker: Device) -> None:
        """Keep the highest (epoch, issued) of each device."""
        for advert in self.read_offer(public, maker):
            known = self.adverts.get(advert.device)
            if known is None or (advert.epoch, advert.issued) > (known.epoch, known.issued):
                self.adverts[advert.device] = advert

    # --- sessions ---

    def opening(self, peer: Device | None, bind: bytes, sent: Sent | None = None) -> Opening:
        """Towards `peer`; or, if that is None, to the offer of ours with this bind. If none has it, `sent` is taken for
        an opening to our newest: so a thief or a stranger would do."""
        advert = self.adverts.get(peer) if peer else None
        if self.exchange.carriage is not Carriage.BARE:
            return Opening(peer, advert, bind, self.secret)
        if peer is not None:
            to = place_of(self.exchange, advert) if advert is not None else None
            return Opening(peer, advert, bind, self.secret, to)
        answered = next((issued for issued in self.issued if issued.bind == bind), None)
        place = answered.to if answered is not None else None
        if sent is not None and answered is None:
            place = Hear(sent.topic or "", sent.frame[:TAG_BYTES])
        offered = (answered or self.issued[0]).offer.public if self.issued else b""
        return Opening(None, None, bind, self.secret, place, offered, self.hint)

    def initiate(self, peer: Device, *, bind: bytes | None = None) -> Took:
        """Begin a session; NoOffer if nothing is known of the peer."""
        advert = self.adverts.get(peer)
        opening = self.opening(peer, bind_of(self.exchange, advert) if bind is None else bind)
        step = self._step(None, lambda kx, _, have, ctx: kx.initiate(opening, have, ctx=ctx))
        return self._take(None, step, peer)

    def accept(self, sent: Sent, *, bind: bytes | None = None, sender: Device | None = None) -> Took:
        """A frame that no session claims, tried against each of our offers, the newest first."""
        peer = None if self.exchange.carriage is Carriage.BARE else sender or sent.sender
        binds = [issued.bind for issued in self.issued] if bind is None else [bind]
        refusal: Refusal | None = None
        for each in binds:
            try:
                return self._accept(sent, self.opening(peer, each, sent))
            except Refusal as error:
                refusal = refusal or error
        raise refusal or NotMine("No offer was made that this could answer.")

    def _accept(self, sent: Sent, opening: Opening) -> Took:
        step = self._step(None, lambda kx, _, have, ctx: kx.accept(sent.frame, opening, have, ctx=ctx))
        if step.session is not None and step.session.id in self.sessions:
            return self.receive_in(step.session.id, sent.frame)  # one opening, one session
        return self._take(None, step, opening.peer)

    def session_with(self, peer: Device) -> Session:
        """The newest session with this device that can seal; or else the newest."""
        mine = [s for s in self.sessions.values() if (s.peer or self.toward.get(s.id)) == peer]
        demand(mine, f"no session with {peer.installation}")
        return ([s for s in mine if s.grade is not None] or mine)[-1]

    def can_seal(self, peer: Device) -> bool:
        return any(s.grade is not None for s in self.sessions.values() if (s.peer or self.toward.get(s.id)) == peer)

    def seal(self, text: bytes, peer: Device, *, session: Session | None = None) -> tuple[Sent, ...]:
        """Seal a text; the frames leave when the test delivers them."""
        chosen = session or self.session_with(peer)
        demand(chosen.grade is not None, "the session cannot seal (its grade is None)")
        step = self._step(chosen, lambda _, s, __, ctx: _there(s).seal(text, ctx=ctx))
        demand(step.frames, "seal() gave no frame")
        demand(not step.plain, "seal() opened a text")
        return self._take(chosen, step, peer).sent

    def receive(self, sent: Sent) -> Took:
        """Route a frame as core does and take it in. A Refusal leaves everything as it was."""
        before = self.state()
        try:
            return self._receive(sent)
        except Refusal:
            demand(self.state() == before, "a refused frame changed something")
            raise

    def _receive(self, sent: Sent) -> Took:
        if self.exchange.carriage is Carriage.BARE:
            owner = self._hearer(sent)
            return (
                self.receive_in(owner, sent.frame) if isinstance(owner, bytes) else self.accept(sent, bind=owner.bind)
            )
        for session in reversed(list(self.sessions.values())):
            if (session.peer or self.toward.get(session.id)) == sent.sender:
                try:
                    return self.receive_in(session.id, sent.frame)
                except NotMine:
                    continue
        return self.accept(sent)

    def receive_in(self, session_id: bytes, frame: bytes) -> Took:
        """Give a frame to one session, whoever it is from."""
        session = self.sessions[session_id]
        step = self._step(session, lambda _, s, have, ctx: _there(s).receive(frame, have, ctx=ctx))
        return self._take(session, step, session.peer or self.toward.get(session_id))

    def _hearer(self, sent: Sent) -> bytes | Issued:
        """Two look-ups: topic with tag, then topic alone."""
        for place in (Hear(sent.topic or "", sent.frame[:TAG_BYTES]), Hear(sent.topic or "")):
            for session in self.sessions.values():
                if place in session.hears:
                    return session.id
            for issued in self.issued:
                if place == issued.to:
                    return issued
        raise NotMine("Nothing here hears this topic and tag.")

    def hears(self, sent: Sent) -> bool:
        try:
            self._hearer(sent)
        except NotMine:
            return False
        return True

    def cue(self, session_id: bytes, cue: Cue) -> Took:
        session = self.sessions[session_id]
        step = self._step(session, lambda _, s, __, ctx: _there(s).cue(cue, ctx=ctx))
        return self._take(session, step, session.peer or self.toward.get(session_id))

    def expire_rows(self) -> None:
        """What core's timers do to the drawer."""
        now = self.clock.now
        self.drawer = {row_id: row for row_id, row in self.drawer.items() if row.until is None or row.until > now}

    # --- the two places where the plugin is called and believed ---

    def _step(self, session: Session | None, act: Act) -> Step:
        before, twin_rng, context = session_facts(session), self.rng.copy(), self.context
        try:
            step = ask(lambda have: act(self.exchange, session, have, context), self.look_up, self.draws)
        finally:
            demand(session_facts(session) == before, "a session value changed: its methods return a successor instead")
            demand(context == self.context, "the Context was changed: what follows is in the Step")
        check_step(self.exchange, session, step, self.clock.now)
        if self.twice:
            self._again(session, act, twin_rng, step)
        return step

    def _again(self, session: Session | None, act: Act, rng: SeededRng, first: Step) -> None:
        exchange = self.make()
        restored = None if session is None else exchange.restore(session.snapshot())
        demand(session_facts(restored) == session_facts(session), "restore(snapshot()) is another session")
        context = evolve(self.context, rng=rng)
        second = ask(lambda have: act(exchange, restored, have, context), self.look_up, lambda: len(rng.drawn))
        demand(
            step_facts(second) == step_facts(first),
            "a fresh mechanism with the restored session and equal randomness does something else",
        )

    def _take(self, before: Session | None, step: Step, peer: Device | None) -> Took:
        for row_id in step.drop:
            self.drawer.pop(row_id, None)
        self.drawer |= step.keep
        after = step.session
        if before is not None and after is None:
            self._forget(before.id)
        if after is not None:
            self.sessions[after.id] = self._stored(after)
            if peer is not None:
                self.toward[after.id] = peer
        to = None if self.exchange.carriage is Carriage.BARE else peer
        sent = tuple(Sent(self.me, to, frame, step.to) for frame in step.frames)
        return Took(after.id if after is not None else None, step.plain, sent, step.asks, step.offers)

    def _stored(self, session: Session) -> Session:
        if not self.restarts:
            return session
        self.exchange = self.make()
        return self.exchange.restore(session.snapshot())

    def _forget(self, session_id: bytes) -> None:
        del self.sessions[session_id]
        self.toward.pop(session_id, None)
        self.drawer = {row_id: row for row_id, row in self.drawer.items() if not row_id.startswith(session_id)}

    def look_up(self, row_id: bytes) -> bytes | None:
        row = self.drawer.get(row_id)
        return None if row is None else row.value

    def draws(self) -> int:
        return len(self.rng.drawn)


def _there(session: Session | None) -> Session:
    assert session is not None
    return session


def bind_of(exchange: KeyExchange, advert: Advert | None) -> bytes:
    """What both ends know of an opening before it: the mechanism, whom it goes to, and the offer it answers."""
    return tagged_digest(b"kexkit/opening/1", _named_offer(exchange, advert))


def place_of(exchange: KeyExchange, advert: Advert) -> Hear:
    """Where a BARE opening to this offer goes, and its tag: as in core, but for the topic and for what stands for the
    signed offer."""
    tag = tagged_digest(b"kexkit/noise hello/1", _named_offer(exchange, advert))[:TAG_BYTES]
    return Hear(f"/kexkit/1/openings-{advert.device.identity.hex()[:8]}/proto", tag)


def _named_offer(exchange: KeyExchange, advert: Advert | None) -> bytes:
    name = exchange.name.encode()
    offer = hashlib.sha256(b"kexkit offer in a test")
    if advert is not None:
        offer.update(advert.device.identity + advert.device.installation.encode() + b"\0" + advert.public)
    return len(name).to_bytes(1, "big") + name + offer.digest()
