"""The initiator's side of a handshake: message 1 is on its way. See `handshakes`."""

from __future__ import annotations

from hmac import compare_digest
from struct import Struct
from typing import Final

from attrs import evolve
from kexkit.api import Answer, Close, Context, Cue, Device, Have, Hear, Opening, Step, Wants, value
from kexkit.errors import Forged, KexkitError, Limit, Malformed, NoOffer, NotMine, StoreCorrupt

from kexkit_noise import limits, mechanisms, offers, payload, sessions, snapshots, statement
from kexkit_noise._noise import Handshake, Keys
from kexkit_noise.handshakes import Handshaking, pin
from kexkit_noise.keys import KEY_BYTES, key_pair, same_point
from kexkit_noise.mechanisms import HINT_ID, Mechanism
from kexkit_noise.offers import OwnStatic
from kexkit_noise.payload import NAMETAG_BYTES, PayloadV2
from kexkit_noise.statement import Statement

_CALLING: Final = Struct(">32s33s16s112s162s16sQBQ")


@value(eq=False, repr=False)
class Calling(Handshaking):
    """Message 1 is on its way."""

    mechanism: Mechanism
    id: bytes
    peer: Device
    answered: bytes
    """the public bytes of the offer that message 1 answers"""
    stated: bytes
    """the statement about our static"""
    nametag: bytes
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
            self.nametag,
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
        if frame[:NAMETAG_BYTES] != self.nametag:
            raise NotMine("A frame of another handshake.")
        second = payload.decode(frame, self.mechanism.protocol_id, HINT_ID)
        if second.protocol_id == HINT_ID:
            return self._hinted(second)
        got = self.state.read(second.fields, second.transport, self.nametag)
        ratchet, raw = self.mechanism.read_payload(got.payload, stated=not self.mechanism.offer_says_static)
        stated = self._responder(got.state, raw, ctx)
        row = statement.pin_row(self.peer)
        if row not in have:
            return Wants(frozenset((row,)))
        statement.check_pin(stated, have[row])
        step = self._third(got.state, ratchet, ctx)
        return Step(step.session, step.frames, step.to, keep={row: pin(stated, ctx.now)})

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
        nametag=tag,
        began=ctx.now,
        tries=0,
        due=sessions.next_due(0, now=ctx.now, began=ctx.now),
        to=to.topic,
        frame=frame,
        state=state,
        hears=frozenset({Hear(mechanisms.handshake_topic(state.local_ephemeral_public or b""), tag)}),
    )
    return Step(calling, frames=(frame,), to=to.topic)


def restore(mechanism: Mechanism, parts: list[bytes]) -> Calling:
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
