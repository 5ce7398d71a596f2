"""What the tests of x3dh/1 share: two devices that have met or not, and frames changed by hand."""

from __future__ import annotations

from typing import Any

from kexkit.errors import Refusal
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit.testing.pair import Pair
from kexkit_x3dh._pb.encrypted_message_pb2 import EncryptedMessageProtocol
from kexkit_x3dh.exchange import X3DH
from kexkit_x3dh.limits import PRODUCTION, Limits
from kexkit_x3dh.session import RatchetSession

NEGATIVE = {2: 3, 3: 2}
OFF_CURVE = b"\x02" + bytes(31) + b"\x05"
"""no point has this x coordinate"""


def strangers(bounds: Limits = PRODUCTION) -> Pair:
    """Alice and Bob know each other's bundles, no more."""
    return Pair(lambda: X3DH(bounds=bounds))


def met(bounds: Limits = PRODUCTION) -> Pair:
    """Their session is past its first flights."""
    pair = strangers(bounds)
    pair.meet()
    return pair


def opening(pair: Pair, text: bytes = b"first") -> Sent:
    """Alice's first frame to Bob, not delivered."""
    pair.alice.initiate(pair.bob.me)
    (sent,) = pair.alice.seal(text, pair.bob.me)
    return sent


def seal(sender: Party, reader: Party, text: bytes = b"text") -> Sent:
    (sent,) = sender.seal(text, reader.me)
    return sent


def session(party: Party, peer: Party) -> RatchetSession:
    found = party.session_with(peer.me)
    assert isinstance(found, RatchetSession)
    return found


def parsed(sent: Sent) -> Any:
    return EncryptedMessageProtocol.FromString(sent.frame)


def rewritten(sent: Sent, message: Any) -> Sent:
    return sent.altered(message.SerializeToString())


def with_header(sent: Sent, **fields: Any) -> Sent:
    """The frame with these fields of its ratchet header changed."""
    message = parsed(sent)
    for name, content in fields.items():
        setattr(message.dr_header, name, content)
    return rewritten(sent, message)


def negated(key: bytes) -> bytes:
    return bytes((NEGATIVE[key[0]],)) + key[1:]


def refusal(party: Party, sent: Sent) -> Refusal | None:
    """Why this device refuses the frame; None: it took it. That a refusal changes nothing is checked inside."""
    try:
        party.receive(sent)
    except Refusal as refused:
        return refused
    return None
