"""Pairing of two devices by a QR code and an eight-digit code (43), as a value: no clock, no network, no questions.

    responder: show()             the QR code, and a nametag handed over beside it
    initiator: scan()             message 1, with a commitment to its static
    both: auth_code               two people compare it, and each says confirm()
    responder: message 2          its static, and what opens its commitment in the QR code
    initiator: message 3          its static, and what opens its commitment

The wire is js-noise's. Ours beyond it: bytes that do not fit never end a pairing (whoever saw the QR code can send
some); keys that contribute nothing, or are our own, are refused; the code must be of this application and version;
nobody's static leaves before its owner has confirmed the code.

The eight digits follow from message 1 alone, so whoever saw QR code and nametag and holds back the genuine message 1
can make one of his own with the same digits, by 10**8 tries: to the responder he is then the initiator. The initiator
is safe, for the QR code commits to the responder's static. So what is secret goes from who scans to who shows.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from attrs import evolve, field, frozen
from kexkit.api import Unpicklable
from kexkit.errors import Forged, InvalidInput, Limit, Malformed, NotMine, Refusal, Unsupported

from kexkit_noise import limits, nametags, payload, qr
from kexkit_noise._noise import Handshake, KeyPair, Keys, Pattern, Split, key_pair
from kexkit_noise.payload import PayloadV2
from kexkit_noise.qr import COMMITMENT_BYTES, QrCode

RANDOMNESS_BYTES: Final = 32
_PSK_LABEL: Final = b"kexkit/pairing psk/1"


@frozen
class Progress(Unpicklable):
    """What has become of a pairing, what to publish on its topic, and why a frame was not taken."""

    pairing: Pairing
    frame: bytes | None = field(default=None, repr=False)
    refused: Refusal | None = None


@frozen(eq=False)
class Pairing(Unpicklable):
    qr: QrCode
    nametag: bytes = field(repr=False)
    """of message 1: it is not in the QR code, and must reach the initiator beside it"""
    until: int
    """milliseconds: then it is over"""
    auth_code: str | None
    """for both people to compare; none before message 1"""
    confirmed: bool
    static: bytes
    """ours, public"""
    tries: int
    """frames that had the right nametag and nothing else right"""
    _handshake: Handshake = field(repr=False)
    _randomness: bytes = field(repr=False)
    """opens our commitment"""
    _commitment: bytes
    """the peer's"""

    @classmethod
    def show(cls, application: str, version: str, shard: str, *, static: KeyPair, random: bytes, now: int) -> Pairing:
        """The responder's side. `random`: 80 bytes, for an ephemeral key, the commitment and the nametag."""
        ephemeral, randomness, nametag = _cut(random)
        shown = key_pair(ephemeral)
        code = QrCode(application, version, shard, shown.public, nametags.commitment(static.public, randomness))
        keys = Keys(static=static, ephemeral=shown)
        handshake = Handshake.begin(Pattern.WAKU_PAIRING, initiator=False, prologue=code.prologue, keys=keys)
        return cls(code, nametag, now + limits.PAIRING_MS, None, False, static.public, 0, handshake, randomness, b"")

    @classmethod
    def scan(
        cls,
        text: str,
        nametag: bytes,
        *,
        application: str,
        version: str,
        static: KeyPair,
        random: bytes,
        now: int,
    ) -> Progress:
        """The initiator's side, and message 1. `random`: 64 bytes, for an ephemeral key and the commitment."""
        ephemeral, randomness, _ = _cut(random + bytes(nametags.NAMETAG_BYTES))
        code = qr.read(text)
        if (code.application, code.version) != (application, version):
            raise Unsupported("A QR code is of another application, or of another version of this one.")
        keys = Keys(static=static, remote_ephemeral=code.ephemeral)
        handshake = Handshake.begin(Pattern.WAKU_PAIRING, initiator=True, prologue=code.prologue, keys=keys)
        committed = nametags.commitment(static.public, randomness)
        state, frame = _written(handshake, committed, nametag, ephemeral)
        until, shown = now + limits.PAIRING_MS, nametags.auth_code(state.h)
        pairing = cls(code, nametag, until, shown, False, static.public, 0, state, randomness, code.commitment)
        return Progress(pairing, frame)

    @property
    def topic(self) -> str:
        """All of the pairing goes there, and, with js, what is said after it."""
        return nametags.pairing_topic(self.qr.application, self.qr.version, self.qr.shard)

    @property
    def initiator(self) -> bool:
        return self._handshake.initiator

    @property
    def done(self) -> bool:
        return self._handshake.complete

    @property
    def remote_static(self) -> bytes | None:
        """Proven once the pairing is done."""
        return self._handshake.remote_static if self.done else None

    def split(self) -> Split:
        """Keys for one transfer: h is public to whoever saw the QR code, and the keys never change."""
        return self._handshake.split()

    def psk(self) -> bytes:
        """What begins the lasting session, once (XXpsk0); then it is deleted."""
        keys = self.split()
        return nametags.derive(keys.h, 32, _PSK_LABEL, keys.k1 + keys.k2)

    def confirm(self, now: int) -> Progress:
        """The person here says that both devices show `auth_code`. If they do not, drop the pairing."""
        self._check(now)
        if self.auth_code is None:
            raise InvalidInput("There is no code to confirm yet.")
        return evolve(self, confirmed=True)._answered()

    def receive(self, frame: bytes, now: int) -> Progress:
        """A frame from the topic. What does not fit is told in `refused`, and the pairing goes on."""
        self._check(now)
        try:
            if self._handshake.writes or self.done or frame[: nametags.NAMETAG_BYTES] != self._expected():
                raise NotMine("Not the frame that this pairing waits for.")
            return self._taken(payload.decode(frame, Pattern.WAKU_PAIRING.protocol_id))._answered()
        except NotMine as refusal:
            return Progress(self, refused=_bare(refusal))
        except Refusal as refusal:
            return Progress(evolve(self, tries=self.tries + 1), refused=_bare(refusal))

    def _check(self, now: int) -> None:
        if now >= self.until:
            raise Limit("A pairing has timed out.", advice="Show a new QR code.")
        if self.tries >= limits.PAIRING_TRIES:
            raise Limit("Too much was sent to a pairing that did not fit.", advice="Show a new QR code.")

    def _expected(self) -> bytes:
        return self.nametag if self._handshake.step == 0 else nametags.message_nametag(self._handshake.h)

    def _taken(self, received: PayloadV2) -> Pairing:
        read = self._handshake.read(received.fields, received.transport, received.nametag)
        if len(read.payload) != COMMITMENT_BYTES:
            raise Malformed("A pairing's message carries 32 bytes.")
        if self._handshake.step == 0:
            shown = nametags.auth_code(read.state.h)
            return evolve(self, handshake=read.state, commitment=read.payload, auth_code=shown)
        made = nametags.commitment(read.state.remote_static or b"", read.payload)
        if not compare_digest(made, self._commitment):
            raise Forged("A static is not the one that was committed to.")
        return evolve(self, handshake=read.state)

    def _answered(self) -> Progress:
        """With our next message, if it is our turn and the code is confirmed."""
        if not (self.confirmed and self._handshake.writes):
            return Progress(self)
        tag = nametags.message_nametag(self._handshake.h)
        state, frame = _written(self._handshake, self._randomness, tag, b"")
        return Progress(evolve(self, handshake=state), frame)


def _bare(refusal: Refusal) -> Refusal:
    """Without the frames that it came through, which have keys among their locals: it is kept, not raised."""
    refusal.__traceback__ = refusal.__context__ = None
    return refusal


def _cut(random: bytes) -> tuple[bytes, bytes, bytes]:
    if len(random) != 2 * RANDOMNESS_BYTES + nametags.NAMETAG_BYTES:
        raise InvalidInput("A pairing needs 80 random bytes to show, and 64 to scan.")
    return random[:32], random[32:64], random[64:]


def _written(handshake: Handshake, content: bytes, nametag: bytes, ephemeral: bytes) -> tuple[Handshake, bytes]:
    written = handshake.write(content, nametag, ephemeral=ephemeral)
    sent = PayloadV2(nametag, Pattern.WAKU_PAIRING.protocol_id, written.fields, written.transport)
    return written.state, payload.encode(sent)
