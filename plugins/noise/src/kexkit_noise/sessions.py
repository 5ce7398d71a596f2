"""A session after its handshake, as core knows one: the plain or the healing value, and what surrounds it.

The initiator keeps message 3 and sends it again until something of the responder's opens. A session says goodbye with
a sealed text that nobody else could write: the digest of its transcript's id (37's private termination). The public
form, the same digest in clear, ends nothing here: every observer could say it.
"""

from __future__ import annotations

from hmac import compare_digest
from struct import Struct, error
from typing import Any, Final, NoReturn, TypeAlias
from uuid import UUID

from kexkit.api import Close, Context, Cue, Device, Due, Guarantee, Have, Hear, Plain, Step, Wants, value
from kexkit.errors import InvalidInput, KexkitError, StoreCorrupt

from kexkit_noise import limits, snapshots
from kexkit_noise import plain as plain_session
from kexkit_noise._noise import Split
from kexkit_noise.healing import HealingSession
from kexkit_noise.keys import KeyPair
from kexkit_noise.mechanisms import Mechanism
from kexkit_noise.plain import PlainSession
from kexkit_noise.statement import installation_bytes

Inner: TypeAlias = HealingSession | PlainSession
_FIXED: Final = Struct(">33s16sQB")
_FLIGHT: Final = Struct(">BQ")
_GOODBYE_BYTES: Final = 32


@value(repr=False)
class Flight:
    """Message 3, until its reader is heard."""

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
    retired: bool
    """it has sealed its last text, for its age or because nobody answered; it still receives"""
    flight: Flight | None
    hears: frozenset[Hear]
    packed: bytes
    """the head of a snapshot, which a text does not change"""

    @property
    def id(self) -> bytes:
        return self.inner.id

    @property
    def grade(self) -> Guarantee | None:
        return None if self.retired or self.inner.worn else self.mechanism.guarantees

    @property
    def due(self) -> int:
        end = self.began + limits.SESSION_MS
        if self.retired:
            return end + limits.SESSION_LINGER_MS
        return min(self.flight.due, end) if self.flight is not None else end

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
            if self.retired:
                raise InvalidInput("A session is worn out.", advice="Send in another session.")
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
            return Step(None)
        plain, after = (Plain(text, self.mechanism.guarantees),), self._heard(opened.successor, ctx.now)
        if isinstance(opened, plain_session.Opened):
            return Step(after, (), None, plain)
        return Step(after, plain=plain, keep=opened.keep, drop=opened.drop)

    def _with(self, inner: Inner, flight: Flight | None) -> Running:
        return Running(self.mechanism, self.peer, inner, self.began, self.retired, flight, self.hears, self.packed)

    def _heard(self, inner: Inner, now: int) -> Running:
        """Who is heard is there after all, so only its age retires the session."""
        if self.retired and now < self.began + limits.SESSION_MS:
            return self._marked(inner, retired=False)
        return Running(self.mechanism, self.peer, inner, self.began, self.retired, None, self.hears, self.packed)

    def _marked(self, inner: Inner, *, retired: bool) -> Running:
        packed = _head(self.mechanism, self.peer, self.began, retired)
        return Running(self.mechanism, self.peer, inner, self.began, retired, None, self.hears, packed)

    def _is_goodbye(self, text: bytes) -> bool:
        return compare_digest(text, self.inner.marker)

    # --- time ---

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        if isinstance(cue, Close):
            return self._close(ctx)
        if not isinstance(cue, Due) or ctx.now < self.due:
            return Step(self)
        if self.retired or ctx.now >= self.began + limits.SESSION_MS + limits.SESSION_LINGER_MS:
            return Step(None)
        flight = self.flight
        if flight is None or ctx.now >= self.began + limits.HANDSHAKE_MS:
            return Step(self._marked(self.inner, retired=True))
        tries = min(flight.tries + 1, len(limits.RESEND_MS) - 1)
        due = next_due(tries, now=ctx.now, began=self.began)
        again = Flight(flight.frame, flight.to, tries, due)
        return Step(self._with(self.inner, again), frames=(flight.frame,), to=flight.to)

    def _close(self, ctx: Context) -> Step:
        if self.retired or self.inner.worn:
            return Step(None)
        _, frame = self._sealed(self.inner.marker, ctx)
        return Step(None, frames=(frame,), to=self.inner.topic)


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
    hears, packed = frozenset({Hear(inner.topic)}), _head(mechanism, peer, ctx.now, False)
    return Running(mechanism, peer, inner, ctx.now, False, flight, hears, packed)


def restore(mechanism: Mechanism, parts: list[bytes]) -> Running:
    if len(parts) not in (2, 5):
        raise StoreCorrupt("A stored session has not the parts that it should have.")
    identity, installation, began, retired = unpack(_FIXED, parts[0])
    flight = None
    if len(parts) == 5:
        tries, due = unpack(_FLIGHT, parts[2])
        flight = Flight(parts[4], text(parts[3]), tries, due)
    inner: Inner = HealingSession.restore(parts[1]) if mechanism.heals else PlainSession.restore(parts[1])
    if retired > 1 or (flight is not None and flight.tries >= len(limits.RESEND_MS)):
        raise StoreCorrupt("A stored session contradicts itself.")
    peer, hears = device(identity, installation), frozenset({Hear(inner.topic)})
    packed = _head(mechanism, peer, began, bool(retired))
    return Running(mechanism, peer, inner, began, bool(retired), flight, hears, packed)


def _head(mechanism: Mechanism, peer: Device, began: int, retired: bool) -> bytes:
    fixed = _FIXED.pack(peer.identity, installation_bytes(peer.installation), began, retired)
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
    return Device(identity, str(UUID(bytes=installation)))


def text(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise StoreCorrupt("A stored session is damaged.") from None
