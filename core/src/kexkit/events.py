"""What the application sees. Frozen values; nothing here holds a key.

Durable events carry `receipt`: they stand in the inbox until `Node.ack` and come again after a restart. The others are
told once.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from attrs import field, frozen

from kexkit.api import Guarantee, Unpicklable


class Delivery(Enum):
    """How far a text of ours has come."""

    QUEUED = "queued"
    """committed here; nothing is lost any more"""
    SENT = "sent"
    """being handed to the transport, which may fail and be tried again; told once while a node is open, never stored"""
    STORED = "stored"
    """the network has every copy; devices that are left out have been told of with `InstallationSkipped`"""


@frozen
class TextReceived(Unpicklable):
    """A text from a peer, opened and committed."""

    receipt: bytes = field(repr=False)
    message_id: bytes
    peer: bytes
    """whose 1:1 chat it stands in"""
    author: bytes
    """the same as `peer`, or ourselves on another device"""
    installation: str
    text: str = field(repr=False)
    clock: int
    """Lamport clock of the chat: the order to show"""
    timestamp: int
    """what the author's device says, in milliseconds: for show only"""
    grade: Guarantee

    @property
    def forward_secret(self) -> bool:
        """False marks a text that came under the fallback: show it differently."""
        return Guarantee.FORWARD_SECRECY in self.grade


@frozen
class Unreadable:
    """A placeholder: a signed message of a known peer that could not be opened."""

    receipt: bytes = field(repr=False)
    peer: bytes
    installation: str
    cause: str
    retried: bool
    """True: it is held, and tried again when something changes"""
    at: int


@frozen
class Question(Unpicklable):
    """A session cannot go on without a person: show `text`, and give the answer to `Node.answer`."""

    receipt: bytes = field(repr=False)
    session_id: bytes
    peer: bytes | None
    """None: not proven yet"""
    kind: str
    text: str = field(repr=False)


@frozen
class DeliveryChanged:
    """A text of ours came further."""

    message_id: bytes
    peer: bytes
    delivery: Delivery


@frozen
class Waiting:
    """A text of ours cannot be sealed yet; it goes out by itself when `reason` ends. Told, too, of one that was stored,
    when it turns out that nobody has it."""

    message_id: bytes
    peer: bytes
    installation: str
    """empty: none of the peer's devices is known yet"""
    reason: str
    cause: str = ""
    """the name of the error in `kexkit.errors` behind it, where there is one: 'DowngradeNeedsConsent'"""


class Skip(Enum):
    """Why texts leave a device out that the same person's others get."""

    FLOOR = "what is left to choose from gives less than sessions with it gave before"
    NOT_NEWEST = "texts go to three devices of a person, and others are newer"
    POLICY = "the policy here allows nothing that it offers, or holds back what goes to it"
    MISSING = "what it would have to publish has not come, is over, or contradicts itself"
    FAILED = "sessions with it failed to begin too often"


@frozen
class InstallationSkipped:
    """Texts go to other devices of this person, and not to this one. Told once for each cause, not for each text.

    A text that others have does not wait for it: it is kept aside for a month, and goes there if the cause ends. For
    devices beyond the newest three nothing is kept."""

    peer: bytes
    installation: str
    why: Skip
    cause: str
    """the name of the error in `kexkit.errors` behind it, where there is one: 'DowngradeNeedsConsent'"""
    reason: str
    advice: str
    """what a person can do"""


@frozen
class SessionOpened:
    """Both ends of a session know that they chose it together."""

    peer: bytes
    installation: str
    mechanism: str
    session_id: bytes
    ours: bool
    """True: we began it"""
    guarantees: Guarantee


@frozen
class PeerMet:
    """Somebody whom nobody added wrote to us."""

    peer: bytes


@frozen
class OfferSeen:
    """A peer's device published keys that we had not seen."""

    peer: bytes
    installation: str
    mechanism: str


@frozen
class OfferShrunk:
    """A newer offer of a peer's device no longer lists these mechanisms."""

    peer: bytes
    installation: str
    gone: tuple[str, ...]


@frozen
class ChoiceNarrowed:
    """A peer's device no longer chooses from these mechanisms, although its own offer, unchanged, lists them.

    Its policy may demand more by now. But a device that was made to believe that a mechanism fails, and leaves it out
    for that, looks the same from here. The session is judged as any other, and nothing else is done."""

    peer: bytes
    installation: str
    gone: tuple[str, ...]


@frozen
class ReplacedUnknown:
    """A session that a peer's device began is to replace one that is not known here: it has ended here alone, perhaps
    because a person ended it, or one of the two ends was put back to an earlier state. The new one is used."""

    peer: bytes
    installation: str
    mechanism: str
    session: bytes
    previous: bytes
    """the id of what is not known"""


@frozen
class NegotiationTrouble:
    """A session was refused or frozen, or an offer contradicts another. What was to be said over it is kept."""

    peer: bytes
    installation: str
    mechanism: str
    """empty: it is about an offer"""
    cause: str
    """the name of the error in `kexkit.errors`, or what the end that refused says: 'STALE', 'NOT_BEST', 'POLICY',
    'YOUR_OFFER', 'ROLLBACK'"""
    reason: str


@frozen
class CloneSuspected:
    """A session shows that one of its ends exists twice: a device was copied, its store put back, or its keys stolen.

    Told once for each session, by mechanisms that can know it, and only of signs that nobody makes without keys of the
    session. What came was refused; nothing else is done. Ask the person, end the session (`Node.end_sessions`), and set
    up the copied device anew."""

    peer: bytes
    installation: str
    """the peer's device with which the session is"""
    mechanism: str
    session_id: bytes
    ours: bool
    """True: it is our end that exists twice, or the peer, who holds the keys too, pretends so"""
    reason: str


@frozen
class FrameRefused:
    """Something that came was refused; nothing changed. `cause` is coarse on purpose."""

    cause: str
    peer: bytes | None
    """whom the envelope's signature names, where it names one"""


@frozen
class TransportTrouble:
    """The transport failed; what was to be sent waits, and is tried again."""

    cause: str
    retry_in: float
    """seconds"""


@frozen
class EventsMissed:
    """The application was slow, and this many told-once events are gone. Durable ones are not."""

    count: int


DurableEvent: TypeAlias = TextReceived | Unreadable | Question
Event: TypeAlias = (
    DurableEvent
    | DeliveryChanged
    | Waiting
    | InstallationSkipped
    | SessionOpened
    | PeerMet
    | OfferSeen
    | OfferShrunk
    | ChoiceNarrowed
    | ReplacedUnknown
    | NegotiationTrouble
    | CloneSuspected
    | FrameRefused
    | TransportTrouble
    | EventsMissed
)
