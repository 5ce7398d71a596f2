"""Stored rows: their keys, and their bytes to types and back. The one place that reads what the store gives.

Ids sort bytewise, so every number in one is big-endian and every variable part but the last has a length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeVar

from attrs import field, frozen
from google.protobuf.message import DecodeError, Message

from kexkit._pb.record import record_pb2 as pb
from kexkit.api import Change, Device, Envelope, Key, Row, Unpicklable, Versioned
from kexkit.errors import KexkitError, StoreCorrupt, StoreNewer

T = TypeVar("T")
M = TypeVar("M", bound=Message)

FORMAT: Final = 1
"""of `Peer` and `Self` rows; a row with a higher one was written by newer code"""

Peer = pb.Peer
PeerDevice = pb.Device
PeerAdvert = pb.Advert
SessionRef = pb.SessionRef
Text = pb.Text
Outgoing = pb.Outgoing
Held = pb.Held
Inbox = pb.Inbox
Unreadable = pb.Unreadable
Question = pb.Question
Own = pb.Own
Self = pb.Self
Chat = pb.Chat
Route = pb.Route
Offered = pb.Offered
Withheld = pb.Withheld
for _holding in (Self, Text, Question, Withheld):
    _holding.__reduce__ = Unpicklable.__reduce__  # type: ignore[assignment]  # generated: it has no bases of ours

IDENTITY_BYTES: Final = 33
"""with which the ids of what belongs to a person begin"""
SEQUENCE_BYTES: Final = 8
RECEIPT_MARK_BYTES: Final = 8
SELF: Final[Key] = ("self", b"")
SIGNED_OFFER: Final[Key] = ("own", b"")


class Timer:
    """Kinds of timer row. Stored: never renumber."""

    SESSION_DUE: Final = 1
    DRAWER_EXPIRY: Final = 2
    OFFER_RENEWAL: Final = 3
    FLUSH: Final = 4
    RETRY_HELD: Final = 5
    PURGE_DRAWER: Final = 6
    PURGE_SEEN: Final = 7
    ADVERTISE: Final = 8
    HALF_EXPIRY: Final = 9
    HELD_EXPIRY: Final = 10
    OFFER_EXPIRY: Final = 11
    CONFIRM: Final = 12
    QUIET: Final = 13
    PURGE_UNCONFIRMED: Final = 14
    WITHHELD_EXPIRY: Final = 15
    REQUEUE: Final = 16
    ASIDE_EXPIRY: Final = 17
    TELL_OFFER: Final = 18
    SAY_AGAIN: Final = 19


def peer_key(identity: bytes) -> Key:
    return ("peer", identity)


def chat_key(peer: bytes) -> Key:
    return ("chat", peer)


def own_key(mechanism: str) -> Key:
    return ("own", mechanism.encode())


def session_key(session_id: bytes) -> Key:
    return ("session", session_id)


def half_key(session_id: bytes) -> Key:
    """Accepted from an opening that does not say who sent it, and not yet proven."""
    return ("half", session_id)


def stranger_key(identity: bytes) -> Key:
    """Somebody who wrote, and whom nobody has added."""
    return ("stranger", identity)


def plan_key(kind: int) -> Key:
    """When regular work of this kind is next due: one timer of it counts, however often it was planned."""
    return ("plan", bytes((kind,)))


def place_key(session_id: bytes) -> Key:
    """Among whose sessions a session stands."""
    return ("place", session_id)


def offered_key(digest: bytes) -> Key:
    """An offer of our own that was published."""
    return ("offered", digest)


def confirm_key(session_id: bytes) -> Key:
    """What we attach to every payload of a session until the peer has it."""
    return ("confirm", session_id)


def unconfirmed_key(session_id: bytes, message_id: bytes) -> Key:
    """A text that was sealed in a session before the peer confirmed it."""
    return ("unconfirmed", session_id + message_id)


def withheld_key(identity: bytes, message_id: bytes) -> Key:
    """A text that came over a session which was refused."""
    return ("withheld", identity + message_id)


@lru_cache(maxsize=64)  # of mechanisms: those that are loaded
def drawer_prefix(mechanism: str) -> bytes:
    name = mechanism.encode()
    return bytes((len(name),)) + name


def drawer_key(mechanism: str, row: bytes) -> Key:
    return ("drawer", drawer_prefix(mechanism) + row)


def text_key(message_id: bytes) -> Key:
    return ("text", message_id)


def order_key(peer: bytes, clock: int, message_id: bytes) -> Key:
    return ("order", order_prefix(peer) + clock.to_bytes(8, "big") + message_id)


@lru_cache(maxsize=1024)  # of public keys
def order_prefix(peer: bytes) -> bytes:
    return sha256(peer).digest()[:16]


def sequence_key(table: str, sequence: int) -> Key:
    return (table, sequence.to_bytes(8, "big"))


def inbox_receipt(place: bytes, entry: Inbox) -> bytes:
    """A row's place, and a mark of what stands there: should the clock go back over a restart and a number come again,
    an acknowledgement that comes late still means what it was given for."""
    return place + (entry.text or entry.mark)[:RECEIPT_MARK_BYTES]


def split_sequence(id_: bytes) -> int:
    """Of an outbox or inbox row."""
    return int.from_bytes(id_[:8], "big")


def waiting_prefix(peer: bytes) -> bytes:
    return peer


def waiting_key(peer: bytes, installation: str, clock: int, message_id: bytes) -> Key:
    name = installation.encode()
    return ("waiting", peer + clock.to_bytes(8, "big") + message_id + name)


def aside_row(until: int) -> bytes:
    """The value of a waiting row for which its text does not wait: until when it is kept. That of others is empty."""
    return until.to_bytes(8, "big")


def aside_until(value: bytes) -> int | None:
    return int.from_bytes(value, "big") if value else None


def device_reference(identity: bytes, installation: str) -> bytes:
    """Of a timer that is about one device; a place to go on from may follow."""
    name = installation.encode()
    return identity + bytes((len(name),)) + name


def split_device_reference(reference: bytes) -> tuple[bytes, str, bytes]:
    """identity, installation, what follows"""
    end = IDENTITY_BYTES + 1 + reference[IDENTITY_BYTES]
    return reference[:IDENTITY_BYTES], reference[IDENTITY_BYTES + 1 : end].decode(), reference[end:]


def split_waiting(id_: bytes) -> tuple[bytes, int, bytes, str]:
    """identity, clock, message id, installation"""
    return id_[:33], int.from_bytes(id_[33:41], "big"), id_[41:73], id_[73:].decode()


def seen_key(day: int, message_hash: bytes) -> Key:
    return ("seen", day.to_bytes(4, "big") + message_hash)


def held_key(peer: bytes, payload: bytes) -> Key:
    return ("held", peer + sha256(payload).digest()[:16])


def route_key(topic: str, tag: bytes) -> Key:
    return ("route", sha256(topic.encode()).digest()[:16] + tag)


def cursor_key(topic: str) -> Key:
    return ("cursor", topic.encode())


def timer_key(due: int, kind: int, reference: bytes = b"") -> Key:
    return ("timer", max(due, 0).to_bytes(8, "big") + bytes((kind,)) + reference)


def rest_timer(due: int, session_id: bytes, until: int = 0, *, put_off: bool = False) -> Key:
    """A look whether a session that seals no more was quiet for long. `until`: when it goes in any case; 0: never."""
    return timer_key(due, Timer.QUIET, session_id + until.to_bytes(8, "big") + bytes((put_off,)))


def split_rest(reference: bytes) -> tuple[bytes, int, bool]:
    """session, until, whether it was put off"""
    return reference[:-9], int.from_bytes(reference[-9:-1], "big"), bool(reference[-1])


def split_timer(id_: bytes) -> tuple[int, int, bytes]:
    """due, kind, reference"""
    return int.from_bytes(id_[:8], "big"), id_[8], id_[9:]


def prefix_end(prefix: bytes) -> bytes | None:
    """The first id after all that start with `prefix`."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None


# --- values ----------------------------------------------------------------------------------------------------------


def quietly(read: Callable[[Versioned], T], row: Versioned) -> T:
    """What reading a damaged row raises ends here: the locals behind it hold texts and keys."""
    try:
        return read(row)
    except KexkitError as error:
        error.__context__ = None
        raise error.with_traceback(None) from None


@frozen
class StoredSession(Unpicklable):
    mechanism: str
    snapshot: bytes = field(repr=False)


def read_session(value: bytes) -> StoredSession:
    """Before the snapshot stands drawer_prefix(mechanism)."""
    try:
        size = value[0]
        return StoredSession(value[1 : 1 + size].decode(), value[1 + size :])
    except (IndexError, UnicodeDecodeError):
        raise StoreCorrupt("A session row does not parse.") from None


def write_place(device: Device) -> bytes:
    return device.identity + device.installation.encode()


def read_place(value: bytes) -> Device:
    try:
        return Device(value[:IDENTITY_BYTES], value[IDENTITY_BYTES:].decode())
    except UnicodeDecodeError:
        raise StoreCorrupt("A place row does not parse.") from None


def write_row(row: Row) -> bytes:
    """Eight bytes of `until` (zero: none), then the plugin's bytes."""
    return (row.until or 0).to_bytes(8, "big") + row.value


def read_row(value: bytes) -> Row:
    if len(value) < 8:
        raise StoreCorrupt("A drawer row does not parse.")
    return Row(value[8:], int.from_bytes(value[:8], "big") or None)


def _parsed(message: M, value: bytes, what: str) -> M:
    try:
        message.ParseFromString(value)
    except DecodeError:
        raise StoreCorrupt(f"A {what} row does not parse.") from None
    return message


def read_peer(value: bytes) -> Peer:
    peer = _parsed(pb.Peer(), value, "peer")
    if peer.format > FORMAT:
        raise StoreNewer()
    return peer


def first_row(key: Key, content: bytes) -> Change:
    """Write a row that must not exist."""
    return Change({key: 0}, {key: content})


def new_peer() -> Peer:
    return pb.Peer(format=FORMAT)


def write(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def read_text(value: bytes) -> Text:
    return _parsed(pb.Text(), value, "text")


def read_outgoing(value: bytes) -> Outgoing:
    return _parsed(pb.Outgoing(), value, "outbox")


def read_held(value: bytes) -> Held:
    return _parsed(pb.Held(), value, "held")


def read_inbox(value: bytes) -> Inbox:
    return _parsed(pb.Inbox(), value, "inbox")


def read_own(value: bytes) -> Own:
    return _parsed(pb.Own(), value, "own")


@lru_cache(maxsize=64)  # of our own few offers, each in every message
def own_public(value: bytes) -> bytes:
    return read_own(value).public


def read_self(value: bytes) -> Self:
    me = _parsed(pb.Self(), value, "self")
    if me.format > FORMAT:
        raise StoreNewer()
    return me


def read_route(value: bytes) -> Route:
    return _parsed(pb.Route(), value, "route")


def read_offered(value: bytes) -> Offered:
    return _parsed(pb.Offered(), value, "offered")


def read_withheld(value: bytes) -> Withheld:
    return _parsed(pb.Withheld(), value, "withheld")


def read_chat(value: bytes) -> Chat:
    return _parsed(pb.Chat(), value, "chat")


def outgoing_of(envelope: Envelope, message_id: bytes = b"", peer: bytes = b"") -> Outgoing:
    return pb.Outgoing(
        topic=envelope.topic,
        payload=envelope.payload,
        version=envelope.version,
        timestamp=envelope.timestamp,
        ephemeral=envelope.ephemeral,
        message=message_id,
        peer=peer,
    )


def envelope_of(outgoing: Outgoing) -> Envelope:
    return Envelope(outgoing.topic, outgoing.payload, outgoing.version, outgoing.timestamp, outgoing.ephemeral)
