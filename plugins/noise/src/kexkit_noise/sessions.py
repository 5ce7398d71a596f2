"""A session after its handshake, as core knows one: the plain or the healing value, and what surrounds it.

The initiator keeps message 3 and sends it again until something of the responder's opens. A session says goodbye with
a sealed text that nobody else could write: the digest of its transcript's id (37's private termination). The public
form, the same digest in clear, ends nothing here: every observer could say it.

Whoever has said goodbye hears on until the other has, too, and answers each text with the same goodbye, in measure: so
neither end goes on alone. A goodbye is the last that its end seals. So once both have said theirs, all that can still
come is what the other's overtook; and where nothing is missing, the session is over at once.
"""

from __future__ import annotations

from enum import IntEnum
from hmac import compare_digest
from struct import Struct, error
from typing import Any, Final, NoReturn, TypeAlias
from uuid import UUID

from kexkit.api import Close, Context, Cue, Device, Due, Guarantee, Have, Hear, Plain, Step, Wants, value
from kexkit.errors import InvalidInput, KexkitError, StoreCorrupt

from kexkit_noise import healing, limits, snapshots
from kexkit_noise import plain as plain_session
from kexkit_noise._noise import Split
from kexkit_noise.healing import HealingSession
from kexkit_noise.keys import KeyPair
from kexkit_noise.mechanisms import Mechanism
from kexkit_noise.plain import PlainSession
from kexkit_noise.statement import installation_bytes

Inner: TypeAlias = HealingSession | PlainSession
Opened: TypeAlias = healing.Opened | plain_session.Opened
_FIXED: Final = Struct(">33s16sQB")
_FLIGHT: Final = Struct(">BQ")
_GOODBYE_BYTES: Final = 32
_TRIES: Final = len(limits.RESEND_MS)
"""of both kinds of flight: a stored one does not say which it is"""


class Phase(IntEnum):
    """Stored as its number: never renumber."""

    SPEAKS = 0
    RETIRED = 1
    """it has sealed its last text, for its age or because nobody answered; it still receives"""
    ENDED = 2
    """we have said goodbye, and have not heard the peer's"""
    PARTED = 3
    """the peer has said goodbye, and some of what it said before is still on its way"""


_SPEAKS: Final = Phase.SPEAKS


@value(repr=False)
class Flight:
    """Message 3, until its reader is heard; or our goodbye, until the peer's is."""

    frame: bytes
    to: str
    tries: int
    due: int


@value(eq=False, repr=False)
class Running:
    """Both ends are proven."""

    mechanism: Mechanism
    peer: Device
    inner: Inner
    began: int
    """or, from a goodbye on, when that was"""
    phase: Phase
    flight: Flight | None
    hears: frozenset[Hear]
    packed: bytes
    """the head of a snapshot, which a text does not change"""

    @property
    def id(self) -> bytes:
        return self.inner.id

    @property
    def grade(self) -> Guarantee | None:
        return None if self.phase is not _SPEAKS or self.inner.worn else self.mechanism.guarantees

    @property
    def due(self) -> int:
        flight, phase = self.flight, self.phase
        if phase is Phase.RETIRED:
            return self.began + limits.SESSION_MS + limits.SESSION_LINGER_MS
        end = self.began + (limits.SESSION_MS if phase is _SPEAKS else limits.SESSION_LINGER_MS)
        return min(flight.due, end) if flight is not None else end

    def __repr__(self) -> str:
        return f"<Running {self.inner.id.hex()[:16]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled; store snapshot() where secrets are kept")

    def snapshot(self) -> bytes:
        """Of constant size from the moment when the initiator hears the responder."""
        inner, flight = self.inner.snapshot(), self.flight
        if flight is None:
            return snapshots.closed(self.packed, inner)
        parts = _FLIGHT.pack(flight.tries, flight.due), flight.to.encode(), flight.frame
        return snapshots.closed(self.packed, inner, *parts)

    # --- texts ---

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        try:
            if self.phase is not _SPEAKS:
                raise InvalidInput("A session is worn out, or over.", advice="Send in another session.")
            if len(plaintext) == _GOODBYE_BYTES and self._is_goodbye(plaintext):
                raise InvalidInput("A text reads like the end of its session.")
            inner, frame = self._sealed(plaintext, ctx)
        except KexkitError as problem:  # its traceback has text and keys among its locals
            del plaintext
            raise problem.with_traceback(None) from None
        return Step(self._with(inner, self.flight), (frame,), inner.topic)

    def _sealed(self, plaintext: bytes, ctx: Context) -> tuple[Inner, bytes]:
        inner = self.inner
        return inner.seal(plaintext) if isinstance(inner, PlainSession) else inner.seal(plaintext, ctx.rng)

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        inner = self.inner
        try:
            opened = inner.open(frame) if isinstance(inner, PlainSession) else inner.open(frame, have, now=ctx.now)
        except KexkitError as refusal:
            raise refusal.with_traceback(None) from None
        if isinstance(opened, Wants):
            return opened
        text = opened.plaintext
        if len(text) == _GOODBYE_BYTES and self._is_goodbye(text):
            return self._parted(opened, ctx)
        plain = (Plain(text, self.mechanism.guarantees),)
        if self.phase >= Phase.ENDED:
            return self._heard_late(opened, plain, ctx)
        after = self._heard(opened.successor, ctx.now)
        if isinstance(opened, plain_session.Opened):
            return Step(after, (), None, plain)
        return Step(after, plain=plain, keep=opened.keep, drop=opened.drop)

    def _with(self, inner: Inner, flight: Flight | None) -> Running:
        return Running(self.mechanism, self.peer, inner, self.began, self.phase, flight, self.hears, self.packed)

    def _heard(self, inner: Inner, now: int) -> Running:
        """Who is heard is there after all, so only its age retires the session."""
        if self.phase is Phase.RETIRED and now < self.began + limits.SESSION_MS:
            return self._marked(inner, Phase.SPEAKS, self.began)
        return Running(self.mechanism, self.peer, inner, self.began, self.phase, None, self.hears, self.packed)

    def _marked(self, inner: Inner, phase: Phase, began: int, flight: Flight | None = None) -> Running:
        packed = _head(self.mechanism, self.peer, began, phase)
        return Running(self.mechanism, self.peer, inner, began, phase, flight, self.hears, packed)

    # --- the end ---

    def _close(self, ctx: Context) -> Step:
        """The keys of a session of which nobody knows that it is over would be missed."""
        if self.phase >= Phase.ENDED:
            return Step(self)
        inner, goodbye = self._farewell(ctx)
        after = self._marked(inner, Phase.ENDED, ctx.now, goodbye)
        return Step(after, *_said(goodbye))

    def _farewell(self, ctx: Context) -> tuple[Inner, Flight | None]:
        inner = self.inner
        said = inner.farewell() if isinstance(inner, PlainSession) else inner.farewell(ctx.rng)
        if said is None:
            return inner, None
        return said[0], Flight(said[1], inner.topic, 0, ctx.now + limits.GOODBYE_MS[0])

    def _parted(self, opened: Opened, ctx: Context) -> Step:
        """Their goodbye. Ours, if they have not had it, is the answer, so that they say theirs no more."""
        after, goodbye = self._with(opened.successor, None), None
        if self.phase < Phase.ENDED:
            inner, goodbye = after._farewell(ctx)
            after = self._marked(inner, Phase.ENDED, ctx.now)
        return _all_that_is_missing(after, opened, (), goodbye)

    def _heard_late(self, opened: Opened, plain: tuple[Plain, ...], ctx: Context) -> Step:
        """A text after the end. If we have not heard their goodbye, they may not have heard ours."""
        inner, flight, goodbye = opened.successor, self.flight, None
        if self.phase is Phase.PARTED:
            return _all_that_is_missing(self._with(inner, None), opened, plain, None)
        if flight is None:  # there was no place for it, until this came
            inner, flight = self._with(inner, None)._farewell(ctx)
            goodbye = flight
        else:
            inner = inner if isinstance(inner, PlainSession) else inner.silenced()
            pause = limits.GOODBYE_MS[flight.tries]
            if not 0 <= ctx.now - (flight.due - pause) < limits.GOODBYE_GAP_MS:
                goodbye = flight = Flight(flight.frame, flight.to, flight.tries, ctx.now + pause)
        return _step(self._with(inner, flight), opened, plain, goodbye)

    def _is_goodbye(self, text: bytes) -> bool:
        return compare_digest(text, self.inner.marker)

    # --- time ---

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        if isinstance(cue, Close):
            return self._close(ctx)
        if not isinstance(cue, Due) or ctx.now < self.due:
            return Step(self)
        flight = self.flight
        if self.phase >= Phase.ENDED:
            if flight is None or ctx.now >= self.began + limits.SESSION_LINGER_MS:
                return Step(None)
            return self._again(flight, ctx.now + limits.GOODBYE_MS[_next(flight)])
        if self.phase is Phase.RETIRED or ctx.now >= self.began + limits.SESSION_MS + limits.SESSION_LINGER_MS:
            return Step(None)
        if flight is None or ctx.now >= self.began + limits.HANDSHAKE_MS:
            return Step(self._marked(self.inner, Phase.RETIRED, self.began))
        return self._again(flight, next_due(_next(flight), now=ctx.now, began=self.began))

    def _again(self, flight: Flight, due: int) -> Step:
        again = Flight(flight.frame, flight.to, _next(flight), due)
        return Step(self._with(self.inner, again), frames=(flight.frame,), to=flight.to)


def _next(flight: Flight) -> int:
    return min(flight.tries + 1, _TRIES - 1)


def _said(goodbye: Flight | None) -> tuple[tuple[bytes, ...], str | None]:
    """Frames, and where they go."""
    return ((goodbye.frame,), goodbye.to) if goodbye is not None else ((), None)


def _step(after: Running | None, opened: Opened, plain: tuple[Plain, ...], goodbye: Flight | None) -> Step:
    frames, to = _said(goodbye)
    if isinstance(opened, plain_session.Opened):
        return Step(after, frames, to, plain)
    return Step(after, frames, to, plain, keep=opened.keep, drop=opened.drop)


def _all_that_is_missing(before: Running, opened: Opened, plain: tuple[Plain, ...], goodbye: Flight | None) -> Step:
    """Both have said goodbye: it is over, or goes on for what was overtaken, and for nothing else."""
    left = before.inner.parted()
    if left is None:
        frames, to = _said(goodbye)
        return Step(None, frames, to, plain)
    return _step(before._marked(left, Phase.PARTED, before.began), opened, plain, goodbye)


def begin(
    mechanism: Mechanism,
    session_id: bytes,
    peer: Device,
    split: Split,
    *,
    initiator: bool,
    own: KeyPair | None,
    theirs: bytes,
    flight: Flight | None,
    ctx: Context,
) -> Running:
    """After message 3. `own`, `theirs`: the ratchet keys of messages 2 and 3, if it heals."""
    inner: Inner
    if own is not None:
        inner = HealingSession.begin(split, session=session_id, initiator=initiator, own=own, peer=theirs)
    else:
        inner = PlainSession.begin(split, session=session_id, initiator=initiator)
    hears, packed = frozenset({Hear(inner.topic)}), _head(mechanism, peer, ctx.now, Phase.SPEAKS)
    return Running(mechanism, peer, inner, ctx.now, Phase.SPEAKS, flight, hears, packed)


def restore(mechanism: Mechanism, parts: list[bytes]) -> Running:
    if len(parts) not in (2, 5):
        raise StoreCorrupt("A stored session has not the parts that it should have.")
    identity, installation, began, phase = unpack(_FIXED, parts[0])
    flight = None
    if len(parts) == 5:
        tries, due = unpack(_FLIGHT, parts[2])
        flight = Flight(parts[4], text(parts[3]), tries, due)
    inner: Inner = HealingSession.restore(parts[1]) if mechanism.heals else PlainSession.restore(parts[1])
    if phase > Phase.PARTED or (flight is not None and flight.tries >= _TRIES):
        raise StoreCorrupt("A stored session contradicts itself.")
    peer, hears = device(identity, installation), frozenset({Hear(inner.topic)})
    packed = _head(mechanism, peer, began, Phase(phase))
    return Running(mechanism, peer, inner, began, Phase(phase), flight, hears, packed)


def _head(mechanism: Mechanism, peer: Device, began: int, phase: Phase) -> bytes:
    fixed = _FIXED.pack(peer.identity, installation_bytes(peer.installation), began, phase)
    return snapshots.head(snapshots.RUNNING, mechanism.protocol_id, fixed)


def next_due(tries: int, *, now: int, began: int) -> int:
    """When a flight leaves again, or is given up."""
    return min(now + limits.RESEND_MS[tries], began + limits.HANDSHAKE_MS)


# --- reading what was stored -----------------------------------------------------------------------------------------


def unpack(struct: Struct, raw: bytes) -> tuple[Any, ...]:
    try:
        return struct.unpack(raw)
    except error:
        raise StoreCorrupt("A stored session is damaged.") from None


def device(identity: bytes, installation: bytes) -> Device:
    uuid = UUID(bytes=installation)
    if uuid.version != 4:  # installation_bytes() writes no others
        raise StoreCorrupt("A stored session is damaged.")
    return Device(identity, str(uuid))


def text(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise StoreCorrupt("A stored session is damaged.") from None
