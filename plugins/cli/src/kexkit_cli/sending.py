"""Following a text of ours until the network has it."""

from __future__ import annotations

import anyio
from attrs import define
from kexkit import Delivery, DeliveryChanged, EventsMissed, Node, Sent, TransportTrouble, Waiting


@define
class Progress:
    """How far it has come, and what is in the way."""

    delivery: Delivery = Delivery.QUEUED
    trouble: str = ""


async def follow(node: Node, sent: Sent, seconds: float) -> Progress:
    """Returns once it is stored, or the time is up."""
    progress = Progress()
    with anyio.move_on_after(seconds):
        await _watch(node, sent, progress)
    progress.delivery = await node.delivery(sent.message_id)
    return progress


async def _watch(node: Node, sent: Sent, progress: Progress) -> None:
    async for event in node.events():
        if isinstance(event, DeliveryChanged) and event.message_id == sent.message_id:
            if event.delivery is Delivery.STORED:
                return
        elif isinstance(event, Waiting) and event.message_id == sent.message_id:
            progress.trouble = f"It waits: {event.reason}."
        elif isinstance(event, TransportTrouble):
            progress.trouble = event.cause
        elif isinstance(event, EventsMissed) and await node.delivery(sent.message_id) is Delivery.STORED:
            return
