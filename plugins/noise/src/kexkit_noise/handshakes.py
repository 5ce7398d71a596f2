"""A handshake as a session that cannot seal yet: three messages, and what each side keeps between them.

    1  I -> R   tag of the offer   opening.to          empty; in K1K1 the initiator's statement, in clear
    2  R -> I   second_tag         handshake topic     ratchet key of R, statement of R where its static is sent
    3  I -> R   third_tag          handshake topic     ratchet key of I, statement of I unless message 1 said it

Texts are never in them. Whatever is refused leaves the value as it was, so a forged message is followed by the genuine
one. The initiator repeats message 1 until it is answered; the responder repeats message 2 when message 1 comes again,
and by no clock of its own: who replays message 1 gets no more than they send.

Randomness is drawn in this order: `call`: the 32 bytes of the ephemeral key; `answer`: the ephemeral key, then (if it
heals) the ratchet key; the initiator's `receive` of message 2: the ratchet key, if it heals. Nothing else draws any.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from struct import Struct
from typing import Final, NoReturn

from attrs import evolve
from kexkit.api import Answer, Close, Context, Cue, Device, Guarantee, Have, Hear, Opening, Row, Step, Wants, value
from kexkit.errors import (
    Forged,
    InvalidInput,
    KexkitError,
    Limit,
    Malformed,
    NoOffer,
    NotMine,
    StoreCorrupt,
)

from kexkit_noise import limits, mechanisms, offers, payload, sessions, snapshots, statement
from kexkit_noise._noise import Handshake, Keys
from kexkit_noise.keys import KEY_BYTES, KeyPair, key_pair, same_point
from kexkit_noise.mechanisms import HINT_ID, Mechanism
from kexkit_noise.offers import OwnStatic
from kexkit_noise.payload import NAMETAG_BYTES, PayloadV2
from kexkit_noise.statement import Statement

_CALLING: Final = Struct(">32s33s16s112s162s16sQBQ")
_ANSWERING: Final = Struct(">32s32s16s32sQQ")


class _Handshaking:
    """What both sides have in common: nothing to seal with, and little to be asked."""

    __slots__ = ()

    grade: Guarantee | None = None

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        del plaintext  # or the traceback would show it
        raise InvalidInput("The handshake is under way: nothing can be sealed yet.")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled; store snapshot() where secrets are kept")


# --- the initiator ----------------------------------------------------------------------------------------------------


@value(eq=False, repr=False)
class Calling(_Handshaking):
    """Message 1 is on its way."""

    mechanism: Mechanism
    id: bytes
    peer: Device
    answered: bytes
    """the public bytes of the offer that message 1 answers"""
    stated: bytes
    """the statement about our static"""
    tag: bytes
    """of message 2"""
    began: int
    tries: int
    due: int
    to: str
    frame: bytes
    state: Handshake
    hears: frozenset[Hear]

    def __repr__(self) -> str:
        return f"<Calling {self.id.hex()[:16]}…>"

    def snapshot(self) -> bytes:
        device = self.peer
        fixed = _CALLING.pack(
            self.id,
            device.identity,
            statement.installation_bytes(device.installation),
            self.answered,
            self.stated,
            self.tag,
            self.began,
            self.tries,
            self.due,
        )
        to = self.to.encode()
        return snapshots.write(
            snapshots.CALLING, self.mechanism.protocol_id, fixed, to, self.frame, self.state.encode()
        )

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        if isinstance(cue, Close) or ctx.now >= self.began + limits.HANDSHAKE_MS:
            return Step(None)
        if isinstance(cue, Answer) or ctx.now < self.due:
            return Step(self)
        tries = min(self.tries + 1, len(limits.RESEND_MS) - 1)
        due = sessions.next_due(tries, now=ctx.now, began=self.began)
        return Step(evolve(self, tries=tries, due=due), frames=(self.frame,), to=self.to)

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        try:
            return self._receive(frame, have, ctx)
        except KexkitError as refusal:  # the traceback of the inside has keys among its locals, here and below
            raise refusal.with_traceback(None) from None

    def _receive(self, frame: bytes, have: Have, ctx: Context) -> Step | Wants:
        if frame[:NAMETAG_BYTES] != self.tag:
            raise NotMine("A frame of another handshake.")
        second = payload.decode(frame, self.mechanism.protocol_id, HINT_ID)
        if second.protocol_id == HINT_ID:
            return self._hinted(second)
        got = self.state.read(second.fields, second.transport, self.tag)
        ratchet, raw = self.mechanism.read_payload(got.payload, stated=not self.mechanism.offer_says_static)
        stated = self._responder(got.state, raw, ctx)
        row = statement.pin_row(self.peer)
        if row not in have:
            return Wants(frozenset((row,)))
        statement.check_pin(stated, have[row])
        step = self._third(got.state, ratchet, ctx)
        return Step(step.session, step.frames, step.to, keep={row: _pin(stated)})

    def _hinted(self, hint: PayloadV2) -> Step:
        """'That offer is outdated; this is the present one.' Anybody could say it: core checks who signed it."""
        if hint.fields or not hint.transport:
            raise Malformed("A hint about an offer is not one.")
        if len(hint.transport) > limits.HINT_BYTES:
            raise Limit("A hint about an offer is too long.")
        return Step(self, offers=(hint.transport,))

    def _responder(self, state: Handshake, raw: bytes, ctx: Context) -> Statement:
        """Who answered: the device that was meant, with the static that its offer says."""
        static = state.remote_static or b""
        if not compare_digest(static, self.answered[:KEY_BYTES]):
            raise Forged("A handshake was answered with another static key than the offer's.")
        if self.mechanism.offer_says_static:
            return offers.stated_in(self.answered, self.peer)  # verified when it was read
        own = statement.parse(self.stated).static
        return statement.check(raw, static=static, own_static=own, meant=self.peer, ctx=ctx)

    def _third(self, state: Handshake, theirs: bytes, ctx: Context) -> Step:
        """Write message 3; from here on both keys of the session are known."""
        mechanism = self.mechanism
        ratchet = key_pair(ctx.rng(KEY_BYTES)) if mechanism.heals else None
        stated = b"" if mechanism.first_says_who else self.stated
        content = mechanism.write_payload(ratchet.public if ratchet else b"", stated)
        tag = mechanism.third_tag(state)
        written = state.write(content, tag)
        frame = payload.encode(PayloadV2(tag, mechanism.protocol_id, written.fields, written.transport))
        to = mechanisms.handshake_topic(state.local_ephemeral_public or b"")
        flight = sessions.Flight(frame, to, tries=0, due=sessions.next_due(0, now=ctx.now, began=ctx.now))
        running = sessions.begin(
            mechanism,
            self.id,
            self.peer,
            written.state.split(),
            initiator=True,
            own=ratchet,
            theirs=theirs,
            flight=flight,
            ctx=ctx,
        )
        return Step(running, frames=(frame,), to=to)


def call(mechanism: Mechanism, opening: Opening, own: OwnStatic, psk: bytes | None, ctx: Context) -> Step:
    """Message 1, to an offer."""
    advert, to = opening.advert, opening.to
    if advert is None or to is None:
        raise NoOffer("Without an offer of the peer's there is nowhere to send a handshake.")
    if advert.expires <= ctx.now:
        raise NoOffer("The peer's offer has expired.", advice="Wait for a newer one.")
    peer = advert.device
    theirs = offers.stated_in(advert.public, peer).static
    if same_point(theirs, own.pair.public):
        raise Forged("An offer names our own static key.")
    keys = Keys(static=own.pair, remote_static=theirs if mechanism.offer_says_static else None, psk=psk)
    state = Handshake.begin(mechanism.pattern, initiator=True, prologue=mechanisms.prologue(opening.bind), keys=keys)
    stated = own.stated.encoded
    written = state.write(stated if mechanism.first_says_who else b"", to.tag, ephemeral=ctx.rng(KEY_BYTES))
    state = written.state
    frame = payload.encode(PayloadV2(to.tag, mechanism.protocol_id, written.fields, written.transport))
    tag = mechanism.second_tag(state)
    calling = Calling(
        mechanism=mechanism,
        id=mechanisms.opening_id(state),
        peer=peer,
        answered=advert.public,
        stated=stated,
        tag=tag,
        began=ctx.now,
        tries=0,
        due=sessions.next_due(0, now=ctx.now, began=ctx.now),
        to=to.topic,
        frame=frame,
        state=state,
        hears=frozenset({Hear(mechanisms.handshake_topic(state.local_ephemeral_public or b""), tag)}),
    )
    return Step(calling, frames=(frame,), to=to.topic)


def restore_calling(mechanism: Mechanism, parts: list[bytes]) -> Calling:
    if len(parts) != 4:
        raise StoreCorrupt("A stored handshake has not the parts that it should have.")
    fixed, to, frame, encoded = parts
    session_id, identity, installation, answered, stated, tag, began, tries, due = sessions.unpack(_CALLING, fixed)
    state = Handshake.decode(encoded)
    topic = mechanisms.handshake_topic(state.local_ephemeral_public or b"")
    if tries >= len(limits.RESEND_MS):
        raise StoreCorrupt("A stored handshake is damaged.")
    return Calling(
        mechanism,
        session_id,
        sessions.device(identity, installation),
        answered,
        stated,
        tag,
        began,
        tries,
        due,
        sessions.text(to),
        frame,
        state,
        frozenset({Hear(topic, tag)}),
    )


# --- the responder ----------------------------------------------------------------------------------------------------


@value(eq=False, repr=False)
class Answering(_Handshaking):
    """Message 2 is on its way, to whoever sent message 1."""

    mechanism: Mechanism
    id: bytes
    first: bytes
    """digest of the frame that holds message 1"""
    tag: bytes
    """of message 3"""
    static: bytes
    """our own, public"""
    began: int
    answered: int
    """when message 2 left last"""
    frame: bytes
    stated: bytes
    """who the initiator says to be, if message 1 says so; nothing is proven yet"""
    ratchet: bytes
    """the private ratchet key, if the session will heal"""
    state: Handshake
    hears: frozenset[Hear]

    peer = None

    @property
    def due(self) -> int:
        return self.began + limits.HANDSHAKE_MS

    @property
    def to(self) -> str:
        return mechanisms.handshake_topic(self.state.remote_ephemeral or b"")

    def __repr__(self) -> str:
        return f"<Answering {self.id.hex()[:16]}…>"

    def snapshot(self) -> bytes:
        fixed = _ANSWERING.pack(self.id, self.first, self.tag, self.static, self.began, self.answered)
        protocol_id, encoded = self.mechanism.protocol_id, self.state.encode()
        return snapshots.write(snapshots.ANSWERING, protocol_id, fixed, self.frame, self.stated, self.ratchet, encoded)

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(None if isinstance(cue, Close) or ctx.now >= self.due else self)

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        try:
            return self._receive(frame, have, ctx)
        except KexkitError as refusal:
            raise refusal.with_traceback(None) from None

    def _receive(self, frame: bytes, have: Have, ctx: Context) -> Step | Wants:
        tag = frame[:NAMETAG_BYTES]
        if tag != self.tag:
            return self._again(frame, ctx)
        third = payload.decode(frame, self.mechanism.protocol_id)
        got = self.state.read(third.fields, third.transport, tag)
        ratchet, raw = self.mechanism.read_payload(got.payload, stated=not self.mechanism.first_says_who)
        stated = self._initiator(got.state, raw, ctx)
        row = statement.pin_row(stated.device)
        if row not in have:
            return Wants(frozenset((row,)))
        statement.check_pin(stated, have[row])
        running = sessions.begin(
            self.mechanism,
            self.id,
            stated.device,
            got.state.split(),
            initiator=False,
            own=key_pair(self.ratchet) if self.ratchet else None,
            theirs=ratchet,
            flight=None,
            ctx=ctx,
        )
        return Step(running, keep={row: _pin(stated)})

    def _again(self, frame: bytes, ctx: Context) -> Step:
        """Message 1 once more: message 2 was lost, or somebody replays."""
        if sha256(frame).digest() != self.first:
            raise NotMine("A frame of another handshake.")
        if self.answered <= ctx.now < self.answered + limits.ANSWER_GAP_MS:
            return Step(self)
        return Step(evolve(self, answered=ctx.now), frames=(self.frame,), to=self.to)

    def _initiator(self, state: Handshake, raw: bytes, ctx: Context) -> Statement:
        static = state.remote_static or b""
        stated = raw or self.stated
        return statement.check(stated, static=static, own_static=self.static, meant=None, ctx=ctx)


def answer(
    mechanism: Mechanism, frame: bytes, opening: Opening, own: OwnStatic, psk: bytes | None, ctx: Context
) -> Step:
    """Message 2, or a hint that the offer is outdated."""
    first = opened_first(mechanism, frame, opening)
    named = _named(first, own, ctx) if mechanism.first_says_who else None
    keys = Keys(static=own.pair, remote_static=named.static if named else None, psk=psk)
    state = Handshake.begin(mechanism.pattern, initiator=False, prologue=mechanisms.prologue(opening.bind), keys=keys)
    got = state.read(first.fields, first.transport, first.nametag)
    if got.payload and named is None:
        raise Malformed("The first message of a handshake carries what does not belong there.")
    tag = mechanism.second_tag(got.state)
    to = mechanisms.handshake_topic(got.state.remote_ephemeral or b"")
    if opening.hint:
        return Step(None, frames=(payload.encode(PayloadV2(tag, HINT_ID, b"", opening.hint)),), to=to)
    return _second(mechanism, frame, got.state, tag, own, named.encoded if named else b"", ctx)


def _second(
    mechanism: Mechanism, first: bytes, state: Handshake, tag: bytes, own: OwnStatic, named: bytes, ctx: Context
) -> Step:
    ephemeral = ctx.rng(KEY_BYTES)
    ratchet: KeyPair | None = key_pair(ctx.rng(KEY_BYTES)) if mechanism.heals else None
    stated = b"" if mechanism.offer_says_static else own.stated.encoded
    content = mechanism.write_payload(ratchet.public if ratchet else b"", stated)
    written = state.write(content, tag, ephemeral=ephemeral)
    frame = payload.encode(PayloadV2(tag, mechanism.protocol_id, written.fields, written.transport))
    to = mechanisms.handshake_topic(state.remote_ephemeral or b"")
    expected = mechanism.third_tag(written.state)
    answering = Answering(
        mechanism=mechanism,
        id=mechanisms.opening_id(state),
        first=sha256(first).digest(),
        tag=expected,
        static=own.pair.public,
        began=ctx.now,
        answered=ctx.now,
        frame=frame,
        stated=named,
        ratchet=ratchet.private if ratchet else b"",
        state=written.state,
        hears=frozenset({Hear(to, expected)}),
    )
    return Step(answering, frames=(frame,), to=to)


def opened_first(mechanism: Mechanism, frame: bytes, opening: Opening) -> PayloadV2:
    """The frame of message 1, if it answers this offer."""
    if opening.to is None or frame[:NAMETAG_BYTES] != opening.to.tag:
        raise NotMine("A frame answers no offer of ours.")
    return payload.decode(frame, mechanism.protocol_id)


def _named(first: PayloadV2, own: OwnStatic, ctx: Context) -> Statement:
    """K1K1: the static must be known before message 1 is read, so it is said there. Message 3 proves it."""
    raw = payload.unpad(first.transport)
    claimed = statement.parse(raw)
    return statement.check(raw, static=claimed.static, own_static=own.pair.public, meant=None, ctx=ctx)


def restore_answering(mechanism: Mechanism, parts: list[bytes]) -> Answering:
    if len(parts) != 5 or len(parts[3]) not in (0, KEY_BYTES):
        raise StoreCorrupt("A stored handshake is damaged.")
    fixed, frame, stated, ratchet, encoded = parts
    session_id, first, tag, static, began, answered = sessions.unpack(_ANSWERING, fixed)
    state = Handshake.decode(encoded)
    hears = frozenset({Hear(mechanisms.handshake_topic(state.remote_ephemeral or b""), tag)})
    return Answering(mechanism, session_id, first, tag, static, began, answered, frame, stated, ratchet, state, hears)


def _pin(stated: Statement) -> Row:
    return Row(statement.pin_value(stated), stated.not_after * 1000)
