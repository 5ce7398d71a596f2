"""Time: every timer is a row, and `tick` works off those that are due."""

from __future__ import annotations

from collections.abc import Callable

from kexkit import _records as records
from kexkit._engine.bare import cue_session, expire_half
from kexkit._engine.clocks import PERIODS
from kexkit._engine.flushing import flush
from kexkit._engine.lingering import confirm_again, end_if_quiet, purge_unconfirmed, requeue
from kexkit._engine.negotiating import DAY_MS
from kexkit._engine.offering import advertise, forget_offered, plan, renew, tell_offer
from kexkit._engine.parting import say_again
from kexkit._engine.peers import awaken
from kexkit._engine.receiving import expire_held, retry_held
from kexkit._engine.requests import Channel, Draft, Flow, Moment, Outcome, live, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.skipping import expire_aside
from kexkit._engine.withholding import expire_withheld
from kexkit._engine.wrapping import TopicKeys
from kexkit.api import Due
from kexkit.limits import ADVERTISE_EVERY_MS, PURGE_BATCH, SEEN_DAYS, TIMER_RETRY_MS

NEGOTIATIONS = frozenset(
    {
        records.Timer.OFFER_EXPIRY,
        records.Timer.CONFIRM,
        records.Timer.QUIET,
        records.Timer.PURGE_UNCONFIRMED,
        records.Timer.WITHHELD_EXPIRY,
        records.Timer.REQUEUE,
        records.Timer.SAY_AGAIN,
    }
)


def tick(
    setting: Setting, moment: Moment, keys: TopicKeys, channels_of: Callable[[str], tuple[Channel, ...]]
) -> Flow[Outcome]:
    """Work off the first due timer. `result`: when to come again, in milliseconds; None: nothing is planned."""
    rows = yield from scan("timer", limit=1)
    if not rows:
        return Draft().outcome(None)
    key, _ = rows[0]
    due, kind, reference = records.split_timer(key[1])
    if due > moment.now:
        return Draft().outcome(due)
    draft = Draft()
    if kind == records.Timer.DRAWER_EXPIRY:
        yield from _expire_all(draft, moment)
        return draft.outcome(moment.now)
    if kind not in PERIODS or (yield from _is_due(draft, kind, due)):
        yield from _work_off(draft, due, kind, reference, setting, moment, keys, channels_of)
    if key not in draft.put:
        draft.remove(key)
    return draft.outcome(moment.now)


def put_off(moment: Moment) -> Flow[Outcome]:
    rows = yield from scan("timer", limit=1)
    draft = Draft()
    for key, _ in rows:
        due, kind, reference = records.split_timer(key[1])
        if due <= moment.now:
            draft.remove(key)
            if kind in PERIODS:
                plan(draft, kind, moment.now + TIMER_RETRY_MS)
            else:
                draft.write(records.timer_key(moment.now + TIMER_RETRY_MS, kind, reference), b"")
    return draft.outcome()


def _work_off(
    draft: Draft,
    due: int,
    kind: int,
    reference: bytes,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
    channels_of: Callable[[str], tuple[Channel, ...]],
) -> Flow[None]:
    later = moment.now + 1
    if kind == records.Timer.SESSION_DUE:
        yield from _session_due(draft, reference, setting, moment, keys)
    elif kind == records.Timer.DRAWER_EXPIRY:
        yield from _expire(draft, ("drawer", reference), moment)
    elif kind == records.Timer.OFFER_RENEWAL:
        yield from renew(draft, setting, moment)
    elif kind == records.Timer.FLUSH:
        after = yield from flush(draft, reference[: records.IDENTITY_BYTES], setting, moment, keys, after=reference)
        if after is not None:
            draft.write(records.timer_key(later, kind, after), b"")
    elif kind == records.Timer.RETRY_HELD:
        further = yield from retry_held(
            draft, reference[: records.IDENTITY_BYTES], channels_of, setting, moment, keys, after=reference
        )
        if further is not None:
            draft.write(records.timer_key(later, kind, further), b"")
    elif kind == records.Timer.PURGE_DRAWER:
        yield from _purge(draft, "drawer", reference, kind, moment)
    elif kind == records.Timer.PURGE_SEEN:
        yield from _purge_seen(draft, moment)
    elif kind == records.Timer.HALF_EXPIRY:
        yield from expire_half(draft, reference, setting, moment)
    elif kind == records.Timer.HELD_EXPIRY:
        yield from expire_held(draft, reference)
    elif kind == records.Timer.ASIDE_EXPIRY:
        yield from expire_aside(draft, reference, moment)
    elif kind in NEGOTIATIONS:
        yield from _negotiate(draft, due, kind, reference, setting, moment, keys)
    elif kind == records.Timer.ADVERTISE and setting.policy.advertise:
        yield from renew(draft, setting, moment)  # after a long sleep both are due: others wait for the new one
        yield from advertise(draft, setting, moment, keys)
        plan(draft, kind, moment.now + ADVERTISE_EVERY_MS)
    elif kind == records.Timer.TELL_OFFER:
        after = yield from tell_offer(draft, setting, moment, keys, after=reference)
        if after is not None:
            draft.write(records.timer_key(later, kind, after), b"")


def _negotiate(
    draft: Draft, due: int, kind: int, reference: bytes, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[None]:
    if kind == records.Timer.OFFER_EXPIRY:
        yield from forget_offered(draft, reference, setting)
    elif kind == records.Timer.CONFIRM:
        yield from confirm_again(draft, reference, setting, moment, keys)
    elif kind == records.Timer.QUIET:
        yield from end_if_quiet(draft, reference, setting, moment, due=due)
    elif kind == records.Timer.WITHHELD_EXPIRY:
        yield from expire_withheld(draft, reference)
    elif kind == records.Timer.REQUEUE:
        yield from requeue(draft, reference, moment)
    elif kind == records.Timer.SAY_AGAIN:
        yield from say_again(draft, reference, setting, moment)
    else:
        yield from purge_unconfirmed(draft, reference, moment)


def _session_due(draft: Draft, session_id: bytes, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    session = yield from live(draft, session_id)
    if session is None or session.session.due is None or session.session.due > moment.now:
        return
    place = yield from load_one(draft, records.place_key(session_id))
    yield from cue_session(draft, session_id, Due(), setting, moment, keys)
    if place is not None:  # texts may have waited for this
        awaken(draft, records.read_place(place.value).identity, moment)


def _is_due(draft: Draft, kind: int, due: int) -> Flow[bool]:
    row = yield from load_one(draft, records.plan_key(kind))
    return row is None or int.from_bytes(row.value, "big") == due


def _expire_all(draft: Draft, moment: Moment) -> Flow[None]:
    """Drawer rows expire by the hundred, and no other timer shall wait for each of their commits."""
    rows = yield from scan("timer", stop=records.timer_key(moment.now + 1, 0)[1], limit=PURGE_BATCH)
    for key, _ in rows:
        _, kind, reference = records.split_timer(key[1])
        if kind == records.Timer.DRAWER_EXPIRY:
            draft.remove(key)
            yield from _expire(draft, ("drawer", reference), moment)


def _expire(draft: Draft, key: tuple[str, bytes], moment: Moment) -> Flow[None]:
    """Delete a drawer row whose time has come, unless it was kept again for longer."""
    row = yield from load_one(draft, key)
    if row is None:
        return
    until = records.read_row(row.value).until
    if until is not None and until <= moment.now:
        draft.rely(key, row)
        draft.remove(key)


def _purge(draft: Draft, table: str, prefix: bytes, kind: int, moment: Moment) -> Flow[None]:
    rows = yield from scan(table, prefix, records.prefix_end(prefix), limit=PURGE_BATCH)
    for key, row in rows:
        draft.remove(key)
        until = records.read_row(row.value).until
        if until is not None:
            draft.remove(records.timer_key(until, records.Timer.DRAWER_EXPIRY, key[1]))
    if len(rows) == PURGE_BATCH:
        draft.write(records.timer_key(moment.now + 1, kind, prefix), b"")


def _purge_seen(draft: Draft, moment: Moment) -> Flow[None]:
    """Hashes of envelopes of days long past; then again tomorrow."""
    first_kept = max(moment.now // DAY_MS - SEEN_DAYS, 0)
    rows = yield from scan("seen", b"", first_kept.to_bytes(4, "big"), limit=PURGE_BATCH)
    for key, _ in rows:
        draft.remove(key)
    again = moment.now + (1 if len(rows) == PURGE_BATCH else DAY_MS)
    plan(draft, records.Timer.PURGE_SEEN, again)
