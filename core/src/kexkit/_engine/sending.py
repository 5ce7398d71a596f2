"""Sending: a text becomes rows and envelopes in one change set. Nothing leaves before it is committed."""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import _records as records
from kexkit._engine.chatting import Composed, move_clock
from kexkit._engine.frames import Postponed, Sealed
from kexkit._engine.peers import Person, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Moment, Outcome, load_one
from kexkit._engine.sealing import seal_for
from kexkit._engine.setting import Setting
from kexkit._engine.skipping import left_out, set_aside, tell
from kexkit._engine.wrapping import TopicKeys, envelopes_to, queue
from kexkit.errors import UnknownPeer
from kexkit.events import Delivery, DeliveryChanged, Waiting


def send(
    peer: bytes, composed: Composed, setting: Setting, moment: Moment, keys: TopicKeys, *, again: bool
) -> Flow[Outcome]:
    """Seal a composed text for the peer's devices, and a copy for our own."""
    draft = Draft()
    key = records.text_key(composed.message_id)
    if again and (yield from load_one(draft, key)) is not None:  # an earlier try was committed after all
        return draft.outcome(composed.message_id)
    draft.rely(key, None)
    person = yield from load_person(draft, peer)
    if person.is_new:
        raise UnknownPeer()
    parts = yield from seal_for(draft, person, composed.wrapped, setting, moment, message_id=composed.message_id)
    pending = yield from _dispatch(draft, person, parts, composed, setting, moment, keys)
    save_person(draft, person)
    if peer != setting.me.identity:
        yield from _copy_to_own_devices(draft, composed, setting, moment, keys)
    text = records.Text(
        wrapped=composed.wrapped,
        author=setting.me.identity,
        installation=setting.me.installation,
        peer=peer,
        clock=composed.clock,
        pending=pending,
        at=moment.now,
        outgoing=True,
        copies=sum(1 for part in parts if isinstance(part, Sealed) and not part.flight),
    )
    draft.write(key, records.write(text))
    draft.write(records.order_key(peer, composed.clock, composed.message_id), b"")
    yield from move_clock(draft, peer, composed.clock)
    draft.events.append(DeliveryChanged(composed.message_id, peer, Delivery.QUEUED))
    return draft.outcome(composed.message_id)


def post(
    draft: Draft,
    person: Person,
    parts: Sequence[Sealed | Postponed],
    message_id: bytes,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[int]:
    """Queue what is sealed. How many envelopes carry the text: handshakes leave before it, and are not it."""
    sealed = [part for part in parts if isinstance(part, Sealed)]
    flights = [part for part in sealed if part.flight]
    if flights:
        sealed = [part for part in sealed if not part.flight]
        for envelope in (yield from envelopes_to(draft, person, flights, setting, moment, keys)):
            queue(draft, envelope, moment)
    envelopes = yield from envelopes_to(draft, person, sealed, setting, moment, keys)
    for envelope in envelopes:
        queue(draft, envelope, moment, message_id, person.identity if message_id else b"")
    return len(envelopes)


def _dispatch(
    draft: Draft,
    person: Person,
    parts: Sequence[Sealed | Postponed],
    composed: Composed,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[int]:
    """Queue what is sealed, write down what waits and for whom. How much there is to do until all have it."""
    pending = yield from post(draft, person, parts, composed.message_id, setting, moment, keys)
    aside = left_out(draft, person, parts, setting, moment) if len(person.record.devices) > 1 else ()
    for part in parts:
        if isinstance(part, Postponed):
            key = records.waiting_key(person.identity, part.installation, composed.clock, composed.message_id)
            if part.installation in aside:
                set_aside(draft, person, key, part.installation, moment)
                continue
            pending += 1
            draft.write(key, b"")
            draft.events.append(
                Waiting(composed.message_id, person.identity, part.installation, part.reason, part.cause)
            )
    return pending


def _copy_to_own_devices(
    draft: Draft, composed: Composed, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[None]:
    """Nobody waits for those."""
    if (yield from load_one(draft, records.peer_key(setting.me.identity))) is None:
        return
    ourselves = yield from load_person(draft, setting.me.identity)
    parts = yield from seal_for(draft, ourselves, composed.wrapped, setting, moment, message_id=composed.message_id)
    yield from post(draft, ourselves, parts, b"", setting, moment, keys)
    for part in parts:
        if isinstance(part, Postponed):
            key = records.waiting_key(ourselves.identity, part.installation, composed.clock, composed.message_id)
            tell(draft, ourselves, part)
            set_aside(draft, ourselves, key, part.installation, moment)
    save_person(draft, ourselves)
