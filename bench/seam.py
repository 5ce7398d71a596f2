"""kexkit through its seam: the engine asks the plugin, turns the Step into rows, and keeps the successor in memory.

Without the envelope around a frame and the signatures in it: no neighbour has them. Rows go to a dictionary here;
`durable.py` puts a store in its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, Protocol

from kexkit import secp256k1
from kexkit._engine.drawer import Fetched, ask, guarded, keep, sealed_by, take
from kexkit._engine.frames import seal_in
from kexkit._engine.requests import Draft, Flow, LiveSession, Load, Moment, T
from kexkit._wire.offers import bare_digest, opening_bind
from kexkit.api import (
    NOTHING,
    Advert,
    Change,
    Context,
    Device,
    Key,
    KeyExchange,
    Offer,
    Opening,
    Step,
    Versioned,
    Wants,
)
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh.exchange import X3DH

ALICE: Final = "a11ce000-0000-4000-8000-000000000001"
BOB: Final = "b0b00000-0000-4000-8000-000000000002"


class Rows(Protocol):
    """Where a party's rows are."""

    def load(self, key: Key) -> Versioned | None: ...

    def apply(self, change: Change) -> None: ...


class RowsInMemory:
    """As few operations as a test of the seam needs: what is measured is what comes before a store."""

    def __init__(self) -> None:
        self._rows: dict[Key, bytes] = {}

    def load(self, key: Key) -> Versioned | None:
        value = self._rows.get(key)
        return Versioned(value, 1) if value is not None else None

    def apply(self, change: Change) -> None:
        self._rows.update(change.put)
        for key in change.drop:
            self._rows.pop(key, None)


class Party:
    """One installation: its identity, its mechanism, its rows."""

    def __init__(
        self, installation: str, rows: Callable[[], Rows] = RowsInMemory, exchange: KeyExchange | None = None
    ) -> None:
        self.identity = SoftwareIdentity.generate(os.urandom)
        self.me = Device(self.identity.public, installation)
        self.exchange = X3DH() if exchange is None else exchange
        self.rows = rows()
        self.bundle = self._publish()

    def moment(self) -> Moment:
        """Made for every operation, as an open node makes it."""
        context = Context(self.me, time.time_ns() // 1_000_000, os.urandom, self.identity)
        return Moment(context, time.time_ns)

    def drive(self, flow: Flow[T]) -> T:
        answer: object = None
        try:
            while True:
                request = flow.send(answer)
                assert isinstance(request, Load)
                found = ((key, self.rows.load(key)) for key in request.keys)
                answer = {key: row for key, row in found if row is not None}
        except StopIteration as stop:
            result: T = stop.value
            return result

    def read_bundle(self, maker: Party) -> Advert:
        (advert,) = self.exchange.read_offer(maker.bundle, maker=maker.me, ctx=self.moment().context)
        return advert

    def _publish(self) -> bytes:
        draft, context = Draft(), self.moment().context
        offer: Offer = self.drive(
            ask(draft, self.exchange.name, lambda have: self.exchange.offer(have, siblings=(), ctx=context), {})
        )
        keep(draft, self.exchange.name, offer.keep, {})
        self.rows.apply(draft.outcome().change)
        return offer.public


class Talker:
    """A session's end. `commit` is what happens to the rows of each step."""

    def __init__(self, party: Party, peer: Device, session: LiveSession) -> None:
        self.party = party
        self.session = session
        self.peer = peer
        self.moment = party.moment()

    def seal(self, body: bytes) -> bytes:
        draft, moment, exchange = Draft(), self.moment, self.party.exchange
        step = sealed_by(exchange, self.session, body, moment)
        after = take(draft, exchange, self.session, step, {}, moment)
        assert after is not None
        (frame,) = step.frames
        self.write("outbox", draft, frame)
        self.session = after
        return frame

    def open(self, sealed: bytes) -> bytes:
        draft, moment, exchange = Draft(), self.moment, self.party.exchange
        fetched: Fetched = {}
        receive = self.session.session.receive
        step = guarded(exchange.name, receive, sealed, NOTHING, ctx=moment.context)
        if isinstance(step, Wants):
            step = self.party.drive(
                ask(draft, exchange.name, lambda have: receive(sealed, have, ctx=moment.context), fetched)
            )
        after = take(draft, exchange, self.session, step, fetched, moment)
        assert after is not None
        body = step.plain[0].body
        self.write("inbox", draft, body)
        self.session = after
        return body

    def write(self, table: str, draft: Draft, content: bytes) -> None:
        """Before the successor is kept: the place for a store."""

    def state(self) -> bytes:
        return self.session.session.snapshot()


class Kexkit:
    name = "kexkit"

    def __init__(self) -> None:
        self.alice = Party(ALICE)
        self.bob = Party(BOB)

    def meet(self, body: bytes) -> tuple[Talker, Talker]:
        """The bundle is verified and every point parsed as for a stranger's: nothing is remembered of them."""
        secp256k1._parse.cache_clear()
        frame, alice = begin(self.alice, self.bob, body)
        return alice, answer(self.bob, self.alice, frame, body)


def bind_of(name: str, device: Device) -> bytes:
    """Of an opening to a device that published no signed offer."""
    return opening_bind(name, bare_digest(device.identity, device.installation))


def begin(alice: Party, bob: Party, body: bytes) -> tuple[bytes, Talker]:
    draft, moment, exchange = Draft(), alice.moment(), alice.exchange
    fetched: Fetched = {}
    advert = alice.read_bundle(bob)
    opening = Opening(bob.me, advert, bind_of(exchange.name, bob.me))
    step: Step = alice.drive(
        ask(draft, exchange.name, lambda have: exchange.initiate(opening, have, ctx=moment.context), fetched)
    )
    session = take(draft, exchange, None, step, fetched, moment)
    assert session is not None
    sealed = seal_in(draft, exchange, session, bob.me.installation, body, moment)
    alice.rows.apply(draft.outcome().change)
    after = draft.sessions[session.session.id]
    assert after is not None
    return sealed.frame, Talker(alice, bob.me, after)


def answer(bob: Party, alice: Party, frame: bytes, body: bytes) -> Talker:
    draft, moment, exchange = Draft(), bob.moment(), bob.exchange
    fetched: Fetched = {}
    opening = Opening(alice.me, None, bind_of(exchange.name, bob.me))
    step: Step = bob.drive(
        ask(draft, exchange.name, lambda have: exchange.accept(frame, opening, have, ctx=moment.context), fetched)
    )
    session = take(draft, exchange, None, step, fetched, moment)
    assert session is not None
    assert step.plain[0].body == body
    bob.rows.apply(draft.outcome().change)
    return Talker(bob, alice.me, session)
