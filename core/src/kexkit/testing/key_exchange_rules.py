"""What core demands of every answer of a key exchange, checked at every call that a test makes.

The rules stand in `kexkit.api` and in docs/plugin-author/key-exchange.md. A broken one raises `ContractBroken`, whoever
made the call: the kit's own tests or an author's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, TypeVar

from kexkit.api import (
    Advert,
    Ask,
    Carriage,
    Device,
    Guarantee,
    Have,
    Hear,
    KeyExchange,
    Offer,
    Plain,
    Row,
    Session,
    Step,
    Wants,
)
from kexkit.errors import KexkitError
from kexkit.limits import WANTS_ROUNDS

T = TypeVar("T")

ROW_ID_BYTES: Final = 150
"""A drawer row's id: stores take 240, of which core needs 10 and the mechanism's name up to 80."""
TAG_BYTES: Final = 16
"""What a BARE frame starts with, and core looks it up by."""
SESSION_ID_BYTES: Final = 32


class ContractBroken(AssertionError):
    """The plugin does what the contract forbids."""


def demand(holds: object, rule: str) -> None:
    """Like assert, but it also speaks under `python -O`."""
    if not holds:
        raise ContractBroken(rule)


class Rows(Mapping[bytes, bytes | None]):
    """The rows a plugin asked for. Its repr tells ids alone: it stands among the locals of every traceback."""

    def __init__(self, rows: Mapping[bytes, bytes | None]) -> None:
        self._rows = dict(rows)

    def __getitem__(self, row: bytes) -> bytes | None:
        return self._rows[row]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Rows {sorted(row.hex() for row in self._rows)}>"


def ask(call: Callable[[Have], T | Wants], look_up: Callable[[bytes], bytes | None], draws: Callable[[], int]) -> T:
    """Call the plugin until it wants no more, as core does, and see that it asks by the rules."""
    have: dict[bytes, bytes | None] = {}
    for _ in range(WANTS_ROUNDS + 1):
        drawn = draws()
        answer = typed_errors_only(partial(call, Rows(have)))
        if not isinstance(answer, Wants):
            return answer
        demand(draws() == drawn, "it drew randomness and then wanted rows: want first, draw last")
        demand(isinstance(answer.rows, frozenset) and answer.rows, "Wants names no row, or not in a frozenset")
        demand(answer.rows.isdisjoint(have), "it wants a row that it was given: rows that it asked for stay in `have`")
        have |= {row: look_up(row) for row in answer.rows}
    raise ContractBroken(f"it still wants rows after {WANTS_ROUNDS} rounds")


def typed_errors_only(call: Callable[[], T]) -> T:
    """A plugin raises kexkit's errors and no others; what else comes out is a bug that a peer can trigger."""
    try:
        return call()
    except (KexkitError, AssertionError):
        raise
    except Exception as error:
        raise ContractBroken(
            f"it raised {type(error).__name__} ({error}); only kexkit's errors may leave it"
        ) from error


def check_step(exchange: KeyExchange, before: Session | None, step: object, now: int) -> Step:
    """A Step that core could turn into rows."""
    demand(isinstance(step, Step), f"a Step or Wants was expected, not {type(step).__name__}")
    assert isinstance(step, Step)
    bare = exchange.carriage is Carriage.BARE
    demand(isinstance(step.frames, tuple), "Step.frames is a tuple")
    for frame in step.frames:
        demand(isinstance(frame, bytes) and frame, "a frame is bytes, and not empty")
        demand(not bare or len(frame) >= TAG_BYTES, f"a BARE frame starts with its tag of {TAG_BYTES} bytes")
    demand(step.to is None or bare, "Step.to is for BARE frames only")
    demand(step.to is not None or not bare or not step.frames, "BARE frames leave without Step.to: core knows no topic")
    for plain in step.plain:
        demand(isinstance(plain, Plain) and isinstance(plain.body, bytes), "Step.plain holds Plain values")
        check_grade(exchange, plain.grade, "an opened text's grade")
    demand(all(isinstance(question, Ask) for question in step.asks), "Step.asks holds Ask values")
    demand(not step.offers or bare, "Step.offers is for BARE mechanisms: the others' offers come beside their frames")
    check_rows(step.keep, now)
    demand(not set(step.keep) & set(step.drop), "a row is both kept and dropped")
    if step.session is before and before is not None:
        demand(not step.keep and not step.drop, "Step.session is the same object, 'nothing to write', but rows change")
    elif step.session is not None:
        check_session(exchange, step.session, before)
    return step


def check_session(exchange: KeyExchange, session: Session, before: Session | None) -> None:
    demand(isinstance(session.id, bytes) and len(session.id) == SESSION_ID_BYTES, "a session's id has 32 bytes")
    demand(session.peer is None or isinstance(session.peer, Device), "a session's peer is a Device or None")
    demand(session.due is None or isinstance(session.due, int), "a session's due is milliseconds or None")
    if session.grade is not None:
        check_grade(exchange, session.grade, "a session's grade")
    hears = session.hears
    demand(isinstance(hears, frozenset) and all(isinstance(hear, Hear) for hear in hears), "hears is a set of Hear")
    demand(not hears or exchange.carriage is Carriage.BARE, "only BARE sessions hear: the others are routed by sender")
    demand(session.hears is hears, "hears is another object each time it is read: core compares with `is`")
    if before is not None:
        demand(session.id == before.id, "a session's id changed")
        demand(before.peer is None or session.peer == before.peer, "a proven peer changed")
        demand(hears is before.hears or hears != before.hears, "hears is equal, but another object than before")


def check_grade(exchange: KeyExchange, grade: object, what: str) -> None:
    demand(isinstance(grade, Guarantee), f"{what} is a Guarantee")
    assert isinstance(grade, Guarantee)
    demand(grade in exchange.guarantees, f"{what} claims {grade & ~exchange.guarantees}, the mechanism does not")


def check_rows(rows: Mapping[bytes, Row], now: int) -> None:
    for row_id, row in rows.items():
        demand(
            isinstance(row_id, bytes) and 1 <= len(row_id) <= ROW_ID_BYTES, f"a row's id has 1 to {ROW_ID_BYTES} bytes"
        )
        demand(isinstance(row, Row) and isinstance(row.value, bytes), "a kept row is a Row of bytes")
        demand(row.until is None or row.until > now, "a row is kept until a moment that has passed")


def check_offer(offer: object, now: int) -> Offer:
    demand(isinstance(offer, Offer), f"an Offer or Wants was expected, not {type(offer).__name__}")
    assert isinstance(offer, Offer)
    demand(isinstance(offer.public, bytes), "an offer's public part is bytes")
    demand(offer.renew > now, "an offer is to be renewed at a moment that has passed: core would never stop")
    check_rows(offer.keep, now)
    return offer


def check_adverts(adverts: object, maker: Device) -> tuple[Advert, ...]:
    demand(isinstance(adverts, tuple) and all(isinstance(a, Advert) for a in adverts), "read_offer gives Adverts")
    assert isinstance(adverts, tuple)
    for advert in adverts:
        demand(advert.device.identity == maker.identity, "an advert speaks for somebody else than its maker")
    return adverts


def step_facts(step: Step) -> tuple[object, ...]:
    """A step as plain values: equal facts, equal effects."""
    return (
        session_facts(step.session),
        step.frames,
        step.to,
        tuple((plain.body, plain.grade) for plain in step.plain),
        step.asks,
        step.offers,
        tuple(sorted((row_id, row.value, row.until) for row_id, row in step.keep.items())),
        tuple(sorted(step.drop)),
    )


def session_facts(session: Session | None) -> tuple[object, ...] | None:
    if session is None:
        return None
    return (session.snapshot(), session.id, session.peer, session.grade, session.due, session.hears)
