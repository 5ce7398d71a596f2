"""The library's face: a node on a store and a transport."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

from attrs import field, frozen

from kexkit import _records as records
from kexkit._engine.chatting import Composed, chat_of
from kexkit._engine.engine import Engine
from kexkit._engine.requests import Flow, Moment, Outcome
from kexkit._engine.setting import Setting
from kexkit._engine.surveying import KnownDevice, in_use
from kexkit._shell.runtime import Runtime
from kexkit._wire.chat_message import ChatText
from kexkit.api import (
    Answer,
    Context,
    Device,
    Guarantee,
    Identity,
    KeyExchange,
    Store,
    Transport,
    Unpicklable,
    Versioned,
)
from kexkit.contact import ContactCode, parse_contact_code
from kexkit.errors import InvalidInput, KexkitError, Refusal, UnknownPeer
from kexkit.events import Delivery, Event, Question
from kexkit.identity import SoftwareIdentity
from kexkit.limits import CLOCK_MAX
from kexkit.policy import Consent, Policy


@frozen
class Contact:
    """A person. `name` is ours alone."""

    identity: bytes
    name: str
    added: bool
    """False: they wrote to us, and nobody has added them"""
    mechanisms: tuple[str, ...]
    """what their devices offer: of one device in its order, so that `choose` tells what both ends come to"""
    in_use: tuple[str, ...] = ()
    """over what texts to their devices leave now, the weakest first: what you write there is worth no more than that"""


@frozen
class Sent:
    """A text that is committed: it will leave, whatever happens now."""

    message_id: bytes
    peer: bytes


@frozen
class StoredText(Unpicklable):
    """A text of a chat's history."""

    message_id: bytes
    peer: bytes
    author: bytes
    outgoing: bool
    text: str = field(repr=False)
    clock: int
    timestamp: int
    grade: Guarantee
    delivery: Delivery


class Node(Unpicklable):
    """Made by `open_node`. Every method may be called from any task of the node's event loop."""

    def __init__(self, runtime: Runtime, me: Device) -> None:
        self._runtime = runtime
        self._me = me

    @property
    def identity(self) -> bytes:
        """Our public key, 33 bytes."""
        return self._me.identity

    @property
    def installation(self) -> str:
        return self._me.installation

    # --- people ------------------------------------------------------------------------------------------------------

    async def contact_code(self, *, compact: bool = False, offers: bool | None = None) -> str:
        """What to hand to whoever shall write to us. `compact` fits a QR code. `offers`: whether it says what we speak;
        None: as policy has it. Under `Publish.CONTACTS` only the compact form does, for texts are posted."""
        engine = self._runtime.engine
        code: ContactCode = await self._runtime.ask(lambda: engine.contact_code(posted=not compact, offers=offers))
        return code.to_qr_text() if compact else code.to_text()

    async def add(self, code: str, *, name: str = "") -> Contact:
        """Add a contact from their code, or from their public key alone."""
        runtime = self._runtime
        with _code_of("Ask them for their contact code again."):
            parsed = parse_contact_code(code)
            identity = await runtime.perform(lambda: runtime.engine.meet(parsed, name, runtime.moment()))
        return await self.contact(identity)

    async def pair(self, code: str) -> tuple[str, ...]:
        """Take the devices that a contact code of our own identity tells of for ours: what is sent from here goes to
        them as well, our bundle and our signed offer name them, and who keeps one of their offers back is contradicted.
        Both ends pair. Their installation ids; `forget_device` with our own identity undoes it."""
        runtime = self._runtime
        with _code_of("Take the code from the other device again."):
            parsed = parse_contact_code(code)
            found: tuple[str, ...] = await runtime.perform(lambda: runtime.engine.pair(parsed, runtime.moment()))
        return found

    async def contact(self, identity: bytes) -> Contact:
        key = records.peer_key(identity)
        row = (await self._runtime.store.load((key,))).get(key)
        if row is None:
            raise UnknownPeer()
        return self._contact(identity, row)

    async def contacts(self) -> list[Contact]:
        """Everybody known here, ourselves excepted."""
        rows = self._runtime.store.scan("peer")
        return [self._contact(key[1], row) async for key, row in rows if key[1] != self.identity]

    def _contact(self, identity: bytes, row: Versioned) -> Contact:
        return _contact(identity, records.read_peer(row.value), self._runtime.engine.setting)

    async def devices(self, peer: bytes | Contact) -> tuple[KnownDevice, ...]:
        """Their devices as they are known here: over what each is written to, and which are left out, and why."""
        identity = peer.identity if isinstance(peer, Contact) else peer
        runtime = self._runtime
        return await runtime.ask(lambda: runtime.engine.devices(identity, runtime.moment()))

    async def forget_device(self, peer: bytes | Contact, installation: str) -> bool:
        """A device of theirs is gone: forget its sessions, and what waits for it. Texts that no other device has wait
        for whichever comes. Should it speak again, it is as new. What it said before it could know is still shown, as
        after `end_sessions`, but kept apart: nothing that is known of a device rests on it.

        What it offered is forgotten too, and that protected against downgrade: until its offers are seen again, whoever
        carries envelopes can keep them back, and have it taken for a device that makes none. True: it was so protected.
        """
        identity = peer.identity if isinstance(peer, Contact) else peer
        runtime = self._runtime
        protected: bool = await runtime.perform(
            lambda: runtime.engine.forget_device(identity, installation, runtime.moment())
        )
        return protected

    async def consent(self, peer: bytes | Contact, what: Consent) -> int:
        """Decide what policy leaves to a person where a negotiation stands still. How many devices, or texts with
        `Consent.RELEASE`, that was about."""
        identity = peer.identity if isinstance(peer, Contact) else peer
        runtime = self._runtime
        count: int = await runtime.perform(lambda: runtime.engine.consent(identity, what, runtime.moment()))
        return count

    async def end_sessions(self, peer: bytes | Contact) -> int:
        """End every session with somebody, with a goodbye where the mechanism has one. Nothing more is sealed in them,
        and the next text begins another. How many there were.

        Where there is a goodbye, what is under way is still heard: until the other end has answered it and nothing is
        missing, or a week has passed in silence, or a month in any case. Then the keys are gone. The other end says
        again, in a new session, what it said since it last heard us. Without a goodbye (x3dh) the keys go at once, and
        what is under way is shown as unreadable.
        """
        identity = peer.identity if isinstance(peer, Contact) else peer
        runtime = self._runtime
        count: int = await runtime.perform(lambda: runtime.engine.end_sessions(identity, runtime.moment()))
        return count

    # --- texts -------------------------------------------------------------------------------------------------------

    async def send(self, peer: bytes | Contact, text: str) -> Sent:
        """Returns once the sealed text is committed. It leaves by itself, now or when the network is back."""
        identity = peer.identity if isinstance(peer, Contact) else peer
        flow = _sending(self._runtime, identity, text)
        del text  # or the traceback of an error would show it
        return Sent(await self._runtime.perform(flow), identity)

    def events(self) -> AsyncIterator[Event]:
        """Durable events until acknowledged, over restarts too, and whatever happens. A new reader ends the last, and
        closing the node ends all."""
        return self._runtime.inbox.events()

    async def ack(self, event: Event) -> None:
        """The application has dealt with it: it is not told again. Told-once events need none, and none is an error."""
        receipt = getattr(event, "receipt", None)
        if receipt is not None:
            runtime = self._runtime
            await runtime.perform(lambda: runtime.engine.acknowledge(receipt))

    async def answer(self, question: Question, value: bytes) -> bool:
        """What a person says to a session's question. False: that session is over."""
        runtime, cue = self._runtime, Answer(value)
        del value  # or the traceback of an error would show it
        answered: bool = await runtime.perform(
            lambda: runtime.engine.cue(question.session_id, cue, runtime.moment(), question.receipt)
        )
        return answered

    async def history(
        self, peer: bytes | Contact, *, limit: int = 50, before: StoredText | int | None = None
    ) -> list[StoredText]:
        """The last texts of a chat, oldest first. `before` ends them: at a clock, or for the page before a page, just
        before its first text (texts may share a clock)."""
        if limit < 1:
            raise InvalidInput("A history page has at least one text.")
        identity = peer.identity if isinstance(peer, Contact) else peer
        prefix, stop = records.order_prefix(identity), _page_end(identity, before)
        found: list[StoredText] = []
        rows = self._runtime.store.scan("order", prefix, stop, reverse=True, limit=limit)
        ids = [key[1][-32:] async for key, _ in rows]
        texts = await self._runtime.store.load([records.text_key(one) for one in ids])
        for message_id in ids:
            row = texts.get(records.text_key(message_id))
            if row is not None:
                found.append(_stored_text(message_id, *records.quietly(_read_text, row)))
        return found[::-1]

    async def delivery(self, message_id: bytes) -> Delivery:
        key = records.text_key(message_id)
        row = (await self._runtime.store.load((key,))).get(key)
        if row is None:
            raise InvalidInput("No such text here.")
        return records.quietly(lambda row: _delivery(records.read_text(row.value)), row)

    async def flushed(self) -> None:
        """Wait until the network has everything that could be sealed; NodeClosed, if the node closes before. Put a time
        limit around it."""
        await self._runtime.flushed()


def _page_end(identity: bytes, before: StoredText | int | None) -> bytes | None:
    if isinstance(before, StoredText):
        return records.order_key(identity, before.clock, before.message_id)[1]
    if before is None:
        return records.prefix_end(records.order_prefix(identity))
    if not 0 <= before <= CLOCK_MAX:
        raise InvalidInput("A chat's clock is a number of 64 bits.")
    return records.order_key(identity, before, b"")[1]


@contextmanager
def _code_of(advice: str) -> Iterator[None]:
    """What is wrong with a code is said where it is read; what to do about it depends on whose it is."""
    try:
        yield
    except Refusal as refusal:
        refusal.advice = refusal.advice or advice
        raise


def _contact(identity: bytes, peer: records.Peer, setting: Setting) -> Contact:
    names: list[str] = []
    for device in peer.devices:  # where there is an offer, the bundle beside it says nothing more
        names += device.offered if device.offer_seq else [advert.mechanism for advert in device.adverts]
    return Contact(identity, peer.name, peer.contact, tuple(dict.fromkeys(names)), in_use(peer, identity, setting))


def _delivery(text: records.Text) -> Delivery:
    return Delivery.STORED if text.pending == 0 else Delivery.QUEUED


def _sending(runtime: Runtime, identity: bytes, text: str) -> Callable[[], Flow[Outcome]]:
    """However often it is tried, the text is signed once and keeps its id."""
    composed: list[Composed] = []

    def flow() -> Flow[Outcome]:
        moment = runtime.moment()
        again = bool(composed)
        if not again:
            composed.append((yield from runtime.engine.compose(identity, text, moment)))
        return (yield from runtime.engine.send(identity, composed[0], moment, again=again))

    return flow


def _read_text(row: Versioned) -> tuple[records.Text, ChatText]:
    text = records.read_text(row.value)
    return text, chat_of(text)


def _stored_text(message_id: bytes, text: records.Text, chat: ChatText) -> StoredText:
    return StoredText(
        message_id,
        text.peer,
        text.author,
        text.outgoing,
        chat.text,
        text.clock or chat.clock,
        chat.timestamp,
        Guarantee(text.grade),
        _delivery(text),
    )


@asynccontextmanager
async def open_node(
    store: Store,
    transport: Transport,
    exchanges: Sequence[KeyExchange],
    *,
    policy: Policy | None = None,
    identity: Identity | None = None,
    clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    rng: Callable[[int], bytes] = os.urandom,
) -> AsyncIterator[Node]:
    """Open a node: `async with open_node(store, transport, exchanges) as node`.

    Without `identity`, one is made at the first opening and kept in the store. `clock` gives milliseconds since 1970.
    """
    if not exchanges:
        raise InvalidInput("A node needs a key exchange.")
    signer, installation = await _ourselves(store, identity, rng)
    me = Device(signer.public, installation)
    engine = Engine(Setting(me, tuple(exchanges), policy if policy is not None else Policy()))
    sequence = GrowingNanoseconds(clock, await _last_sequence(store))

    def moment() -> Moment:
        return Moment(Context(me, clock(), rng, signer), sequence)

    runtime = Runtime(store, transport, engine, moment)
    async with runtime.running():
        yield Node(runtime, me)


class GrowingNanoseconds:
    """Nanoseconds since 1970, except that it never stands still and never goes back, over restarts too."""

    __slots__ = ("_clock", "_last")

    def __init__(self, clock: Callable[[], int], last: int) -> None:
        self._clock = clock
        self._last = last

    def __call__(self) -> int:
        self._last = max(self._last + 1, self._clock() * 1_000_000)
        return self._last


async def _last_sequence(store: Store) -> int:
    last = 0
    for table in ("outbox", "inbox"):
        async for key, _ in store.scan(table, reverse=True, limit=1):
            last = max(last, records.split_sequence(key[1]))
    return last


async def _ourselves(store: Store, identity: Identity | None, rng: Callable[[int], bytes]) -> tuple[Identity, str]:
    """Our identity and installation; made and committed before anything else happens."""
    row = (await store.load((records.SELF,))).get(records.SELF)
    if row is not None:
        return records.quietly(lambda row: _read_self(row, identity), row)
    made = SoftwareIdentity.generate(rng) if identity is None else None
    installation = str(uuid.UUID(bytes=rng(16), version=4))
    try:
        await store.apply(records.first_row(records.SELF, _write_self(made, installation)))
    except KexkitError as error:  # the locals of a store that fails may hold what it was to keep
        raise error.with_traceback(None) from None
    chosen = identity if identity is not None else made
    assert chosen is not None
    return chosen, installation


def _read_self(row: Versioned, identity: Identity | None) -> tuple[Identity, str]:
    stored = records.read_self(row.value)
    own = SoftwareIdentity(stored.secret) if stored.secret else None
    if own is not None and identity is not None and own.public != identity.public:
        raise InvalidInput(
            "This store belongs to another identity.", advice="Open it with that one, or use another store."
        )
    chosen = identity if identity is not None else own
    if chosen is None:
        raise InvalidInput("The identity of this store is kept elsewhere.", advice="Pass it to open_node.")
    return chosen, stored.installation


def _write_self(made: SoftwareIdentity | None, installation: str) -> bytes:
    secret = made.expose_secret() if made is not None else b""
    return records.write(records.Self(format=records.FORMAT, secret=secret, installation=installation))


__all__ = ["Contact", "KnownDevice", "Node", "Sent", "StoredText", "open_node"]
