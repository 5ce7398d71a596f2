"""A Double Ratchet session in the Status dialect, as a value: `seal` and `receive` return its successor.

status-go makes a new ratchet key when it receives one of the peer's. We make it with the next text of ours: who only
reads pays nothing for it, and what was stolen heals a step earlier.

Randomness is drawn in this order: `seal` in answer to a new key of the peer's (and the first of all): the 32 bytes of a
ratchet key, then 16 of an initialisation vector; any other `seal`: 16 of a vector. `receive` draws none.

Which frames are ours. The prekey that seeded the session is in every header, and the initiator's ephemeral until it
has heard; either can settle that a frame is another session's (NotMine). But sessions may share a peer and a prekey:
then a frame without an ephemeral, by a ratchet key that we do not know, may be any one's. It is tried, and if it does
not open it is NotMine, so that the next session is asked. All other refusals are of frames that their headers show to
be ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NoReturn

from kexkit import secp256k1
from kexkit.api import Close, Context, Cue, Device, Guarantee, Have, Hear, Plain, Row, Step, Wants, value
from kexkit.errors import Forged, InvalidInput, KexkitError, Limit, NotMine, Refusal, Replayed

from kexkit_x3dh import chains, cipher, frames, limits, skipped, snapshots, state
from kexkit_x3dh.frames import RatchetFrame
from kexkit_x3dh.limits import Limits
from kexkit_x3dh.parties import Parties
from kexkit_x3dh.skipped import NO_GAPS, Missed
from kexkit_x3dh.state import RECENT, Listening, Receiving, Sending, Speaking

EARLY: Final = (
    Guarantee.SECRET
    | Guarantee.FROM_PEER
    | Guarantee.TO_PEER
    | Guarantee.OUT_OF_ORDER
    | Guarantee.OFFLINE_START
    | Guarantee.REPLAY_SAFE
)
"""Of a text that the responder opens in a chain of its prekey: whoever steals that as well opens it again."""
YOUNG: Final = EARLY | Guarantee.FORWARD_SECRECY
"""Of a chain that the prekey seeded, to who seals: forward secrecy comes when the prekey goes, some days later."""
GROWN: Final = YOUNG | Guarantee.POST_COMPROMISE
"""Of a chain that two fresh ratchet keys seeded."""
NO_DROPS: Final[tuple[bytes, ...]] = ()


@value(eq=False, repr=False)
class RatchetSession:
    """Made by `begin`, by `answer` and from a snapshot."""

    parties: Parties
    bounds: Limits
    heard: bool
    """the responder has been heard: our frames need not repeat the ephemeral"""
    root: bytes
    sending: Sending
    receiving: Receiving

    # --- what it is ---

    due: ClassVar[None] = None
    hears: ClassVar[frozenset[Hear]] = frozenset()

    @property
    def id(self) -> bytes:
        return self.parties.id

    @property
    def peer(self) -> Device:
        return self.parties.peer

    @property
    def grade(self) -> Guarantee | None:
        sending = self.sending
        if isinstance(sending, Listening):
            return YOUNG if self.receiving.key == self.parties.prekey else GROWN
        if sending.n >= limits.CHAIN_MESSAGES:
            return None
        return YOUNG if sending.young else GROWN

    def __repr__(self) -> str:
        return f"<RatchetSession {self.parties.id.hex()[:16]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled; store snapshot() where secrets are kept")

    def snapshot(self) -> bytes:
        return snapshots.summed(self.parties.packed + state.pack(self.heard, self.root, self.sending, self.receiving))

    # --- sending ---

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        if len(plaintext) > limits.BODY_BYTES:
            raise InvalidInput(f"A text has more than {limits.BODY_BYTES} bytes.", advice="Send it in parts.")
        root, turn, receiving = self.root, self.sending, self.receiving
        if isinstance(turn, Listening):
            root, turn = self._turn(turn, ctx)
            if turn.young and not receiving.n:
                receiving = state.without_seed(receiving)
        n, public, pn = turn.n, turn.public, turn.pn
        if n >= limits.CHAIN_MESSAGES:
            raise InvalidInput("A chain of messages is worn out.", advice="Send in another session.")
        chain, key = chains.chain_step(turn.chain)
        sealed = cipher.seal(key, ctx.rng(cipher.IV_BYTES), plaintext, frames.header_bytes(n, pn, public))
        parties = self.parties
        ephemeral = b"" if self.heard else parties.ephemeral
        frame = frames.write_ratchet(parties.prekey, public, n, pn, sealed, ephemeral=ephemeral)
        sending = Speaking(turn.secret, public, pn, turn.young, chain, n + 1)
        return Step(RatchetSession(parties, self.bounds, self.heard, root, sending, receiving), (frame,))

    def _turn(self, before: Listening, ctx: Context) -> tuple[bytes, Speaking]:
        """A new ratchet key of ours, and its chain."""
        theirs = self.receiving.key
        secret = secp256k1.generate_secret(ctx.rng)
        root, chain = chains.root_step(self.root, secp256k1.agree(secret, theirs))
        young = theirs == self.parties.prekey
        return root, Speaking(secret, secp256k1.public_of(secret), before.n, young, chain, 0)

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        """There is no goodbye on the wire; nothing falls due and nothing is asked."""
        return Step(None if isinstance(cue, Close) else self)

    # --- receiving ---

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        try:
            read = frames.read(frame)
            if not isinstance(read, RatchetFrame):
                raise NotMine("A frame without a session.")
            return self.take(read, have, ctx.now)
        except KexkitError as error:  # the traceback of the inside has keys among its locals
            raise error.with_traceback(None) from None

    def take(self, frame: RatchetFrame, have: Have, now: int) -> Step | Wants:
        """`receive`, of a frame that is parsed."""
        surely_ours = self._claims(frame) if frame.ephemeral or frame.prekey != self.parties.prekey else False
        receiving = self.receiving
        if frame.key == receiving.key:
            if frame.n >= receiving.n:
                return self._open_next(frame, have, now)
            return self._open_late(frame, have)
        if state.mark(frame.key) in receiving.recent:
            return self._open_late(frame, have)
        if receiving.gaps:  # it may be of a chain longer ago
            row = skipped.key_row(self.parties.id, frame.key, frame.n)
            if row not in have:
                return Wants(frozenset((row,)))
            if have[row] is not None:
                return self._open_late(frame, have)
        try:
            return self._open_turned(frame, have, now)
        except Refusal:
            if surely_ours:
                raise
            raise NotMine("A frame of some session with this prekey, but not of this one.") from None

    def _claims(self, frame: RatchetFrame) -> bool:
        """NotMine if the header shows that the frame is another session's; True if it shows that it is ours."""
        parties = self.parties
        if frame.prekey != parties.prekey:
            raise NotMine("A frame of a session with another prekey.")
        if not frame.ephemeral:
            return False
        if frame.ephemeral[1:] != parties.ephemeral[1:]:
            raise NotMine("A frame of a session with another ephemeral key.")
        if frame.ephemeral != parties.ephemeral:
            raise Forged("A frame carries the negative of the ephemeral key that began its session.")
        return True

    def _open_next(self, frame: RatchetFrame, have: Have, now: int) -> Step | Wants:
        """In the peer's present chain: the next message, or one further on."""
        receiving = self.receiving
        chain, skip = receiving.chain, frame.n - receiving.n
        missed: tuple[Missed, ...] = ()
        if skip:
            self._check_skip(skip)
            run, chain = _passed(receiving, skip)
            missed = (run,)
        if receiving.first and not skip:
            key = receiving.first
        else:
            chain, key = chains.chain_step(chain)
        body = cipher.open_sealed(key, frame.sealed, frames.header_bytes(frame.n, frame.pn, frame.key))
        made, gaps, keep, drop = receiving.made + 1, receiving.gaps, skipped.NO_ROWS, NO_DROPS
        if skip or gaps:
            filed = self._file(missed, have, now)
            if isinstance(filed, Wants):
                return filed
            made, gaps, keep, drop = filed.made, filed.gaps, filed.keep, filed.drop
        young = receiving.young
        after = Receiving(frame.key, chain, frame.n + 1, young, made, gaps, receiving.recent)
        return self._opened(self.root, self.sending, after, body, young, keep, drop)

    def _open_turned(self, frame: RatchetFrame, have: Have, now: int) -> Step | Wants:
        """The first that we see of a new chain: the peer has turned to a new ratchet key."""
        turn, receiving = self.sending, self.receiving
        if isinstance(turn, Listening):
            raise Forged("A frame turns to a new key before its sender can have heard of ours.")
        rest = frame.pn - receiving.n
        if rest < 0 or (rest and not receiving.key):
            raise Forged("A frame gives its sender's last chain a length that it had not.")
        self._check_skip(rest)
        self._check_skip(frame.n)
        root, chain = chains.root_step(self.root, secp256k1.agree(turn.secret, frame.key))
        passed, chain = chains.walk(chain, frame.n)
        chain, key = chains.chain_step(chain)
        body = cipher.open_sealed(key, frame.sealed, frames.header_bytes(frame.n, frame.pn, frame.key))
        young = turn.public == self.parties.prekey
        missed = (_passed(receiving, rest)[0], Missed(frame.key, 0, young, passed))
        filed = self._file(missed if rest or frame.n else (), have, now)
        if isinstance(filed, Wants):
            return filed
        recent = (state.mark(receiving.key), *receiving.recent)[:RECENT] if receiving.key else ()
        after = Receiving(frame.key, chain, frame.n + 1, young, filed.made, filed.gaps, recent)
        return self._opened(root, Listening(turn.n), after, body, young, filed.keep, filed.drop)

    def _open_late(self, frame: RatchetFrame, have: Have) -> Step | Wants:
        """A message that later ones overtook: its key was kept, or it was opened before."""
        receiving, session = self.receiving, self.parties.id
        if not receiving.gaps:
            raise Replayed("A message was opened before.")
        row = skipped.key_row(session, frame.key, frame.n)
        if row not in have:
            return Wants(frozenset((row,)))
        raw = have[row]
        if raw is None:
            raise Replayed("A message was opened before, or its key has expired.")
        kept = skipped.read_key(raw)
        if kept.number < receiving.made - self.bounds.window:
            raise Replayed("A message comes so late that its key has expired.")
        body = cipher.open_sealed(kept.key, frame.sealed, frames.header_bytes(frame.n, frame.pn, frame.key))
        gaps, records = skipped.use_one(receiving.gaps, session)
        after = Receiving(
            receiving.key, receiving.chain, receiving.n, receiving.young, receiving.made, gaps, receiving.recent
        )
        return self._opened(self.root, self.sending, after, body, kept.young, skipped.NO_ROWS, (row, *records))

    def _check_skip(self, count: int) -> None:
        if count > self.bounds.max_skip:
            raise Limit(f"A frame leaves out {count} messages of a chain; {self.bounds.max_skip} are followed.")

    def _file(self, missed: tuple[Missed, ...], have: Have, now: int) -> skipped.Filed | Wants:
        receiving = self.receiving
        if not missed and not receiving.gaps:
            return skipped.Filed(receiving.made + 1, receiving.gaps)
        return skipped.file(
            self.parties.id,
            receiving.made,
            receiving.gaps,
            missed,
            window=self.bounds.window,
            have=have,
            until=now + limits.SKIPPED_MS,
        )

    def _opened(
        self,
        root: bytes,
        sending: Sending,
        receiving: Receiving,
        body: bytes,
        young: bool,
        keep: Mapping[bytes, Row],
        drop: tuple[bytes, ...],
    ) -> Step:
        after = RatchetSession(self.parties, self.bounds, True, root, sending, receiving)
        grade = GROWN if not young else YOUNG if self.parties.ours else EARLY
        return Step(after, plain=(Plain(body, grade),), keep=keep, drop=drop)


def _passed(receiving: Receiving, count: int) -> tuple[Missed, bytes]:
    """The next so many messages of the peer's present chain, which have not come, and the chain key after them."""
    if not (count and receiving.first):
        passed, chain = chains.walk(receiving.chain, count)
    else:  # the chain key of the first is gone
        after, chain = chains.walk(receiving.chain, count - 1)
        passed = (b"", *after)
    return Missed(receiving.key, receiving.n, receiving.young, passed, receiving.first), chain


def begin(parties: Parties, secret: bytes, bounds: Limits) -> RatchetSession:
    """The initiator's: it knows the responder's first ratchet key, the prekey, whose chain is the secret itself."""
    receiving = Receiving(parties.prekey, secret, 0, True, 0, NO_GAPS, ())
    return RatchetSession(parties, bounds, False, secret, Listening(0), receiving)


def answer(parties: Parties, secret: bytes, prekey_secret: bytes, bounds: Limits) -> RatchetSession:
    """The responder's: its first ratchet key is its prekey, so that it could even speak first."""
    sending = Speaking(prekey_secret, parties.prekey, 0, True, secret, 0)
    return RatchetSession(parties, bounds, True, secret, sending, Receiving(b"", secret, 0, True, 0, NO_GAPS, ()))
