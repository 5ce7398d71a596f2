"""A healing session: the Double Ratchet with encrypted headers, seeded by a Noise handshake. As a value.

`seal` and `open` return the successor. A ratchet key of ours is made with the text that needs it, never earlier, and
deleted when the peer turns. Randomness is drawn by `seal` alone: 32 bytes of a ratchet key if this text answers a turn
of the peer's, then the 12 of a nonce.

Whose turn it is to whom is not visible: a frame is found by its nametag, which only the two ends can tell from noise.
`open` looks at the next message of the peer's present chain and at the first of its next; then among the keys kept for
messages that have not arrived; then at the few messages that follow in either chain, and last at all of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from attrs import field
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit.api import Guarantee, Have, Row, Unpicklable, Wants, value
from kexkit.errors import Forged, InvalidInput, KexkitError, Limit, Malformed, NotMine, Replayed
from kexkit.identity import tagged_digest

from kexkit_noise import healing_clones as clones
from kexkit_noise import healing_frames as frames
from kexkit_noise import healing_keys as keys
from kexkit_noise import healing_skipped as skipped
from kexkit_noise import healing_state as state
from kexkit_noise import limits
from kexkit_noise._noise import Split
from kexkit_noise.healing_keys import HeaderKey
from kexkit_noise.healing_skipped import NO_ROWS, NONE_KEPT, Kept
from kexkit_noise.healing_state import Fixed, Listening, Ratchet, Receiving, Speaking
from kexkit_noise.keys import KeyPair, agree, key_pair
from kexkit_noise.payload import pad, unpad

GRADE: Final = (
    Guarantee.SECRET
    | Guarantee.FROM_PEER
    | Guarantee.TO_PEER
    | Guarantee.FORWARD_SECRECY
    | Guarantee.POST_COMPROMISE
    | Guarantee.OUT_OF_ORDER
    | Guarantee.REPLAY_SAFE
    | Guarantee.BINDS
)
_COUNT_BYTES: Final = 4
_TOPIC_NAME_BYTES: Final = 16
_FORGED: Final = "A message does not authenticate."
NO_DROPS: Final[tuple[bytes, ...]] = ()
_GONE: Final = bytes(keys.KEY_BYTES)
"""in place of a key that nothing needs any more"""
Random = Callable[[int], bytes]


@value(eq=False, repr=False)
class Opened(Unpicklable):
    successor: HealingSession
    plaintext: bytes
    keep: Mapping[bytes, Row] = NO_ROWS
    drop: tuple[bytes, ...] = NO_DROPS


@value(eq=False, repr=False)
class HealingSession:
    """Made by `begin` from a finished handshake, and by `restore` from a snapshot."""

    fixed: Fixed = field()
    ratchet: Ratchet = field()

    @classmethod
    def begin(cls, split: Split, *, session: bytes, initiator: bool, own: KeyPair, peer: bytes) -> HealingSession:
        """After message 3. `session`: core's id of it, 32 bytes; `own`, `peer`: the fresh keys (r) of messages 2 and
        3. Malformed if the peer's is of low order, or is ours."""
        if peer == own.public:
            raise Malformed("The peer's first ratchet key is our own.")
        root, header_i, header_r, topic = keys.first_keys(split.h, split.k1, split.k2)
        root, chain, next_i = keys.root_step(root, agree(own.private, peer))
        first, next_own, next_peer = HeaderKey(header_i), HeaderKey(next_i), HeaderKey(header_r)
        fixed = state.fixed(
            session,
            tagged_digest(b"kexkit/noise sid/1", split.h),
            tagged_digest(b"kexkit/session topic/1", topic)[:_TOPIC_NAME_BYTES],
            initiator=initiator,
        )
        if initiator:
            sending = Speaking(own.private, own.public, 0, chain, first, 0)
            return cls(fixed, Ratchet(root, sending, next_own, None, peer, next_peer, NONE_KEPT, 0))
        receiving = Receiving(first, chain, 0)  # and our own key is gone: the next is made with our first text
        return cls(fixed, Ratchet(root, Listening(0), next_peer, receiving, peer, next_own, NONE_KEPT, 0))

    @classmethod
    def restore(cls, snapshot: bytes) -> HealingSession:
        """StoreCorrupt or StoreNewer if it is none of ours."""
        return cls(*state.unpack(snapshot))

    # --- what it is ---

    @property
    def id(self) -> bytes:
        """Core's, from the opening."""
        return self.fixed.id

    @property
    def sid(self) -> bytes:
        """The transcript's, to which every message is bound."""
        return self.fixed.sid

    @property
    def initiator(self) -> bool:
        return self.fixed.initiator

    @property
    def topic(self) -> str:
        """The content topic of both directions."""
        return self.fixed.topic

    @property
    def marker(self) -> bytes:
        """What, sealed, says that the session is over (37)."""
        return self.fixed.marker

    @property
    def grade(self) -> Guarantee | None:
        """None: it is worn out."""
        return None if self.worn else GRADE

    @property
    def worn(self) -> bool:
        """It seals no more, but still opens."""
        return self._is_full or self.ratchet.count >= limits.SESSION_MESSAGES

    @property
    def _is_full(self) -> bool:
        """Our chain has no place left until the peer turns."""
        sending = self.ratchet.sending
        return isinstance(sending, Speaking) and sending.n >= limits.CHAIN_MESSAGES

    def snapshot(self) -> bytes:
        return state.pack(self.fixed, self.ratchet)

    def __repr__(self) -> str:
        return f"<HealingSession {self.fixed.id.hex()[:16]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled; store snapshot() where secrets are kept")

    # --- sending ---

    def seal(self, plaintext: bytes, rng: Random, *, last: bool = False) -> tuple[HealingSession, bytes]:
        """The successor, to be stored before the frame leaves, and the frame. `last`: nothing is sealed after it."""
        if len(plaintext) > limits.BODY_BYTES:
            raise InvalidInput(f"A text has more than {limits.BODY_BYTES} bytes.", advice="Send it in parts.")
        if self.worn and (self._is_full or not last):
            raise InvalidInput("A session is worn out.", advice="Send in another session.")
        before = self.ratchet
        root, turn, next_sending = before.root, before.sending, before.next_sending
        if isinstance(turn, Listening):
            root, turn, next_sending = _turn(before, turn, rng)
        header, n, sid = turn.header, turn.n, self.fixed.sid
        chain, key = keys.chain_step(turn.chain)
        tag = header.tag(n)
        sealed_key = header.seal(n, turn.public, frames.header_data(sid, tag))
        nonce = rng(frames.NONCE_BYTES)
        padded = pad(turn.pn.to_bytes(_COUNT_BYTES, "big") + plaintext)
        sealed = ChaCha20Poly1305(key).encrypt(nonce, padded, frames.body_data(sid, tag, sealed_key))
        sending = Speaking(turn.secret, turn.public, turn.pn, chain, header, n + 1)
        after = Ratchet(
            root,
            sending,
            next_sending,
            before.receiving,
            before.peer,
            before.next_receiving,
            before.kept,
            before.count + 1,
        )
        return HealingSession(self.fixed, after), frames.write(tag, sealed_key, nonce, sealed)

    # --- the end ---

    def farewell(self, rng: Random) -> tuple[HealingSession, bytes] | None:
        """The goodbye, sealed, and a successor without what only sealing needs. None: our chain has no place for it."""
        if self._is_full:
            return None
        after, frame = self.seal(self.marker, rng, last=True)
        return after.silenced(), frame

    def silenced(self) -> HealingSession:
        """It seals no more. What the peer seals before it knows still opens, a turn to our last key included."""
        before, sending = self.ratchet, self.ratchet.sending
        if isinstance(sending, Speaking):
            mute = Speaking(sending.secret, sending.public, sending.pn, _GONE, sending.header, sending.n)
            return self._with(before.root, mute, before.receiving)
        return self._with(_GONE, sending, before.receiving)

    def parted(self) -> HealingSession | None:
        """The peer has sealed its last, too: all that can still come is what that overtook, and those keys are kept
        apart. None: nothing is missing."""
        before = self.ratchet
        if not before.kept.unused or before.receiving is None:
            return None
        return self._with(_GONE, Listening(0), Receiving(before.receiving.header, _GONE, limits.CHAIN_MESSAGES))

    def _with(self, root: bytes, sending: state.Sending, receiving: Receiving | None) -> HealingSession:
        was = self.ratchet
        after = Ratchet(root, sending, was.next_sending, receiving, was.peer, was.next_receiving, was.kept, was.count)
        return HealingSession(self.fixed, after)

    # --- receiving ---

    def open(self, frame: bytes, have: Have, *, now: int) -> Opened | Wants:
        """The text and the successor, or the rows to see first. Raises Refusal, and then nothing has changed:
        Malformed, Limit, NotMine (no place of this session), Replayed, Forged, Cloned."""
        try:
            parts = frames.read(frame)
            tag, ratchet = parts[0], self.ratchet
            receiving = ratchet.receiving
            if receiving is not None and receiving.expects(tag):
                return self._open_ahead(parts, receiving, receiving.n, have, now)
            if isinstance(ratchet.sending, Speaking) and ratchet.next_receiving.first == tag:
                return self._open_turned(parts, ratchet.sending, 0, have, now)
            return self._open_far(parts, have, now)
        except KexkitError as error:  # the traceback of the inside has keys among its locals
            raise error.with_traceback(None) from None

    def _open_far(self, parts: frames.Parts, have: Have, now: int) -> Opened | Wants:
        tag, ratchet, session = parts[0], self.ratchet, self.fixed.id
        if ratchet.kept.unused:
            row = skipped.key_row(session, tag)
            if row not in have:
                return Wants(skipped.lookup(session, ratchet.kept, tag))
            raw = have[row]
            if raw is not None:
                return self._open_late(parts, skipped.read_key(raw))
        receiving, sending = ratchet.receiving, ratchet.sending
        chains = [(receiving.header, receiving.n + 1)] if receiving is not None else []
        if isinstance(sending, Speaking):
            chains.append((ratchet.next_receiving, 1))
        for find in (HeaderKey.find_near, HeaderKey.find_far):
            for header, start in chains:
                n = find(header, tag, start)
                if n is None:
                    continue
                if receiving is None or header is not receiving.header:
                    assert isinstance(sending, Speaking)
                    return self._open_turned(parts, sending, n, have, now)
                if n < receiving.n:
                    clones.check_used(self.fixed, ratchet, n, parts)
                    raise Replayed("A message was opened before, or its key has expired.")
                return self._open_ahead(parts, receiving, n, have, now)
        clones.check_ours(self.fixed, ratchet, parts)
        raise NotMine("A message of no place in this session.")

    def _open_ahead(self, parts: frames.Parts, receiving: Receiving, n: int, have: Have, now: int) -> Opened | Wants:
        """In the peer's present chain: the next message, or one further on."""
        ratchet, header = self.ratchet, receiving.header
        if self._sender(parts, header, n) != ratchet.peer:
            raise clones.theirs(self.fixed)
        passed, chain = keys.walk(receiving.chain, n - receiving.n)
        chain, key = keys.chain_step(chain)
        _, body = self._text(parts, key)
        kept, keep, drop = ratchet.kept, NO_ROWS, NO_DROPS
        if passed:
            missed = [(header.tag(receiving.n + place), missed) for place, missed in enumerate(passed)]
            filed = skipped.file(self.fixed.id, kept, missed, have=have, until=now + limits.SKIPPED_MS)
            if isinstance(filed, Wants):
                return filed
            kept, keep, drop = filed.kept, filed.keep, filed.drop
        after = Receiving(header, chain, n + 1)
        return self._opened(after, kept, body, keep, drop)

    def _open_turned(self, parts: frames.Parts, turn: Speaking, n: int, have: Have, now: int) -> Opened | Wants:
        """The first that we see of the peer's next chain: it has turned to a new ratchet key, and ours goes."""
        before, header = self.ratchet, self.ratchet.next_receiving
        peer = self._sender(parts, header, n)
        if peer in (before.peer, turn.public):
            raise Forged(_FORGED)
        try:
            root, chain, next_receiving = keys.root_step(before.root, agree(turn.secret, peer))
        except Malformed:
            raise Forged(_FORGED) from None
        passed, chain = keys.walk(chain, n)
        chain, key = keys.chain_step(chain)
        pn, body = self._text(parts, key)
        missed = _rest(self.fixed, before.receiving, pn)
        missed += [(header.tag(place), missed) for place, missed in enumerate(passed)]
        kept, keep, drop = before.kept, NO_ROWS, NO_DROPS
        if missed:
            filed = skipped.file(self.fixed.id, kept, missed, have=have, until=now + limits.SKIPPED_MS)
            if isinstance(filed, Wants):
                return filed
            kept, keep, drop = filed.kept, filed.keep, filed.drop
        after = Ratchet(
            root,
            Listening(turn.n),
            before.next_sending,
            Receiving(header, chain, n + 1),
            peer,
            HeaderKey(next_receiving),
            kept,
            before.count + 1,
        )
        return Opened(HealingSession(self.fixed, after), body, keep, drop)

    def _open_late(self, parts: frames.Parts, key: bytes) -> Opened:
        """A message that later ones overtook. Its header needs no look if the text's authentication covers it."""
        try:
            text = self._text(parts, key)
        except Forged:
            text = None
        if text is None:
            clones.check_kept(self.fixed, self.ratchet, parts)
            raise Forged(_FORGED)
        used = skipped.use(self.fixed.id, self.ratchet.kept, parts[0])
        return self._opened(self.ratchet.receiving, used.kept, text[1], NO_ROWS, used.drop)

    def _sender(self, parts: frames.Parts, header: HeaderKey, n: int) -> bytes:
        tag, sealed_key, _, _ = parts
        try:
            return header.open(n, sealed_key, frames.header_data(self.fixed.sid, tag))
        except InvalidTag:
            raise Forged(_FORGED) from None

    def _text(self, parts: frames.Parts, key: bytes) -> tuple[int, bytes]:
        """How long the sender's chain before was, and the text."""
        tag, sealed_key, nonce, sealed = parts
        try:
            padded = ChaCha20Poly1305(key).decrypt(nonce, sealed, frames.body_data(self.fixed.sid, tag, sealed_key))
        except InvalidTag:
            raise Forged(_FORGED) from None
        content = unpad(padded)
        if len(content) < _COUNT_BYTES:
            raise Forged(_FORGED)
        return int.from_bytes(content[:_COUNT_BYTES], "big"), content[_COUNT_BYTES:]

    def _opened(
        self, receiving: Receiving | None, kept: Kept, body: bytes, keep: Mapping[bytes, Row], drop: tuple[bytes, ...]
    ) -> Opened:
        """Nothing has turned."""
        before = self.ratchet
        after = Ratchet(
            before.root,
            before.sending,
            before.next_sending,
            receiving,
            before.peer,
            before.next_receiving,
            kept,
            before.count + 1,
        )
        return Opened(HealingSession(self.fixed, after), body, keep, drop)


def _turn(before: Ratchet, listening: Listening, rng: Random) -> tuple[bytes, Speaking, HeaderKey]:
    """A new ratchet key of ours: the next root key, its chain, and the header key of our chain after it."""
    own = key_pair(rng(keys.KEY_BYTES))
    root, chain, after = keys.root_step(before.root, agree(own.private, before.peer))
    return root, Speaking(own.private, own.public, listening.n, chain, before.next_sending, 0), HeaderKey(after)


def _rest(fixed: Fixed, receiving: Receiving | None, pn: int) -> list[tuple[bytes, bytes]]:
    """Nametags and keys of what is missing of the peer's last chain, which had `pn` messages."""
    have = receiving.n if receiving is not None else 0
    if pn > limits.CHAIN_MESSAGES:
        raise Limit(f"A message tells of a chain of {pn} messages; {limits.CHAIN_MESSAGES} are followed.")
    if receiving is None:
        if pn:
            raise Forged("A message gives its sender's last chain a length that it had not.")
        return []
    if pn < have:  # somebody else has sealed the rest of what we opened
        raise clones.theirs(fixed)
    passed, _ = keys.walk(receiving.chain, pn - have)
    return [(receiving.header.tag(have + place), key) for place, key in enumerate(passed)]
