"""How core talks to a plugin: ask it until it wants no more, then turn its Step into rows. Each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from kexkit import _records as records
from kexkit._engine.inboxes import put_in_inbox
from kexkit._engine.requests import Channel, Draft, Flow, LiveSession, Moment, broken, live, load, load_one, scan
from kexkit._engine.setting import Setting
from kexkit.api import NOTHING, Ask, Have, Hear, KeyExchange, Row, Session, Step, Wants
from kexkit.errors import KexkitError, PluginError
from kexkit.events import Question
from kexkit.limits import DRAWER_ID_BYTES, WANTS_ROUNDS

T = TypeVar("T")
P = ParamSpec("P")
NOWHERE: frozenset[Hear] = frozenset()
Fetched = dict[bytes, Row]
"""Drawer rows that a plugin was shown, so that their timers can go when they go."""


class Shown(dict[bytes, bytes | None]):
    """Rows as a plugin is shown them: keys, often, that must not stand in a traceback of its."""

    def __repr__(self) -> str:
        return f"<{len(self)} rows>"


def guarded(mechanism: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """How a plugin is called. Only typed errors leave it."""
    try:
        return call(*args, **kwargs)
    except KexkitError:
        raise
    except Exception as error:
        raise _bug_of(mechanism, error) from None


def sealed_by(exchange: KeyExchange, session: LiveSession, body: bytes, moment: Moment) -> Step:
    """`guarded`, spelled out for what happens to every text."""
    try:
        return session.session.seal(body, ctx=moment.context)
    except KexkitError:
        raise
    except Exception as error:
        raise _bug_of(exchange.name, error) from None


def _written(mechanism: str, session: Session) -> bytes:
    """A session's row; `guarded`, spelled out likewise."""
    try:
        return records.drawer_prefix(mechanism) + session.snapshot()
    except KexkitError:
        raise
    except Exception as error:
        raise _bug_of(mechanism, error) from None


def _bug_of(mechanism: str, error: Exception) -> PluginError:
    """It must not look like ours, and what led to it may hold keys among its locals."""
    return PluginError(
        f"The key exchange {mechanism} raised {type(error).__name__}.",
        plugin=mechanism,
        advice="This is a bug of that plugin. Nothing changed.",
    )


def ask(draft: Draft, mechanism: str, call: Callable[[Have], T | Wants], fetched: Fetched) -> Flow[T]:
    """Call, fetch the rows it wants, call again: at most WANTS_ROUNDS times."""
    answer = guarded(mechanism, call, NOTHING)
    if not isinstance(answer, Wants):  # nearly always
        return answer
    have = Shown()
    for _ in range(WANTS_ROUNDS):
        if not isinstance(answer, Wants):
            return answer
        if not answer.rows or not answer.rows.isdisjoint(have):
            raise broken(mechanism, "it wants no row, or one twice")
        keys = {records.drawer_key(mechanism, row): row for row in answer.rows}
        found = yield from load(draft, *keys)
        for key, row in keys.items():
            stored = found.get(key)
            if stored is None:
                have[row] = None
            else:
                fetched[row] = records.read_row(stored.value)
                have[row] = fetched[row].value
        answer = guarded(mechanism, call, have)
    if isinstance(answer, Wants):
        raise broken(mechanism, f"it still wants rows after {WANTS_ROUNDS} rounds")
    return answer


def keep(draft: Draft, mechanism: str, rows: Mapping[bytes, Row], fetched: Fetched) -> None:
    for row_id, row in rows.items():
        if len(row_id) > DRAWER_ID_BYTES:
            raise broken(mechanism, f"a row's id has more than {DRAWER_ID_BYTES} bytes")
        key = records.drawer_key(mechanism, row_id)
        draft.write(key, records.write_row(row))
        before = fetched.get(row_id)
        if before is not None and before.until is not None and before.until != row.until:
            draft.remove(records.timer_key(before.until, records.Timer.DRAWER_EXPIRY, key[1]))
        if row.until is not None:
            draft.write(records.timer_key(row.until, records.Timer.DRAWER_EXPIRY, key[1]), b"")


def discard(draft: Draft, mechanism: str, rows: tuple[bytes, ...], fetched: Fetched) -> None:
    """A row that goes early takes its timer along if its `until` is known; else the timer finds nothing to do."""
    for row_id in rows:
        key = records.drawer_key(mechanism, row_id)
        draft.remove(key)
        before = fetched.get(row_id)
        if before is not None and before.until is not None:
            draft.remove(records.timer_key(before.until, records.Timer.DRAWER_EXPIRY, key[1]))


def take(
    draft: Draft, exchange: KeyExchange, before: LiveSession | None, step: Step, fetched: Fetched, moment: Moment
) -> LiveSession | None:
    """A Step becomes rows: the successor, its drawer rows, its timer. The caller keeps its place in `peer`."""
    mechanism = exchange.name
    if step.keep:
        keep(draft, mechanism, step.keep, fetched)
    if step.drop:
        discard(draft, mechanism, step.drop, fetched)
    after = step.session
    if after is None:
        if before is not None:
            end(draft, mechanism, before, moment)
        return None
    if step.asks:
        for question in step.asks:
            _put_question(draft, question, after, moment)
    if before is None:
        return _begin(draft, mechanism, after)
    was, session_id = before.session, after.id
    if session_id != was.id:
        raise broken(mechanism, "a session's successor has another id")
    key = records.session_key(session_id)
    relied = draft.given.setdefault(key, before.revision)
    if after is was:
        return before
    draft.put[key] = _written(mechanism, after)
    due, hears = after.due, after.hears
    if due != was.due:
        _retime(draft, was.due, after)
    if hears is not was.hears:
        rehear(draft, was.hears, hears, mechanism, session_id=session_id)
    successor = draft.sessions[session_id] = LiveSession(after, mechanism, relied + 1)
    return successor


def _begin(draft: Draft, mechanism: str, session: Session) -> LiveSession:
    session_id = session.id
    key = records.session_key(session_id)
    relied = draft.given.setdefault(key, 0)
    draft.put[key] = _written(mechanism, session)
    _retime(draft, None, session)
    rehear(draft, NOWHERE, session.hears, mechanism, session_id=session_id)
    successor = draft.sessions[session_id] = LiveSession(session, mechanism, relied + 1)
    return successor


def _put_question(draft: Draft, ask: Ask, session: Session, moment: Moment) -> None:
    """It stands in the inbox until a person has answered, over restarts too."""
    peer = session.peer
    question = records.Question(
        session=session.id, peer=peer.identity if peer is not None else b"", kind=ask.kind, text=ask.text
    )
    receipt = put_in_inbox(draft, records.Inbox(question=question, mark=session.id), moment)
    draft.events.append(question_event(receipt, question))


def question_event(receipt: bytes, stored: records.Question) -> Question:
    return Question(receipt, stored.session, stored.peer or None, stored.kind, stored.text)


def rehear(
    draft: Draft,
    before: frozenset[Hear],
    after: frozenset[Hear],
    mechanism: str,
    *,
    session_id: bytes = b"",
    offer: bytes = b"",
) -> None:
    """Where BARE frames turn up becomes route rows. A place has one owner: a new one must be absent. Whether a topic is
    left to nobody is looked at after the commit."""
    if before is after:
        return
    if before:
        gone_from = {place.topic for place in before}
        gone_from.difference_update(place.topic for place in after)
        draft.left += tuple(gone_from)
    for gone in before - after:
        draft.remove(records.route_key(gone.topic, gone.tag))
    for new in after - before:
        key = records.route_key(new.topic, new.tag)
        draft.given[key] = 0
        route = records.Route(topic=new.topic, mechanism=mechanism, session=session_id, offer=offer)
        draft.write(key, records.write(route))
        draft.channels.append(Channel(new.topic, "", symmetric=False, bare=True))


def _retime(draft: Draft, was: int | None, after: Session) -> None:
    """`due` of the value becomes a timer row in the same commit."""
    if was is not None:
        draft.remove(records.timer_key(was, records.Timer.SESSION_DUE, after.id))
    if after.due is not None:
        draft.write(records.timer_key(after.due, records.Timer.SESSION_DUE, after.id), b"")


def end(draft: Draft, mechanism: str, session: LiveSession, moment: Moment) -> None:
    """The session is over: its row goes now, its drawer rows by a timer, in bounded portions."""
    session_id = session.session.id
    draft.given.setdefault(records.session_key(session_id), session.revision)
    rehear(draft, session.session.hears, NOWHERE, mechanism)
    if session.session.due is not None:
        draft.remove(records.timer_key(session.session.due, records.Timer.SESSION_DUE, session_id))
    _clear(draft, mechanism, session_id, moment)


def end_stored(draft: Draft, session_id: bytes, setting: Setting, moment: Moment) -> Flow[None]:
    """The same for a session whose plugin may be gone: what nobody can read any more is in nobody's way."""
    key = records.session_key(session_id)
    row = yield from load_one(draft, key)
    if row is None:
        return
    mechanism = records.read_session(row.value).mechanism
    if mechanism in setting.by_name:
        session = yield from live(draft, session_id)
        if session is not None:
            end(draft, mechanism, session, moment)
        return
    draft.rely(key, row)
    for place, row in (yield from scan("route", limit=None)):
        route = records.read_route(row.value)
        if route.session == session_id:
            draft.remove(place)
            draft.left += (route.topic,)
    _clear(draft, mechanism, session_id, moment)


def _clear(draft: Draft, mechanism: str, session_id: bytes, moment: Moment) -> None:
    draft.remove(records.session_key(session_id))
    draft.remove(records.place_key(session_id))
    draft.remove(records.confirm_key(session_id))
    draft.write(records.timer_key(moment.now, records.Timer.PURGE_UNCONFIRMED, session_id), b"")
    draft.sessions[session_id] = None
    owned = records.drawer_key(mechanism, session_id)[1]
    draft.write(records.timer_key(moment.now, records.Timer.PURGE_DRAWER, owned), b"")
