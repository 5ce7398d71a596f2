"""A small Double Ratchet over X25519, to prove the kit with: honest as it stands, wrong where `faults.py` says so.

Frames go in FRAME carriage. The first flight names the reader's prekey; skipped keys are rows of the drawer.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from struct import Struct, error

from attrs import evolve, field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit.api import (
    Advert,
    Carriage,
    Close,
    Context,
    Cue,
    Device,
    Forged,
    Guarantee,
    Have,
    Limit,
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
    Unknown,
    Wants,
)

FIRST = Guarantee.SECRET | Guarantee.FROM_PEER | Guarantee.TO_PEER | Guarantee.OUT_OF_ORDER | Guarantee.REPLAY_SAFE
FULL = FIRST | Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE
SKIPS = 50
DAY = 24 * 3600 * 1000
NONE = bytes(32)
# name of the session 16 | it opens 1 | ephemeral 32 | prekey 32 | ratchet key 32 | length of the chain before 4 |
# number 4 | nonce 12 | sealed
HEADER = Struct(">16s ? 32s 32s 32s I I 12s")
SNAPSHOT = Struct(">32s 33s 36s 32s 32s 32s 32s 32s I I I ? ? 32s 32s")


def kdf(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"".join(len(part).to_bytes(2, "big") + part for part in parts), "sha256")


def dh(secret: bytes, public: bytes) -> bytes | None:
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return None


def public_of(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def decrypt(key: bytes, header: bytes, sealed: bytes) -> bytes | None:
    try:
        return ChaCha20Poly1305(key).decrypt(header[-12:], sealed, header)
    except InvalidTag:
        return None


@frozen
class RatchetSession:
    id: bytes
    peer: Device
    root: bytes = field(repr=False)
    own: bytes = field(repr=False)
    theirs: bytes
    sending: bytes = field(repr=False)
    receiving: bytes = field(repr=False)
    sent: int = 0
    received: int = 0
    before: int = 0
    """how long our chain before this one was"""
    our_turn: bool = False
    opens: bool = False
    """we began and have not been answered: each frame repeats the opening"""
    ephemeral: bytes = NONE
    prekey: bytes = NONE

    due = None
    hears = frozenset()

    @property
    def grade(self) -> Guarantee | None:
        return FIRST if self.opens else FULL

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        turned = self.turned(ctx) if self.our_turn else self
        chain, key = turned.advance(turned.sending, turned.sent)
        head = HEADER.pack(
            turned.id[:16],
            turned.opens,
            turned.ephemeral if turned.opens else NONE,
            turned.prekey if turned.opens else NONE,
            public_of(turned.own),
            turned.before,
            turned.sent,
            ctx.rng(12),
        )
        sealed = ChaCha20Poly1305(key).encrypt(head[-12:], plaintext, head)
        return Step(evolve(turned, sending=chain, sent=turned.sent + 1), frames=(head + sealed,))

    def turned(self, ctx: Context) -> RatchetSession:
        """A key of our own making: what an earlier thief cannot follow."""
        own = self.next_key(ctx)
        secret = dh(own, self.theirs) or NONE
        root, sending = kdf(self.root, b"root", secret), kdf(self.root, b"chain", secret)
        return evolve(self, own=own, root=root, sending=sending, before=self.sent, sent=0, our_turn=False)

    def next_key(self, ctx: Context) -> bytes:
        return ctx.rng(32)

    def advance(self, chain: bytes, number: int) -> tuple[bytes, bytes]:
        """The chain after this message, and the message's key."""
        return kdf(chain, b"next"), kdf(chain, b"message")

    def row(self, ratchet_key: bytes, number: int) -> bytes:
        return self.id + ratchet_key + number.to_bytes(4, "big")

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        if frame[:16] != self.id[:16]:
            raise NotMine
        if len(frame) < HEADER.size + 16:
            raise Malformed
        _, opens, _, _, ratchet_key, before, number, _ = HEADER.unpack_from(frame)
        row = self.row(ratchet_key, number)
        in_order = ratchet_key == self.theirs and number >= self.received
        if not in_order and row not in have:
            return Wants(frozenset({row}))
        skipped = have.get(row)
        if skipped is not None:
            body = decrypt(skipped, frame[: HEADER.size], frame[HEADER.size :])
            successor, keep, drop = self, {}, self.used(row)
        elif ratchet_key == self.theirs and not in_order:
            raise Replayed
        else:
            body, successor, keep = self.follow(frame, ratchet_key, before, number)
            drop = ()
        if body is None:
            raise Forged
        grade = FIRST if opens else FULL
        after = evolve(successor, opens=False)
        return Step(self if after == self and not drop else after, plain=(Plain(body, grade),), keep=keep, drop=drop)

    def used(self, row: bytes) -> tuple[bytes, ...]:
        return (row,)

    def follow(
        self, frame: bytes, ratchet_key: bytes, before: int, number: int
    ) -> tuple[bytes | None, RatchetSession, dict[bytes, Row]]:
        """On the present chain or the next: nothing is believed before the frame is authentic."""
        turn = ratchet_key != self.theirs
        if (number if turn else number - self.received) > SKIPS or before > self.received + SKIPS:
            raise Limit
        keep: dict[bytes, Row] = {}
        chain, root = self.receiving, self.root
        first = self.received
        if turn:
            if chain != NONE:
                chain = self._skip(chain, self.theirs, first, before, keep)
            secret = dh(self.own, ratchet_key)
            if secret is None:
                return None, self, {}
            root, chain, first = kdf(root, b"root", secret), kdf(root, b"chain", secret), 0
        chain = self._skip(chain, ratchet_key, first, number, keep)
        chain, key = self.advance(chain, number)
        body = decrypt(key, frame[: HEADER.size], frame[HEADER.size :])
        successor = evolve(
            self,
            root=root,
            theirs=ratchet_key,
            receiving=chain,
            received=number + 1,
            our_turn=self.our_turn or turn,
        )
        return body, successor, keep

    def _skip(self, chain: bytes, ratchet_key: bytes, first: int, number: int, keep: dict[bytes, Row]) -> bytes:
        for each in range(first, number):
            chain, key = self.advance(chain, each)
            keep[self.row(ratchet_key, each)] = Row(key)
        return chain

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(None if isinstance(cue, Close) else self)

    def snapshot(self) -> bytes:
        return b"\x01" + SNAPSHOT.pack(
            self.id,
            self.peer.identity,
            self.peer.installation.encode(),
            self.root,
            self.own,
            self.theirs,
            self.sending,
            self.receiving,
            self.sent,
            self.received,
            self.before,
            self.our_turn,
            self.opens,
            self.ephemeral,
            self.prekey,
        )

    def __reduce__(self) -> str:
        raise TypeError("stored by snapshot()")


@frozen
class Ratchet:
    session: type[RatchetSession] = RatchetSession

    name = "toy-ratchet@example.org/1"
    carriage = Carriage.FRAME
    guarantees = FULL | Guarantee.OFFLINE_START | Guarantee.BINDS

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        if b"offer" not in have:
            return Wants(frozenset({b"offer"}))
        present = have[b"offer"]
        if present is not None and ctx.now < int.from_bytes(present[:8], "big") + DAY:
            return Offer(present, {}, int.from_bytes(present[:8], "big") + DAY)
        prekey = ctx.rng(32)
        public = ctx.now.to_bytes(8, "big") + public_of(prekey)
        keep = {b"offer": Row(public), b"prekey" + public[8:]: Row(prekey, until=ctx.now + 8 * DAY)}
        return Offer(public, keep, ctx.now + DAY)

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        if len(public) != 40:
            raise Malformed
        issued = int.from_bytes(public[:8], "big")
        return (Advert(maker, public, epoch=issued // DAY, issued=issued, expires=issued + 2 * DAY),)

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if opening.peer is None or opening.advert is None:
            raise NoOffer
        prekey, ephemeral, own = opening.advert.public[8:], ctx.rng(32), ctx.rng(32)
        shared = dh(ephemeral, prekey)
        first = dh(own, prekey)
        if shared is None or first is None:
            raise Malformed
        context = self.context(opening, ctx.me, opening.peer, public_of(ephemeral), prekey)
        root = kdf(shared, ctx.identity.agree(opening.peer.identity), context)
        return Step(
            self.session(
                id=sha256(context).digest(),
                peer=opening.peer,
                root=kdf(root, b"root", first),
                own=own,
                theirs=prekey,
                sending=kdf(root, b"chain", first),
                receiving=NONE,
                opens=True,
                ephemeral=public_of(ephemeral),
                prekey=prekey,
            )
        )

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        if opening.peer is None or len(frame) < HEADER.size + 16:
            raise Malformed
        _, opens, ephemeral, prekey, ratchet_key, _, number, _ = HEADER.unpack_from(frame)
        if not opens:
            raise Unknown
        context = self.context(opening, opening.peer, ctx.me, ephemeral, prekey)
        session_id = sha256(context).digest()
        rows = frozenset({b"prekey" + prekey, b"seen" + session_id})
        if not rows <= have.keys():
            return Wants(rows)
        if have[b"seen" + session_id] is not None:
            raise Replayed
        session = self._accepted(have[b"prekey" + prekey], opening.peer, ephemeral, prekey, context, ctx)
        step = session.receive(frame, {session.row(ratchet_key, number): None}, ctx=ctx)
        assert isinstance(step, Step)
        return evolve(step, keep={**step.keep, **self.seen(session_id, ctx)})

    def seen(self, session_id: bytes, ctx: Context) -> dict[bytes, Row]:
        return {b"seen" + session_id: Row(b"", until=ctx.now + 8 * DAY)}

    def _accepted(
        self, secret: bytes | None, peer: Device, ephemeral: bytes, prekey: bytes, context: bytes, ctx: Context
    ) -> RatchetSession:
        if secret is None:
            raise Unknown
        shared = dh(secret, ephemeral)
        if shared is None:
            del secret
            raise Malformed
        return self.session(
            id=sha256(context).digest(),
            peer=peer,
            root=kdf(shared, self.agreed(peer, ctx), context),
            own=secret,
            theirs=NONE,
            sending=NONE,
            receiving=NONE,
        )

    def agreed(self, peer: Device, ctx: Context) -> bytes:
        return ctx.identity.agree(peer.identity)

    def context(self, opening: Opening, first: Device, second: Device, ephemeral: bytes, prekey: bytes) -> bytes:
        people = [part for d in (first, second) for part in (d.identity, d.installation.encode())]
        parts = [opening.bind, *people, ephemeral, prekey]
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    def restore(self, snapshot: bytes) -> RatchetSession:
        try:
            values = SNAPSHOT.unpack(snapshot[1:])
            peer = Device(values[1], values[2].decode())
        except (error, UnicodeDecodeError):
            raise StoreCorrupt from None
        if snapshot[0] != 1:
            raise StoreCorrupt
        return self.session(values[0], peer, *values[3:])
