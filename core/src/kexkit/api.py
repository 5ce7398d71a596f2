"""The plugin contract: what a key exchange, a store and a transport are.

Values in, `Step` or `Wants` out. What lasts is a property of the session value (`peer`, `grade`, `due`, `hears`), which
core compares; what happens once is in the `Step`. Everything durable, timers included, is a row. A `Change` says what
it relied on (`given`) and what becomes of it (`put`, `drop`). This module imports the standard library, attrs and
`kexkit.errors` alone, so that an author can read all of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum, Flag, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from kexkit.errors import (
    Conflict,
    Forged,
    Limit,
    Malformed,
    NoOffer,
    NotMine,
    Refusal,
    Replayed,
    StorageError,
    StoreBusy,
    StoreCorrupt,
    StoreNewer,
    StoreUnusable,
    TransportError,
    TransportRefused,
    Unknown,
)

if TYPE_CHECKING:
    from attrs import frozen as value  # checked as frozen everywhere; see the else branch
else:
    # At run time these are plain slotted classes: about four times cheaper to make than frozen ones. Only for values
    # made once a message; the kits test that nobody changes one.
    from attrs import define as value


API_VERSION = "1"
"""The contract's version. A plugin module says `kexkit_api = "1"`; another major is refused, naming both."""


class Unpicklable:
    """For whatever holds a key or a text, of plugins too: pickle and copy get a TypeError instead of what it holds."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} may hold secrets: it is neither pickled nor copied")


class Guarantee(Flag):
    """One vocabulary: what a mechanism can reach, what a session gives now, what a received text had."""

    NONE = 0
    SECRET = auto()
    """only the peer's device can read it"""
    FROM_PEER = auto()
    """the receiver knows which device sealed it"""
    TO_PEER = auto()
    """the sealer had proof of whom it seals to"""
    FORWARD_SECRECY = auto()
    """a later theft of the receiver's state does not open it"""
    POST_COMPROMISE = auto()
    """after a full turn, an earlier theft does not open it"""
    OUT_OF_ORDER = auto()
    """frames open in any order, within the mechanism's limits"""
    OFFLINE_START = auto()
    """the first text can leave without an answer"""
    REPLAY_SAFE = auto()
    """the first flight too opens once only"""
    BINDS = auto()
    """Opening.bind is in the transcript; without it core confirms inside the first texts"""


class Carriage(Enum):
    """How frames travel."""

    SLOT = auto()
    """is the value in Status's map by installation; at most one loaded mechanism claims it"""
    FRAME = auto()
    """rides beside that map, in ProtocolMessage field 20056"""
    BARE = auto()
    """is the whole payload of a version-2 message, and starts with its 16-byte tag"""


@frozen
class Device:
    """One installation of one person. The empty installation means 'whichever you are'."""

    identity: bytes
    """33 bytes: the compressed secp256k1 key of the person"""
    installation: str


class Identity(Protocol):
    """Our identity key; it may live in hardware."""

    @property
    def public(self) -> bytes:
        """33 bytes, compressed."""
        ...

    def sign(self, label: bytes, material: bytes) -> bytes:
        """kexkit's own form: ECDSA over SHA-256(SHA-256(label) || SHA-256(label) || material), r || s, low s."""
        ...

    def sign_status(self, material: bytes) -> bytes:
        """Status's form: ECDSA over keccak-256(material), r || s || recovery, low s, 65 bytes."""
        ...

    def agree(self, public: bytes) -> bytes:
        """The 32-byte x coordinate of the Diffie-Hellman point with a compressed public key, or Malformed."""
        ...


@value
class Context(Unpicklable):
    """Everything impure that a step may use."""

    me: Device
    now: int
    """milliseconds since 1970"""
    rng: Callable[[int], bytes] = field(repr=False)
    identity: Identity = field(repr=False)


Have: TypeAlias = Mapping[bytes, bytes | None]
"""The rows asked for; None: looked up, not there."""
NOTHING: Have = MappingProxyType({})


@value
class Wants:
    """'Call me again with these rows of my drawer.' Before any randomness is drawn; never twice for one row."""

    rows: frozenset[bytes]


@value
class Row(Unpicklable):
    """A row to keep in the mechanism's drawer; core deletes it at `until` (milliseconds)."""

    value: bytes = field(repr=False)
    until: int | None = None


@frozen
class Hear:
    """Where BARE frames turn up: a topic of one's own, or a topic and a tag where many share it. It has one owner."""

    topic: str
    tag: bytes = b""


@frozen
class Advert:
    """One device's published offer, verified. Core keeps the highest (epoch, issued) per device and mechanism; of what
    came in signed offers, that of the offer with the highest number."""

    device: Device
    public: bytes
    """what `initiate` needs of the device"""
    epoch: int
    """a higher one makes older sessions stale for sending"""
    issued: int
    """grows with every publication, within an epoch too"""
    expires: int
    """milliseconds; an expired advert starts no session"""
    traits: frozenset[str] = frozenset()
    """what core must know of the device: 'negotiated-topic'; 'static:…', a long-term key's digest, of which another one
    is told to a person"""


@frozen
class Offer(Unpicklable):
    """Our own: what to publish, what to keep for it, when to make the next."""

    public: bytes
    keep: Mapping[bytes, Row] = field(repr=False)
    renew: int
    """milliseconds"""


@frozen
class Opening(Unpicklable):
    """What core knows when a session begins. Both ends compute the same `bind`."""

    peer: Device | None
    """None: the frame does not say who sent it"""
    advert: Advert | None
    """None: nothing is known but the identity"""
    bind: bytes = b""
    """digest of mechanism, parties known to both, offers used"""
    secret: bytes | None = field(default=None, repr=False)
    """typed, scanned, pre-shared"""
    to: Hear | None = None
    """BARE: where an opening to this offer goes, and the tag with which its frame starts; core hears there"""
    offered: bytes = b""
    """BARE, accept(): which public bytes of ours the opening answers"""
    hint: bytes = field(default=b"", repr=False)
    """BARE, accept(): not empty if the offer that it answers is outdated. Then no session begins: the Step holds one
    frame that carries these bytes to the initiator in clear (they are our present signed offer)"""


@value
class Plain(Unpicklable):
    """An opened text, and what protected it."""

    body: bytes = field(repr=False)
    grade: Guarantee


@frozen
class Ask:
    """The session cannot go on without a person: show `text`, come back with an Answer."""

    kind: str
    """'compare', 'code'"""
    text: str


@frozen
class Due:
    """`session.due` has come."""


@frozen
class Close:
    """Say goodbye if the protocol can, and seal no more. What is under way may still be heard, for a bounded time."""


@frozen
class Answer(Unpicklable):
    """To an Ask."""

    value: bytes = field(repr=False)


Cue: TypeAlias = Due | Close | Answer


@value
class Step(Unpicklable):
    """The successor and its effects: all in one commit, or none."""

    session: Session | None
    """None: over; core forgets it, its routes, its rows. The same object: nothing to write"""
    frames: tuple[bytes, ...] = ()
    """leave after the commit"""
    to: str | None = None
    """BARE only: the content topic they go to"""
    plain: tuple[Plain, ...] = ()
    """told after the commit"""
    asks: tuple[Ask, ...] = ()
    offers: tuple[bytes, ...] = ()
    """signed offers of the peer that came in clear (see Opening.hint); core verifies them"""
    keep: Mapping[bytes, Row] = MappingProxyType({})
    """drawer rows; session-owned ones start with session.id"""
    drop: tuple[bytes, ...] = ()
    """drawer rows to delete"""


class Session(Protocol):
    """Cryptographic state between two devices, as a value: methods return its successor, never change it."""

    @property
    def id(self) -> bytes:
        """32 bytes, the same on both ends, fixed by the opening, no secret."""
        ...

    @property
    def peer(self) -> Device | None:
        """None until proven."""
        ...

    @property
    def grade(self) -> Guarantee | None:
        """What seal() gives now; None: cannot seal (not yet, or worn out)."""
        ...

    @property
    def due(self) -> int | None:
        """When it wants a Due, in milliseconds."""
        ...

    @property
    def hears(self) -> frozenset[Hear]:
        """Where its BARE frames turn up. Another object only when it differs: core compares with `is` first."""
        ...

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step: ...

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step | Wants:
        """Raises Refusal, nothing else."""
        ...

    def cue(self, cue: Cue, *, ctx: Context) -> Step: ...

    def snapshot(self) -> bytes:
        """Versioned; of constant size."""
        ...


class KeyExchange(Protocol):
    """A way for two devices to get sessions. It holds configuration only: its keys are rows of its drawer."""

    @property
    def name(self) -> str:
        """On the wire, so it carries a version: 'x3dh/1', 'psk@example.org/1'."""
        ...

    @property
    def carriage(self) -> Carriage: ...

    @property
    def guarantees(self) -> Guarantee: ...

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        """Make our next offer, or make the present one again if it need not change yet."""
        ...

    def read_offer(self, public: bytes, *, maker: Device, ctx: Context) -> tuple[Advert, ...]:
        """Verify what `maker` published, or raise Refusal. An installation of "" means: not known yet."""
        ...

    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        """Begin. Raises NoOffer when the opening does not say enough."""
        ...

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        """A frame that no session claims. Raises Refusal, nothing else."""
        ...

    def restore(self, snapshot: bytes) -> Session: ...


Key: TypeAlias = tuple[str, bytes]
"""(table of at most 16 ASCII characters, id of at most 240 bytes); ids are sorted bytewise."""


@value
class Versioned(Unpicklable):
    """A stored value; its revision is 1 when made and grows by 1 with each put, so writers know it unread."""

    value: bytes = field(repr=False)
    revision: int


@value
class Change(Unpicklable):
    """If every row in `given` is at that revision (0: absent), all the rest happens; else Conflict, and nothing.

    A key is never in both `put` and `drop`.
    """

    given: Mapping[Key, int]
    put: Mapping[Key, bytes] = field(repr=False)
    drop: frozenset[Key] = frozenset()
    """absent ones are no error"""
    words: Mapping[Key, str] = field(default=MappingProxyType({}), repr=False)
    """for stores that search"""


class Store(Protocol):
    """Ordered, opaque, atomic. apply() returns when the change is on stable storage."""

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        """Absent keys are absent from the answer."""
        ...

    async def apply(self, change: Change) -> None:
        """Conflict: nothing happened. Any other StorageError: the outcome is unknown."""
        ...

    def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        """Rows with start <= id < stop, in order of id (or the reverse), at most `limit`."""
        ...


@runtime_checkable
class Searches(Protocol):
    """A capability that a store may have besides."""

    def search(self, table: str, prefix: bytes, words: str, *, limit: int) -> AsyncIterator[Key]: ...


@frozen
class Envelope:
    """What a transport moves. It says nothing of people."""

    topic: str
    """Waku content topic"""
    payload: bytes
    version: int
    """1: a spec 26 payload; 2: PayloadV2"""
    timestamp: int
    """nanoseconds"""
    ephemeral: bool = False


@frozen
class Arrival:
    """An envelope that came, and where its topic stands."""

    envelope: Envelope
    cursor: bytes
    """of its topic: watch from here again and miss nothing after"""


class Transport(Protocol):
    """At least once, in any order, trusted with nothing."""

    async def publish(self, envelope: Envelope) -> None:
        """Returned: the network has it. TransportError: perhaps not; core sends the same bytes again."""
        ...

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        """Adds: the past from the cursor (None: all there is), then live. Returns at once; survives reconnection.

        TransportRefused: some did not fit; the others are watched.
        """
        ...

    async def unwatch(self, topics: Collection[str]) -> None: ...

    def arrivals(self) -> AsyncIterator[Arrival]:
        """Pulled, so that slow readers press back. One reader."""
        ...


@frozen
class StoreFactory:
    """A store by name. `open` takes the plugin's own settings, such as {'path': ...}."""

    name: str
    open: Callable[[Mapping[str, str]], AbstractAsyncContextManager[Store]]


@frozen
class TransportFactory:
    """A transport by name. `open` takes the plugin's own settings, such as {'url': ...}."""

    name: str
    open: Callable[[Mapping[str, str]], AbstractAsyncContextManager[Transport]]


@frozen
class CommandEntry:
    """A sub-command of `kexkit`, imported only when it is run: `load` returns a click.Command."""

    name: str
    summary: str
    load: Callable[[], object]


__all__ = [
    "API_VERSION",
    "NOTHING",
    "Advert",
    "Answer",
    "Arrival",
    "Ask",
    "Carriage",
    "Change",
    "Close",
    "CommandEntry",
    "Conflict",
    "Context",
    "Cue",
    "Device",
    "Due",
    "Envelope",
    "Forged",
    "Guarantee",
    "Have",
    "Hear",
    "Identity",
    "Key",
    "KeyExchange",
    "Limit",
    "Malformed",
    "NoOffer",
    "NotMine",
    "Offer",
    "Opening",
    "Plain",
    "Refusal",
    "Replayed",
    "Row",
    "Searches",
    "Session",
    "Step",
    "StorageError",
    "Store",
    "StoreBusy",
    "StoreCorrupt",
    "StoreFactory",
    "StoreNewer",
    "StoreUnusable",
    "Transport",
    "TransportError",
    "TransportFactory",
    "TransportRefused",
    "Unknown",
    "Unpicklable",
    "Versioned",
    "Wants",
    "value",
]
