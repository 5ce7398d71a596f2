"""What a client has still to tell: a publication's answer to who publishes, topics turned away to who reads."""

from __future__ import annotations

import anyio
from attrs import define, field
from kexkit.api import Envelope
from kexkit.errors import TransportError, TransportRefused

from kexkit_transport_relay.messages import Refused


@define(eq=False)
class Publication:
    """A publication that waits for its answer."""

    envelope: Envelope
    done: anyio.Event = field(factory=anyio.Event)
    refusal: Refused | None = None
    failure: TransportError | None = None

    def settle(self, *, refusal: Refused | None = None, failure: TransportError | None = None) -> None:
        self.refusal, self.failure = refusal, failure
        self.done.set()


@define
class TurnedAway:
    """Topics that the relay will not watch, counted until that is told."""

    topics: int = 0
    reason: str = ""

    def add(self, reason: str) -> None:
        self.topics, self.reason = self.topics + 1, reason

    def tell(self) -> None:
        """Raise if there is something to tell, once."""
        topics, self.topics = self.topics, 0
        if topics:
            raise not_watched(self.reason, topics)


def not_watched(reason: str, topics: int) -> TransportRefused:
    return TransportRefused(f"{reason} {topics} did not fit and {'are' if topics > 1 else 'is'} not watched.")
