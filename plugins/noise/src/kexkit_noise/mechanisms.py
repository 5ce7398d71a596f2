"""The eight names: which handshake, and what follows it. They differ in tags and payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen
from kexkit.api import Guarantee
from kexkit.errors import Malformed
from kexkit.identity import tagged_digest

from kexkit_noise import nametags
from kexkit_noise._noise import Handshake, Pattern
from kexkit_noise.keys import KEY_BYTES
from kexkit_noise.statement import STATEMENT_BYTES

PLAIN: Final = (
    Guarantee.SECRET
    | Guarantee.FROM_PEER
    | Guarantee.TO_PEER
    | Guarantee.OUT_OF_ORDER
    | Guarantee.REPLAY_SAFE
    | Guarantee.BINDS
)
"""Of a session whose keys never change: whoever steals it reads all of it, before and after. The statics alone open
nothing, for both ephemeral keys are in its secret; but the contract counts a theft of what is stored."""
HEALING: Final = PLAIN | Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE
HINT_ID: Final = 0x8F
"""Protocol id of the answer to an opening whose offer is outdated."""
_HEALS: Final = 0x80
_FORMAT: Final = b"\x01"
_PROLOGUE: Final = b"kexkit/noise/1"


@frozen
class Mechanism:
    pattern: Pattern
    heals: bool

    @property
    def name(self) -> str:
        stem = f"noise-{self.pattern.name.lower()}/1"
        return f"healing-{stem}" if self.heals else stem

    @property
    def guarantees(self) -> Guarantee:
        return HEALING if self.heals else PLAIN

    @property
    def protocol_id(self) -> int:
        """Waku's, or one that no implementation of Waku's takes."""
        return self.pattern.protocol_id | (_HEALS if self.heals else 0)

    # --- which message says who is who ---

    @property
    def offer_says_static(self) -> bool:
        """The responder's static is known before the handshake, and not sent in it."""
        return self.pattern in (Pattern.XK1, Pattern.K1K1)

    @property
    def first_says_who(self) -> bool:
        """The initiator names itself in clear, or the responder could not take part."""
        return self.pattern is Pattern.K1K1

    @property
    def wants_psk(self) -> bool:
        return self.pattern is Pattern.XXPSK0

    # --- nametags of messages 2 and 3 ---

    def second_tag(self, state: Handshake) -> bytes:
        """Of `state` after message 1. Public: messages 1 and 2 can be linked."""
        if self.heals:
            return tagged_digest(b"kexkit/noise tag2/1", state.h)[: nametags.NAMETAG_BYTES]
        return nametags.message_nametag(state.h)

    def third_tag(self, state: Handshake) -> bytes:
        """Of `state` after message 2. Secret if it heals."""
        if self.heals:
            return nametags.derive(state.ck, nametags.NAMETAG_BYTES, b"kexkit/noise tag3/1")
        return nametags.message_nametag(state.h)

    # --- payloads of messages 2 and 3: 01 || ratchet key 32 (if it heals) || lp16(statement, or nothing) ---

    def write_payload(self, ratchet: bytes, stated: bytes) -> bytes:
        return _FORMAT + ratchet + len(stated).to_bytes(2, "big") + stated

    def read_payload(self, payload: bytes, *, stated: bool) -> tuple[bytes, bytes]:
        """The ratchet key, and the statement if there must be one."""
        key = KEY_BYTES if self.heals else 0
        size = STATEMENT_BYTES if stated else 0
        if len(payload) != 1 + key + 2 + size or payload[:1] != _FORMAT:
            raise Malformed("The payload of a handshake message is not what belongs there.")
        if payload[1 + key : 3 + key] != size.to_bytes(2, "big"):
            raise Malformed("The lengths in the payload of a handshake message do not add up.")
        return payload[1 : 1 + key], payload[3 + key :]


def prologue(bind: bytes) -> bytes:
    return _PROLOGUE + bind


def opening_id(state: Handshake) -> bytes:
    """A session's id: fixed by message 1, so that its repetition makes no second session."""
    return tagged_digest(b"kexkit/noise opening id/1", state.h)


def handshake_topic(initiators_ephemeral: bytes) -> str:
    """Where messages 2 and 3 go: both know it from message 1, and the responder knows nobody else's yet."""
    name = tagged_digest(b"kexkit/handshake topic/1", initiators_ephemeral)[:16].hex()
    return nametags.session_topic("kexkit", "1", name)


_PATTERNS: Final = (Pattern.XK1, Pattern.XX, Pattern.K1K1, Pattern.XXPSK0)
MECHANISMS: Final[Mapping[str, Mechanism]] = {
    mechanism.name: mechanism for heals in (True, False) for mechanism in (Mechanism(p, heals) for p in _PATTERNS)
}
