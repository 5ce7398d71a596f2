"""Sending: a text becomes rows and envelopes in one change set. Nothing leaves before it is committed."""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import _records as records
from kexkit._engine.chatting import Composed, move_clock
from kexkit._engine.frames import Postponed, Sealed
from kexkit._engine.peers import Person, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Moment, Outcome, load_one, scan
from kexkit._engine.sealing import seal_for
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import TopicKeys, envelopes_to, queue
from kexkit.errors import UnknownPeer
from kexkit.events import Delivery, DeliveryChanged, Waiting
from kexkit.limits import FLUSH_BATCH


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
        sealed=any(isinstance(part, Sealed) and not part.flight for part in parts),
    )
    draft.write(key, records.write(text))
    draft.write(records.order_key(peer, composed.clock, composed.message_id), b"")
    yield from move_clock(draft, peer, composed.clock)
    draft.events.append(DeliveryChanged(composed.message_id, peer, Delivery.QUEUED))
    return draft.outcome(composed.message_id)


def _dispatch(
    draft: Draft,
    person: Person,
    parts: Sequence[Sealed | Postponed],
    composed: Composed,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[int]:
    """Queue what is sealed, write down what waits and for whom. How many of both."""
    sealed = [part for part in parts if isinstance(part, Sealed)]
    envelopes = yield from envelopes_to(draft, person, sealed, setting, moment, keys)
    for envelope in envelopes:
        queue(draft, envelope, moment, composed.message_id, person.identity)
    waiting = [part for part in parts if isinstance(part, Postponed)]
    for part in waiting:
        key = records.waiting_key(person.identity, part.installation, composed.clock, composed.message_id)
        draft.write(key, b"")
        draft.events.append(Waiting(composed.message_id, person.identity, part.installation, part.reason, part.cause))
    return len(envelopes) + len(waiting)


def _copy_to_own_devices(
    draft: Draft, composed: Composed, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[None]:
    if (yield from load_one(draft, records.peer_key(setting.me.identity))) is None:
        return
    ourselves = yield from load_person(draft, setting.me.identity)
    parts = yield from seal_for(draft, ourselves, composed.wrapped, setting, moment, message_id=composed.message_id)
    sealed = [part for part in parts if isinstance(part, Sealed)]
    envelopes = yield from envelopes_to(draft, ourselves, sealed, setting, moment, keys)
    for envelope in envelopes:
        queue(draft, envelope, moment)
    for part in parts:
        if isinstance(part, Postponed):
            key = records.waiting_key(ourselves.identity, part.installation, composed.clock, composed.message_id)
            draft.write(key, b"")
    save_person(draft, ourselves)


def flush(
    draft: Draft, peer: bytes, setting: Setting, moment: Moment, keys: TopicKeys, *, after: bytes = b""
) -> Flow[bytes | None]:
    """Seal what waits for this peer, as far as it goes now: a page from there on. Where the next begins, or None."""
    prefix = records.waiting_prefix(peer)
    rows = yield from scan("waiting", max(prefix, after), records.prefix_end(prefix), limit=FLUSH_BATCH)
    if not rows:
        return None
    person = yield from load_person(draft, peer)
    for key, _ in rows:
        yield from _flush_one(draft, person, key[1], setting, moment, keys)
    save_person(draft, person)
    return rows[-1][0][1] + b"\x00" if len(rows) == FLUSH_BATCH else None


def _flush_one(
    draft: Draft, person: Person, waiting_id: bytes, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[None]:
    _, clock, message_id, installation = records.split_waiting(waiting_id)
    text_row = yield from load_one(draft, records.text_key(message_id))
    key = ("waiting", waiting_id)
    if text_row is None:
        draft.remove(key)
        return
    text = records.read_text(text_row.value)
    theirs = person.identity == text.peer  # and else a copy for another device of ours, which nobody waits for
    only = installation or None
    parts = yield from seal_for(draft, person, text.wrapped, setting, moment, only=only, message_id=message_id)
    sealed = [part for part in parts if isinstance(part, Sealed)]
    texts = [part for part in sealed if not part.flight]
    if not sealed:
        return
    envelopes = yield from envelopes_to(draft, person, sealed, setting, moment, keys)
    for envelope in envelopes:
        queue(draft, envelope, moment, message_id if theirs else b"", person.identity if theirs else b"")
    added = len(envelopes)
    if texts:
        draft.remove(key)
        added -= 1
        for part in parts:
            if isinstance(part, Postponed):
                again = records.waiting_key(person.identity, part.installation, clock, message_id)
                draft.write(again, b"")
                added += 1
    if theirs:
        draft.rely(records.text_key(message_id), text_row)
        text.pending += added
        text.sealed = text.sealed or bool(texts)
        draft.write(records.text_key(message_id), records.write(text))
