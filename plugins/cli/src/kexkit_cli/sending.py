"""Following a text of ours until the network has it."""

from __future__ import annotations

import anyio
from attrs import define, field
from kexkit import (
    Delivery,
    DeliveryChanged,
    Event,
    EventsMissed,
    InstallationSkipped,
    NegotiationTrouble,
    Node,
    Sent,
    SessionOpened,
    TransportTrouble,
    Waiting,
)

from kexkit_cli.troubles import in_words, remedy, waits


@define
class Progress:
    """How far it has come, and what is in the way."""

    name: str
    """whom it is for"""
    consenting: str
    """how to consent for them, with '{}' for what"""
    delivery: Delivery = Delivery.QUEUED
    trouble: str = ""
    cause: str = ""
    """the error's name, where the text waits for more than the network"""
    advice: str = ""
    confirmed: str | None = None
    """the mechanism of a session that both ends confirmed meanwhile"""
    told: list[str] = field(factory=list)
    """what else became known of the negotiation"""

    def take(self, event: Event, sent: Sent) -> None:
        if isinstance(event, Waiting) and event.message_id == sent.message_id:
            self.trouble, self.cause = waits(event), event.cause
            self.advice = remedy(event, self.consenting)
        elif isinstance(event, TransportTrouble):
            self.trouble, self.cause, self.advice = event.cause, "", ""
        elif isinstance(event, SessionOpened) and event.peer == sent.peer:
            self.confirmed = event.mechanism
        elif isinstance(event, NegotiationTrouble) and event.peer == sent.peer:
            said = f"{in_words(event, self.name)} {remedy(event, self.consenting)}"
            self.told.append(said)
        elif isinstance(event, InstallationSkipped) and event.peer == sent.peer:
            self.told.append(f"{in_words(event, self.name)} {remedy(event, self.consenting)}".rstrip())


async def follow(node: Node, sent: Sent, seconds: float, progress: Progress) -> None:
    """Returns once it is stored, or the time is up."""
    with anyio.move_on_after(seconds):
        await _watch(node, sent, progress)
    progress.delivery = await node.delivery(sent.message_id)


async def _watch(node: Node, sent: Sent, progress: Progress) -> None:
    async for event in node.events():
        progress.take(event, sent)
        if isinstance(event, DeliveryChanged) and event.message_id == sent.message_id:
            if event.delivery is Delivery.STORED:
                return
        elif isinstance(event, EventsMissed) and await node.delivery(sent.message_id) is Delivery.STORED:
            return
