"""A wall clock that was ahead, and is set right: what was planned by it shall not wait until that time comes.

Work that is only late to delete something stays where it is: how much is kept meanwhile is bounded by number.
"""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.drawer import end_stored
from kexkit._engine.negotiating import DAY_MS
from kexkit._engine.peers import Person, awaken, save_person
from kexkit._engine.requests import Draft, Flow, Moment, live, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._transitions import State
from kexkit.limits import ADVERTISE_EVERY_MS, CLOCK_BACK_MS

PERIODS = {records.Timer.PURGE_SEEN: DAY_MS, records.Timer.ADVERTISE: ADVERTISE_EVERY_MS}
"""regular work, and how far ahead it is planned at most: one timer of a kind counts"""
_AGAIN = frozenset(
    {
        records.Timer.FLUSH,
        records.Timer.RETRY_HELD,
        records.Timer.PURGE_DRAWER,
        records.Timer.CONFIRM,
        records.Timer.QUIET,
        records.Timer.PURGE_UNCONFIRMED,
        records.Timer.REQUEUE,
        records.Timer.SAY_AGAIN,
    }
)
"""kinds that look whether there is anything to do: once more does no harm"""


def is_planned(draft: Draft, kind: int, moment: Moment) -> Flow[bool]:
    """While a policy forbids it, regular work drops out of the plan; and what is planned too far ahead, is not."""
    due = yield from _planned_for(draft, kind)
    if due is None or due > moment.now + PERIODS[kind]:
        return False
    return (yield from load_one(draft, records.timer_key(due, kind))) is not None


def was_ahead(draft: Draft, moment: Moment) -> Flow[bool]:
    """Regular work stands in the plan as no clock that is right would have put it there."""
    for kind, period in PERIODS.items():
        due = yield from _planned_for(draft, kind)
        if due is not None and due > moment.now + period:
            return True
    return False


def _planned_for(draft: Draft, kind: int) -> Flow[int | None]:
    row = yield from load_one(draft, records.plan_key(kind))
    return int.from_bytes(row.value, "big") if row is not None else None


def set_right(draft: Draft, setting: Setting, moment: Moment) -> Flow[None]:
    """Look now at what the timers that lie ahead are for, and let nobody wait for a time that was never true."""
    first = records.timer_key(moment.now + CLOCK_BACK_MS, 0)[1]
    for key, _ in (yield from scan("timer", first, limit=None)):
        _, kind, reference = records.split_timer(key[1])
        if kind in _AGAIN:
            draft.write(records.timer_key(moment.now, kind, reference), b"")
    for key, row in (yield from scan("peer", limit=None)):
        person = Person(key[1], row, records.read_peer(row.value))
        for device in person.record.devices:
            for ref in list(device.sessions):
                yield from _set_right(draft, person, device, ref, setting, moment)
        if person.changed:
            save_person(draft, person)
            awaken(draft, person.identity, moment)


def _set_right(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    ref: records.SessionRef,
    setting: Setting,
    moment: Moment,
) -> Flow[None]:
    """A handshake that we began would say nothing more until then: another begins. Perhaps it is now that the clock is
    wrong, as at a start without one, so what it showed before is kept beside."""
    if max(ref.since, ref.asked) > moment.now:
        if ref.since > moment.now:
            ref.ahead = max(ref.ahead, ref.since)
        ref.since = min(ref.since, moment.now)
        ref.asked = min(ref.asked, moment.now)
        person.changed = True
    if not ref.ours or State(ref.state) is not State.OPENING or ref.mechanism not in setting.by_name:
        return
    session = yield from live(draft, ref.id)
    if session is not None and (session.session.due or 0) > moment.now + DAY_MS:
        yield from end_stored(draft, ref.id, setting, moment)
        device.sessions.remove(ref)
        person.changed = True
