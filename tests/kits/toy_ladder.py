"""A small interactive exchange, to prove the kit's driver with: BARE frames, three flights, a code that people compare.

Ephemeral keys first, identities under encryption, then both people compare six digits. It claims little: no forward
secrecy within a session, and texts only in order.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct, error

from attrs import evolve, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit import secp256k1
from kexkit.api import (
    Advert,
    Answer,
    Ask,
    Carriage,
    Close,
    Context,
    Cue,
    Device,
    Due,
    Forged,
    Guarantee,
    Have,
    Hear,
    Malformed,
    NoOffer,
    NotMine,
    Offer,
    Opening,
    Plain,
    Replayed,
    Row,
    Step,
    StoreCorrupt,
    Wants,
)
from kexkit.identity import tagged_digest

from tests.kits.toy_ratchet import NONE, dh, kdf, public_of

GIVES = Guarantee.SECRET | Guarantee.FROM_PEER | Guarantee.TO_PEER
TOPIC = "/kexkit/1/toy-ladder/proto"
LABEL = b"kexkit toy ladder"
AGAIN = 5_000
TRIES = 20
LIFE = 3600 * 1000
WAITS, ANSWERED, ASKING, OPEN = range(4)
"""the stages: one flight sent, two flights seen, all seen and people compare, open"""

BODY = Struct(">33s 36s 64s")
SNAPSHOT = Struct(">B B B 32s 32s 32s 32s 32s 32s 33s 36s Q Q Q H 209s 128s")
FLIGHT = 209
HINT = b"\xff" * 32
"""in place of an ephemeral key: what follows is what the responder offers now"""
# flight 1 = tag 16 | ephemeral 32          flight 2 = tag 16 | ephemeral 32 | nonce 12 | sealed (identity, signature)
# flight 3 = tag 16 | nonce 12 | sealed     text = tag 16 | number 8 | nonce 12 | sealed


def tag_of(*parts: bytes) -> bytes:
    return kdf(b"tag", *parts)[:16]


def encrypt(key: bytes, head: bytes, text: bytes, ctx: Context) -> bytes:
    nonce = ctx.rng(12)
    return head + nonce + ChaCha20Poly1305(key).encrypt(nonce, text, head)


def decrypt(key: bytes, head: bytes, rest: bytes) -> bytes | None:
    if len(rest) < 28:
        return None
    try:
        return ChaCha20Poly1305(key).decrypt(rest[:12], rest[12:], head)
    except InvalidTag:
        return None


@frozen
class LadderSession:
    stage: int
    began: bool
    """we initiated"""
    id: bytes
    bind: bytes
    own: bytes = field(repr=False)
    theirs: bytes
    send_key: bytes = field(repr=False)
    open_key: bytes = field(repr=False)
    who: Device | None
    """whom we mean, or have met"""
    sent: int
    received: int
    again: int
    """when the last flight goes out again; 0: never"""
    tries: int
    flight: bytes
    to: str
    """where the last flight went"""
    hears: frozenset[Hear]

    compares = True

    @property
    def peer(self) -> Device | None:
        return self.who if self.stage >= ASKING else None

    @property
    def grade(self) -> Guarantee | None:
        return GIVES if self.stage == OPEN else None

    @property
    def due(self) -> int | None:
        return self.again or None

    def head(self, *, to_us: bool) -> bytes:
        return tag_of(self.id, b"to initiator" if self.began == to_us else b"to responder")

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        head = self.head(to_us=False) + self.sent.to_bytes(8, "big")
        frame = encrypt(self.send_key, head, plaintext, ctx)
        return Step(evolve(self, sent=self.sent + 1), frames=(frame,), to=TOPIC)

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        if frame[:16] != self.head(to_us=True):
            raise NotMine
        if self.stage == WAITS and frame[16:48] == HINT:
            return Step(self, offers=(frame[48:],))
        if self.stage == WAITS:
            return self._second(frame, ctx)
        if self.stage == ANSWERED:
            return self._third(frame, ctx)
        number = int.from_bytes(frame[16:24], "big")
        if len(frame) < 52:
            raise Malformed
        if number != self.received:
            raise Replayed
        body = decrypt(self.open_key, frame[:24], frame[24:])
        if body is None:
            raise Forged
        after = evolve(self, received=number + 1, stage=OPEN, again=0, flight=b"")
        return Step(after, plain=(Plain(body, GIVES),))

    def _second(self, frame: bytes, ctx: Context) -> Step:
        met = self.agreed(frame[16:48])
        if met is None:
            raise Malformed
        body = decrypt(met.open_key, frame[:48], frame[48:])
        if body is None or met.named(body) != self.who:
            raise Forged
        third = encrypt(met.send_key, met.head(to_us=False), met.introduction(ctx), ctx)
        after = evolve(
            met, stage=ASKING if self.compares else OPEN, flight=third, to=TOPIC, again=ctx.now + AGAIN, tries=0
        )
        return Step(after, frames=(third,), to=TOPIC, asks=(met.question(),) if self.compares else ())

    def _third(self, frame: bytes, ctx: Context) -> Step:
        body = decrypt(self.open_key, frame[:16], frame[16:])
        who = None if body is None else self.named(body)
        if who is None:
            raise Forged
        met = evolve(self, who=who, stage=ASKING if self.compares else OPEN, again=0, flight=b"")
        return Step(met, asks=(met.question(),) if self.compares else ())

    def agreed(self, theirs: bytes) -> LadderSession | None:
        shared = dh(self.own, theirs)
        if shared is None:
            return None
        keys = [kdf(shared, self.bind, self.id, b"to initiator"), kdf(shared, self.bind, self.id, b"to responder")]
        open_key, send_key = keys if self.began else reversed(keys)
        return evolve(self, theirs=theirs, send_key=send_key, open_key=open_key)

    def _transcript(self, *, by_initiator: bool) -> bytes:
        ours, theirs = public_of(self.own), self.theirs
        first, second = (ours, theirs) if self.began else (theirs, ours)
        return self.bind + first + second + bytes((by_initiator,))

    def introduction(self, ctx: Context) -> bytes:
        signature = ctx.identity.sign(LABEL, self._transcript(by_initiator=self.began))
        return BODY.pack(ctx.me.identity, ctx.me.installation.encode(), signature)

    def named(self, body: bytes) -> Device | None:
        """Whom an introduction names, if they signed what we both saw."""
        identity, installation, signature = BODY.unpack(body)
        try:
            digest = tagged_digest(LABEL, self._transcript(by_initiator=not self.began))
            secp256k1.verify(signature, digest, identity)
            return Device(identity, installation.decode())
        except (Forged, Malformed, UnicodeDecodeError):
            return None

    def question(self) -> Ask:
        digits = int.from_bytes(sha256(self._transcript(by_initiator=True)).digest()[:4], "big") % 10**6
        return Ask("compare", f"{digits:06}")

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        if isinstance(cue, Close):
            return Step(None)
        if isinstance(cue, Answer) and self.stage == ASKING:
            return Step(evolve(self, stage=OPEN) if cue.value == b"yes" else None)
        if isinstance(cue, Due) and self.again:
            if self.tries == TRIES:
                return Step(None if self.stage == WAITS else evolve(self, again=0))
            later = evolve(self, again=ctx.now + AGAIN, tries=self.tries + 1)
            return Step(later, frames=(self.flight,), to=self.to)
        return Step(self)

    def snapshot(self) -> bytes:
        who = self.who or Device(bytes(33), "")
        return SNAPSHOT.pack(
            1,
            self.stage,
            self.began,
            self.id,
            self.bind,
            self.own,
            self.theirs,
            self.send_key,
            self.open_key,
            who.identity,
            who.installation.encode(),
            self.sent,
            self.received,
            self.again,
            self.tries * 256 + len(self.flight),
            self.flight,
            self.to.encode(),
        )

    def __reduce__(self) -> str:
        raise TypeError("stored by snapshot()")


class Silent(LadderSession):
    """Trusts the signatures; nobody is asked."""

    compares = False


@frozen
class Ladder:
    session: type[LadderSession] = LadderSession

    name = "toy-ladder@example.org/1"
    carriage = Carriage.BARE
    guarantees = GIVES | Guarantee.BINDS

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        if b"offer" not in have:
            return Wants(frozenset({b"offer"}))
        public = have[b"offer"]
        if public is None or ctx.now >= int.from_bytes(public[:8], "big") + LIFE:
            public = ctx.now.to_bytes(8, "big") + ctx.rng(16)
        renew = int.from_bytes(public[:8], "big") + LIFE
        return Offer(public, {b"offer": Row(public)}, renew)

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        if len(public) != 24:
            raise Malformed
        issued = int.from_bytes(public[:8], "big")
        return (Advert(maker, public, epoch=0, issued=issued, expires=issued + 2 * LIFE),)

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if opening.peer is None or opening.advert is None or opening.to is None:
            raise NoOffer
        own = ctx.rng(32)
        first = opening.to.tag + public_of(own)
        session = self._made(WAITS, True, opening.bind, own, public_of(own), opening.peer, first)
        waits = evolve(session, to=opening.to.topic, again=ctx.now + AGAIN)
        return Step(waits, frames=(first,), to=opening.to.topic)

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if len(frame) != 48:
            raise Malformed
        if opening.to is None or frame[:16] != opening.to.tag:
            raise NotMine
        if opening.hint:  # on one topic for all: whoever began hears the tag that it would have had
            return Step(None, frames=(self.hint(opening.bind, frame[16:], opening.hint),), to=TOPIC)
        seen = b"seen" + self.id_of(opening.bind, frame[16:])
        if seen not in have:
            return Wants(frozenset({seen}))
        if have[seen] is not None:
            raise Replayed
        own = ctx.rng(32)
        session = self._made(ANSWERED, False, opening.bind, own, frame[16:], None, b"").agreed(frame[16:])
        if session is None:
            del own
            raise Malformed
        head = session.head(to_us=False) + public_of(own)
        second = encrypt(session.send_key, head, session.introduction(ctx), ctx)
        waits = evolve(session, flight=second, again=ctx.now + AGAIN)
        return Step(waits, frames=(second,), to=TOPIC, keep={seen: Row(b"", until=ctx.now + 4 * LIFE)})

    def hint(self, bind: bytes, ephemeral: bytes, offer: bytes) -> bytes:
        return tag_of(self.id_of(bind, ephemeral), b"to initiator") + HINT + offer

    def id_of(self, bind: bytes, ephemeral: bytes) -> bytes:
        return sha256(b"toy ladder" + bind + ephemeral).digest()

    def _made(
        self, stage: int, began: bool, bind: bytes, own: bytes, ephemeral: bytes, who: Device | None, flight: bytes
    ) -> LadderSession:
        blank = self.session(
            stage=stage,
            began=began,
            id=self.id_of(bind, ephemeral),
            bind=bind,
            own=own,
            theirs=NONE,
            send_key=NONE,
            open_key=NONE,
            who=who,
            sent=0,
            received=0,
            again=0,
            tries=0,
            flight=flight,
            to=TOPIC,
            hears=frozenset(),
        )
        return evolve(blank, hears=frozenset({Hear(TOPIC, blank.head(to_us=True))}))

    def restore(self, snapshot: bytes) -> LadderSession:
        try:
            values = SNAPSHOT.unpack(snapshot)
            who = Device(values[9], values[10].rstrip(b"\0").decode()) if any(values[9]) else None
            last = values[16].rstrip(b"\0").decode()
        except (error, UnicodeDecodeError):
            raise StoreCorrupt from None
        if values[0] != 1:
            raise StoreCorrupt
        tries, size = divmod(values[14], 256)
        session = self.session(
            values[1],
            bool(values[2]),
            *values[3:9],
            who,
            *values[11:14],
            tries,
            values[15][:size],
            last,
            frozenset(),
        )
        return evolve(session, hears=frozenset({Hear(TOPIC, session.head(to_us=True))}))
