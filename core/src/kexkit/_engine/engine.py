"""The engine: one method for each thing that can happen to a node.

Each is a generator that asks for rows (`requests.py`) and returns one Outcome. It awaits nothing, reads no clock, draws
no randomness of its own and logs nothing; run twice on the same rows and moment, it does the same. What it remembers
besides its setting is derived: which topics are listened to, and the keys of symmetric ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kexkit import _records as records
from kexkit._engine import clocks, consenting, forgetting, noting, offering, pairing, receiving, sending, timing
from kexkit._engine.bare import cue_session
from kexkit._engine.chatting import Composed, compose
from kexkit._engine.inboxes import take_from_inbox
from kexkit._engine.peers import load_person
from kexkit._engine.requests import Channel, Draft, Flow, LiveSession, Moment, Outcome, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.surveying import KnownDevice, devices_of
from kexkit._engine.wrapping import TopicKeys, contact_code_channel, own_channels
from kexkit.api import Cue, Envelope, Key, Unpicklable, Versioned
from kexkit.contact import ContactCode
from kexkit.errors import KexkitError, PluginMissing, UnknownPeer
from kexkit.events import Delivery, DeliveryChanged
from kexkit.policy import Consent, Publish


class Engine(Unpicklable):
    """Pure decisions over rows. The shell drives it."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._keys = TopicKeys()
        self._channels: dict[str, tuple[Channel, ...]] = {}
        self._leaving: set[str] = set()

    # --- topics ------------------------------------------------------------------------------------------------------

    def listen(self, channels: tuple[Channel, ...]) -> list[str]:
        """Remember channels after their commit; the topics that are new."""
        new = []
        self._leaving.difference_update(channel.topic for channel in channels)
        for channel in channels:
            known = self._channels.get(channel.topic, ())
            if not known:
                new.append(channel.topic)
            if channel not in known:
                self._channels[channel.topic] = (*known, channel)
        return new

    def unlisten(self, topics: Iterable[str]) -> None:
        """The same for topics where nobody listens any more."""
        for topic in topics:
            self._channels.pop(topic, None)
            self._leaving.discard(topic)

    def channels_of(self, topic: str) -> tuple[Channel, ...]:
        return self._channels.get(topic, ())

    # --- what can happen ---------------------------------------------------------------------------------------------

    def start(self, moment: Moment, *, set_back: bool = False) -> Flow[Outcome]:
        """Make offers that are due, plan the regular work, and say which topics to listen to. `set_back`: our clock
        is known to have been ahead until now."""
        draft = Draft()
        if set_back or (yield from clocks.was_ahead(draft, moment)):
            yield from clocks.set_right(draft, self.setting, moment)
        yield from offering.renew(draft, self.setting, moment)
        yield from offering.take_back(draft, self.setting, moment)
        for kind in sorted(clocks.PERIODS):
            if not (yield from clocks.is_planned(draft, kind, moment)):
                offering.plan(draft, kind, moment.now)
        draft.channels += own_channels(self.setting.me.identity)
        if (yield from pairing.has_paired(self.setting)):
            draft.channels.append(contact_code_channel(self.setting.me.identity))
        yield from self._hear_people(draft, moment)
        routes = yield from scan("route", limit=None)
        for _, row in routes:
            draft.channels.append(Channel(records.read_route(row.value).topic, "", symmetric=False, bare=True))
        heard = {channel.topic for channel in draft.channels}
        draft.unheard = tuple(topic for topic in self._channels if topic not in heard)
        yield from _forget_cursors(draft, heard)
        return draft.outcome()

    def _hear_people(self, draft: Draft, moment: Moment) -> Flow[None]:
        """Contacts first: what a transport has no room for shall be strangers."""
        people = yield from scan("peer", limit=None)
        contacts, strangers = list[Channel](), list[Channel]()
        for key, row in people:
            if key[1] == self.setting.me.identity:
                continue
            negotiated = self._keys.negotiated(key[1], moment)
            person = records.read_peer(row.value)
            if person.held:  # what is loaded, or allowed, may be more than before
                draft.write(records.timer_key(moment.now, records.Timer.RETRY_HELD, key[1]), b"")
            if person.contact:
                contacts += [negotiated, contact_code_channel(key[1])]
            else:
                strangers.append(negotiated)
        draft.channels += contacts
        draft.channels += strangers

    def meet(self, code: ContactCode, name: str, moment: Moment) -> Flow[Outcome]:
        return (yield from noting.meet(code, name, self.setting, moment, self._keys))

    def pair(self, code: ContactCode, moment: Moment) -> Flow[Outcome]:
        """Other devices of ours. The result: their installation ids."""
        return (yield from pairing.pair(code, self.setting, moment))

    def contact_code(self, *, posted: bool = False, offers: bool | None = None) -> Flow[ContactCode]:
        """`posted`: as text, which others may come to see. `offers`: with ours, or without; None: as policy has it."""
        shown = self.setting.confirms and not (posted and self.setting.policy.publish is Publish.CONTACTS)
        return (yield from offering.contact_code(self.setting, offers=shown if offers is None else offers))

    def compose(self, peer: bytes, text: str, moment: Moment) -> Flow[Composed]:
        """Sign a text and give it its id and clock: once, before anything is tried."""
        draft = Draft()
        if (yield from load_one(draft, records.peer_key(peer))) is None:
            raise UnknownPeer()
        return (yield from compose(draft, peer, text, moment))

    def send(self, peer: bytes, composed: Composed, moment: Moment, *, again: bool = True) -> Flow[Outcome]:
        """Not `again`: it was composed just now, so that no earlier try of it can have been committed."""
        return (yield from sending.send(peer, composed, self.setting, moment, self._keys, again=again))

    def receive(self, envelope: Envelope, moment: Moment) -> Flow[Outcome]:
        channels = self.channels_of(envelope.topic)
        return (yield from receiving.receive(envelope, channels, self.setting, moment, self._keys))

    def set_aside(self, envelope: Envelope, error: KexkitError, moment: Moment) -> Flow[Outcome]:
        """An arrival that we could not work out, through no fault of its sender."""
        channels = self.channels_of(envelope.topic)
        return (yield from receiving.set_aside(envelope, channels, error, self.setting, moment, self._keys))

    def cue(self, session_id: bytes, cue: Cue, moment: Moment, receipt: bytes = b"") -> Flow[Outcome]:
        """A person answered a session's question, or it shall end. The result: whether there is such a session."""
        draft = Draft()
        found = yield from cue_session(draft, session_id, cue, self.setting, moment, self._keys)
        if receipt:
            yield from take_from_inbox(draft, receipt)
        return draft.outcome(found)

    def end_sessions(self, peer: bytes, moment: Moment) -> Flow[Outcome]:
        """Say goodbye in every session with a person, where that can be said. Tells how many there were."""
        draft = Draft()
        person = yield from load_person(draft, peer)
        ended = 0
        for session_id in [ref.id for device in person.record.devices for ref in device.sessions]:
            ended += yield from forgetting.say_goodbye(draft, session_id, self.setting, moment, self._keys)
        return draft.outcome(ended)

    def consent(self, peer: bytes, what: Consent, moment: Moment) -> Flow[Outcome]:
        """A person decided what policy left open."""
        return (yield from consenting.consent(peer, what, self.setting, moment))

    def devices(self, peer: bytes, moment: Moment) -> Flow[tuple[KnownDevice, ...]]:
        return (yield from devices_of(peer, self.setting, moment))

    def forget_device(self, peer: bytes, installation: str, moment: Moment) -> Flow[Outcome]:
        """A device is gone. The result: whether something signed said that it makes offers."""
        return (yield from forgetting.forget_device(peer, installation, self.setting, moment, self._keys))

    def tick(self, moment: Moment) -> Flow[Outcome]:
        """Work off one due timer; the result says when to come again."""
        return (yield from timing.tick(self.setting, moment, self._keys, self.channels_of))

    def put_off(self, moment: Moment) -> Flow[Outcome]:
        """The first due timer cannot be worked off: later, so that the others have their turn."""
        return (yield from timing.put_off(moment))

    def acknowledge(self, receipt: bytes) -> Flow[Outcome]:
        """The application has it: it is not told again."""
        draft = Draft()
        yield from take_from_inbox(draft, receipt)
        return draft.outcome()

    def stored(self, outbox: tuple[Key, ...]) -> Flow[Outcome]:
        """The network has these envelopes."""
        draft = Draft()
        for key in outbox:
            row = yield from load_one(draft, key)
            if row is None:
                continue
            draft.remove(key)
            message_id = records.read_outgoing(row.value).message
            if message_id:
                yield from self._one_copy_less(draft, message_id)
        return draft.outcome()

    def mark(self, cursors: Mapping[str, bytes]) -> Flow[Outcome]:
        """How far topics have been read. It may lag behind, never lead: what comes again is recognised."""
        draft = Draft()
        yield from ()
        for topic, cursor in cursors.items():
            if topic in self._channels and topic not in self._leaving:  # what still comes elsewhere leaves no trace
                draft.write(records.cursor_key(topic), cursor)
        return draft.outcome()

    def leave(self, topics: Iterable[str]) -> Flow[Outcome]:
        """A session or an offer left these topics. Where no other listens, and no person may write to us, nothing is
        watched any longer. Nothing but their routes is looked at: the first of each."""
        draft = Draft()
        for topic in topics:
            channels = self._channels.get(topic)
            if channels is None or not all(channel.bare for channel in channels):
                continue
            place = records.route_key(topic, b"")[1]
            if (yield from scan("route", place, records.prefix_end(place), limit=1)):
                self._leaving.discard(topic)
                continue
            draft.remove(records.cursor_key(topic))
            draft.unheard += (topic,)
            self._leaving.add(topic)
        return draft.outcome()

    def _one_copy_less(self, draft: Draft, message_id: bytes) -> Flow[None]:
        key = records.text_key(message_id)
        row = yield from load_one(draft, key)
        if row is None:
            return
        text = records.read_text(row.value)
        if text.pending == 0:
            return
        text.pending -= 1
        draft.rely(key, row)
        draft.write(key, records.write(text))
        if text.pending == 0:
            draft.events.append(DeliveryChanged(message_id, text.peer, Delivery.STORED))

    def restore(self, row: Versioned) -> LiveSession:
        """A stored session becomes a live one."""
        stored = records.read_session(row.value)
        exchange = self.setting.by_name.get(stored.mechanism)
        if exchange is None:
            raise PluginMissing(
                f"A session over {stored.mechanism} is stored, and no such key exchange is loaded.",
                plugin=stored.mechanism,
                advice="Enable its plugin.",
            )
        return LiveSession(exchange.restore(stored.snapshot), stored.mechanism, row.revision)


def _forget_cursors(draft: Draft, heard: set[str]) -> Flow[None]:
    """How far a topic was read that nobody here hears any more: sessions had topics of their own."""
    kept = {topic.encode() for topic in heard}
    for key, _ in (yield from scan("cursor", limit=None)):
        if key[1] not in kept:
            draft.remove(key)
