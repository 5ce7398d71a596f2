"""The responder's side of a handshake: message 2 is on its way, to whoever sent message 1. See `handshakes`."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import Final

from attrs import evolve
from kexkit.api import Close, Context, Cue, Have, Hear, Opening, Step, Wants, value
from kexkit.errors import KexkitError, Malformed, NotMine, StoreCorrupt

from kexkit_noise import limits, mechanisms, payload, sessions, snapshots, statement
from kexkit_noise._noise import Handshake, Keys
from kexkit_noise.handshakes import Handshaking, pin
from kexkit_noise.keys import KEY_BYTES, KeyPair, key_pair
from kexkit_noise.mechanisms import HINT_ID, Mechanism
from kexkit_noise.offers import OwnStatic
from kexkit_noise.payload import NAMETAG_BYTES, PayloadV2
from kexkit_noise.statement import Statement

_ANSWERING: Final = Struct(">32s32s16s32sQQ")


@value(eq=False, repr=False)
class Answering(Handshaking):
    """Message 2 is on its way, to whoever sent message 1."""

    mechanism: Mechanism
    id: bytes
    first: bytes
    """digest of the frame that holds message 1"""
    nametag: bytes
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
        return self.began + limits.ANSWERING_MS

    @property
    def to(self) -> str:
        return mechanisms.handshake_topic(self.state.remote_ephemeral or b"")

    def __repr__(self) -> str:
        return f"<Answering {self.id.hex()[:16]}…>"

    def snapshot(self) -> bytes:
        fixed = _ANSWERING.pack(self.id, self.first, self.nametag, self.static, self.began, self.answered)
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
        if frame[:NAMETAG_BYTES] != self.nametag:
            return self._again(frame, ctx)
        third = payload.decode(frame, self.mechanism.protocol_id)
        got = self.state.read(third.fields, third.transport, self.nametag)
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
        return Step(running, keep={row: pin(stated, ctx.now)})

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
        nametag=expected,
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
    if opening.to is None or Hear(opening.to.topic, frame[:NAMETAG_BYTES]) != opening.to:
        raise NotMine("A frame answers no offer of ours.")
    return payload.decode(frame, mechanism.protocol_id)


def _named(first: PayloadV2, own: OwnStatic, ctx: Context) -> Statement:
    """K1K1: the static must be known before message 1 is read, so it is said there. Message 3 proves it."""
    raw = payload.unpad(first.transport)
    claimed = statement.parse(raw)
    return statement.check(raw, static=claimed.static, own_static=own.pair.public, meant=None, ctx=ctx)


def restore(mechanism: Mechanism, parts: list[bytes]) -> Answering:
    if len(parts) != 5 or len(parts[3]) not in (0, KEY_BYTES):
        raise StoreCorrupt("A stored handshake is damaged.")
    fixed, frame, stated, ratchet, encoded = parts
    session_id, first, tag, static, began, answered = sessions.unpack(_ANSWERING, fixed)
    state = Handshake.decode(encoded)
    hears = frozenset({Hear(mechanisms.handshake_topic(state.remote_ephemeral or b""), tag)})
    return Answering(mechanism, session_id, first, tag, static, began, answered, frame, stated, ratchet, state, hears)
