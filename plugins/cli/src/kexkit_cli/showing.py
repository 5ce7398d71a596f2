"""Events and texts, as objects for programs and as lines for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kexkit import (
    ChoiceNarrowed,
    CloneSuspected,
    Contact,
    Delivery,
    DeliveryChanged,
    Event,
    Guarantee,
    InstallationSkipped,
    NegotiationTrouble,
    Node,
    OfferSeen,
    OfferShrunk,
    PeerMet,
    Question,
    ReplacedUnknown,
    SessionOpened,
    Skip,
    StoredText,
    TextReceived,
    TransportTrouble,
    Unreadable,
    Waiting,
)
from kexkit.errors import UnknownPeer

from kexkit_cli.negotiating import guarantee_names
from kexkit_cli.people import label, short
from kexkit_cli.safe_text import safe

KINDS = {
    TextReceived: "text",
    Unreadable: "unreadable",
    Question: "question",
    DeliveryChanged: "delivery",
    Waiting: "waiting",
    InstallationSkipped: "skipped",
    SessionOpened: "session",
    OfferSeen: "offer",
    OfferShrunk: "shrunk",
    ChoiceNarrowed: "narrowed",
    ReplacedUnknown: "replaced",
    NegotiationTrouble: "negotiation",
    CloneSuspected: "clone",
    PeerMet: "met",
    TransportTrouble: "trouble",
}
"""an event's class -> its name in JSON; others go by their class"""
NO_FORWARD_SECRECY = "without forward secrecy"


class Names:
    """Who is who: looked up once for each person, until told otherwise."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._known: dict[bytes, str] = {}

    async def of(self, identity: bytes) -> str:
        """Safe to show; for strangers, the beginning of their identity."""
        if identity == self._node.identity:
            return "you"
        if identity not in self._known:
            try:
                self._known[identity] = label(await self._node.contact(identity))
            except UnknownPeer:
                self._known[identity] = short(identity)
        return self._known[identity]

    def note(self, contact: Contact) -> None:
        self._known[contact.identity] = label(contact)


def clock_time(milliseconds: int) -> str:
    """Of a day, as the owner's clock has it. A peer may claim any time at all."""
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000):%H:%M}"
    except (OverflowError, OSError, ValueError):
        return "--:--"


def in_seconds(seconds: float) -> str:
    return f"{seconds:g} second" + ("" if seconds == 1 else "s")


def day(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000):%Y-%m-%d}"
    except (OverflowError, OSError, ValueError):
        return "----------"


def as_object(event: Event, name: str | None) -> dict[str, Any]:
    """For programs. Bytes are in hexadecimal; a text's receipt stays here."""
    facts: dict[str, Any] = {"event": KINDS.get(type(event), type(event).__name__.lower())}
    for field in type(event).__attrs_attrs__:
        if field.name != "receipt":
            facts[field.name] = _plain(getattr(event, field.name))
    if name is not None:
        facts["name"] = name
    if isinstance(event, TextReceived):
        facts["forward_secret"] = event.forward_secret
    return facts


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Delivery):
        return value.value
    if isinstance(value, Skip):
        return value.name.lower()
    if isinstance(value, Guarantee):
        return guarantee_names(value)
    return value


def stored_as_object(text: StoredText) -> dict[str, Any]:
    return {
        "message_id": text.message_id.hex(),
        "author": text.author.hex(),
        "outgoing": text.outgoing,
        "text": text.text,
        "clock": text.clock,
        "timestamp": text.timestamp,
        "grade": guarantee_names(text.grade),
        "delivery": text.delivery.value if text.outgoing else None,
    }


def indented(head: str, text: str) -> str:
    """A text after its head; its further lines stand under it, so that none passes for a line of its own."""
    first, *others = safe(text, lines=True).split("\n")
    return "\n".join([head + first, *(" " * len(head) + line for line in others)])


def trouble_in_words(event: TransportTrouble) -> str:
    again = f" Trying again in {event.retry_in:.1f} s." if event.retry_in else ""
    return safe(event.cause) + again
