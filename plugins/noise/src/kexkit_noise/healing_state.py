"""What changes in a healing session, and its bytes.

The sending half has two phases, and each holds what it needs and no more. `Speaking`: our ratchet key pair and its
chain. `Listening`: the peer has turned since; pair and chain are gone, and the next text makes new ones.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, TypeAlias
from zlib import crc32

from kexkit.api import Unpicklable, value
from kexkit.errors import StoreCorrupt, StoreNewer

from kexkit_noise import limits
from kexkit_noise.healing_keys import HeaderKey
from kexkit_noise.healing_skipped import Kept
from kexkit_noise.nametags import session_topic, termination_marker

FORMAT: Final = 1
KIND: Final = 0x48
"""'H': not another of this plugin's values"""
_SUM_BYTES: Final = 4
"""Bytes that went wrong in the store are told from a peer's forgery. A checksum protects nothing else."""
_FIXED: Final = Struct(">BBB32s32s16s")
_CHANGING: Final = Struct(">B32s32s32sH32s32sH32s32s32sH32s32sQQHI")
_BYTES: Final = _FIXED.size + _CHANGING.size + _SUM_BYTES
_SPEAKS, _HEARS = 1, 2
_NONE: Final = bytes(32)


@value(eq=False, repr=False)
class Fixed(Unpicklable):
    """What a session is from beginning to end."""

    id: bytes
    """as core knows it"""
    sid: bytes
    """as its messages are bound to it: the handshake's transcript"""
    initiator: bool
    topic: str
    """the content topic of both directions"""
    marker: bytes
    """what, sealed, says that the session is over (37)"""
    packed: bytes


@value(eq=False, repr=False)
class Speaking(Unpicklable):
    secret: bytes
    public: bytes
    pn: int
    """messages of our chain before"""
    chain: bytes
    header: HeaderKey
    n: int
    """of the next message"""


@value(eq=False, repr=False)
class Listening:
    n: int
    """messages of our last chain"""


Sending: TypeAlias = Speaking | Listening


@value(eq=False, repr=False)
class Receiving(Unpicklable):
    """The peer's present chain."""

    header: HeaderKey
    chain: bytes
    n: int
    """of the next message"""

    def expects(self, tag: bytes) -> bool:
        """It is the nametag of the next message."""
        return self.n < limits.CHAIN_MESSAGES and self.header.tag(self.n) == tag


@value(eq=False, repr=False)
class Ratchet(Unpicklable):
    """All that changes."""

    root: bytes
    sending: Sending
    next_sending: HeaderKey
    receiving: Receiving | None
    """None: the peer has sent nothing yet"""
    peer: bytes
    """its ratchet key"""
    next_receiving: HeaderKey
    kept: Kept
    count: int
    """messages sealed and opened"""


def fixed(session: bytes, sid: bytes, topic_name: bytes, *, initiator: bool) -> Fixed:
    """`topic_name`: 16 bytes."""
    packed = _FIXED.pack(FORMAT, KIND, initiator, session, sid, topic_name)
    topic = session_topic("kexkit", "1", topic_name.hex())
    return Fixed(session, sid, initiator, topic, termination_marker(sid), packed)


def pack(fixed: Fixed, ratchet: Ratchet) -> bytes:
    """Always of one length."""
    flags = 0
    secret = public = send_chain = send_header = receive_header = receive_chain = _NONE
    pn = receive_n = 0
    sending, receiving, kept = ratchet.sending, ratchet.receiving, ratchet.kept
    if isinstance(sending, Speaking):
        flags |= _SPEAKS
        secret, public, pn = sending.secret, sending.public, sending.pn
        send_chain, send_header = sending.chain, sending.header.key
    if receiving is not None:
        flags |= _HEARS
        receive_header, receive_chain, receive_n = receiving.header.key, receiving.chain, receiving.n
    body = fixed.packed + _CHANGING.pack(
        flags,
        ratchet.root,
        secret,
        public,
        pn,
        send_chain,
        send_header,
        sending.n,
        ratchet.next_sending.key,
        receive_header,
        receive_chain,
        receive_n,
        ratchet.peer,
        ratchet.next_receiving.key,
        kept.made,
        kept.low,
        kept.unused,
        ratchet.count,
    )
    return body + crc32(body).to_bytes(_SUM_BYTES, "big")


def unpack(raw: bytes) -> tuple[Fixed, Ratchet]:
    if raw[:1] > bytes((FORMAT,)):
        raise StoreNewer("A stored session was written by a newer kexkit-noise.")
    body = raw[:-_SUM_BYTES]
    if (
        len(raw) != _BYTES
        or raw[:2] != bytes((FORMAT, KIND))
        or crc32(body) != int.from_bytes(raw[-_SUM_BYTES:], "big")
    ):
        raise StoreCorrupt("A stored session is damaged.")
    _, _, initiator, session, sid, topic_name = _FIXED.unpack_from(raw)
    flags, root, secret, public, pn, *middle = _CHANGING.unpack_from(raw, _FIXED.size)
    send_chain, send_header, send_n, next_sending, *received, made, low, unused, count = middle
    receive_header, receive_chain, receive_n, peer, next_receiving = received
    if initiator > 1 or flags > _SPEAKS | _HEARS:
        raise StoreCorrupt("A stored session contradicts itself.")
    sending: Sending = Listening(send_n)
    if flags & _SPEAKS:
        sending = Speaking(secret, public, pn, send_chain, HeaderKey(send_header), send_n)
    receiving = Receiving(HeaderKey(receive_header), receive_chain, receive_n) if flags & _HEARS else None
    ratchet = Ratchet(
        root,
        sending,
        HeaderKey(next_sending),
        receiving,
        peer,
        HeaderKey(next_receiving),
        Kept(made, low, unused),
        count,
    )
    _check(ratchet, pn)
    return fixed(session, sid, topic_name, initiator=bool(initiator)), ratchet


def _check(ratchet: Ratchet, pn: int) -> None:
    """Nothing that `pack` could not have written."""
    receiving, kept = ratchet.receiving, ratchet.kept
    heard = receiving.n if receiving is not None else 1
    if (
        max(ratchet.sending.n, pn, heard) > limits.CHAIN_MESSAGES
        or not kept.low <= kept.made
        or kept.unused > min(kept.made - kept.low, limits.SKIPPED_KEYS)
        or (receiving is None and not isinstance(ratchet.sending, Speaking))
    ):
        raise StoreCorrupt("A stored session contradicts itself.")
