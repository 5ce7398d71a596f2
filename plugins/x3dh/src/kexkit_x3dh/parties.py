"""What never changes in a session: who, with whom, begun by which keys."""

from __future__ import annotations

from struct import Struct
from typing import Final

from attrs import field, frozen
from kexkit.api import Device
from kexkit.errors import StoreCorrupt

from kexkit_x3dh import snapshots
from kexkit_x3dh.agreement import installation_bytes, session_id

_FIXED: Final = Struct(">32s?33s33s33sB")


@frozen
class Parties:
    id: bytes
    ours: bool
    """we began"""
    peer: Device
    prekey: bytes
    """the responder's, public; it names the session on the wire"""
    ephemeral: bytes
    """the initiator's, public"""
    packed: bytes = field(init=False, repr=False, eq=False)
    """made once: the head of every snapshot"""

    @packed.default
    def _pack(self) -> bytes:
        installation = installation_bytes(self.peer.installation)
        fixed = (self.id, self.ours, self.prekey, self.ephemeral, self.peer.identity, len(installation))
        return snapshots.head(snapshots.RATCHET) + _FIXED.pack(*fixed) + installation


def began(me: Device, peer: Device, *, prekey: bytes, ephemeral: bytes) -> Parties:
    """A session that we begin."""
    return Parties(session_id(me, peer, ephemeral=ephemeral, prekey=prekey), True, peer, prekey, ephemeral)


def answered(me: Device, peer: Device, *, prekey: bytes, ephemeral: bytes) -> Parties:
    """A session that they began."""
    return Parties(session_id(peer, me, ephemeral=ephemeral, prekey=prekey), False, peer, prekey, ephemeral)


def unpack(raw: bytes) -> tuple[Parties, bytes]:
    """The parties at the head of a snapshot, and what follows."""
    if len(raw) < _FIXED.size:
        raise StoreCorrupt("A stored session is too short.")
    id_, ours, prekey, ephemeral, identity, length = _FIXED.unpack_from(raw)
    rest = raw[_FIXED.size :]
    try:
        installation = rest[:length].decode()
    except UnicodeDecodeError:
        raise StoreCorrupt("A stored session names no installation.") from None
    if not length or len(rest) < length:
        raise StoreCorrupt("A stored session names no installation.")
    return Parties(id_, ours, Device(identity, installation), prekey, ephemeral), rest[length:]
