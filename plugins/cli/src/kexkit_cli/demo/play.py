"""What the demo does, and what came of it. It prints nothing: a Story hears what happens."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import anyio
from attrs import frozen
from kexkit import Delivery, Guarantee, TextReceived
from kexkit.api import KeyExchange

from kexkit_cli.demo.peer import Peer, Place
from kexkit_cli.limits import AWAY_SECONDS, NO_NEWS_SECONDS

SAYINGS = (
    ("Hello Bob! All I have of you is your code.", "Hello Alice! All I had of you was nothing."),
    ("Can anybody in between read this?", "Not even the relay that carries it."),
    ("And if somebody steals your phone tomorrow?", "Then today's keys are gone by then."),
    ("What if two of these overtake each other?", "They open in any order."),
)
WHILE_AWAY = ("Are you there?", "I keep writing.", "The relay keeps it for you.", "Nothing of it is lost.")
BACK = ("I am back, and I have all of it.", "Every one, and each only once.")


class Story(Protocol):
    """Who tells what happens."""

    def scene(self, title: str) -> None: ...

    def people(self, alice: Peer, bob: Peer, place: Place) -> None: ...

    def negotiated(self, alice: Peer, code: str, offered: tuple[str, ...], chosen: KeyExchange, why: str) -> None: ...

    def came(self, peer: Peer, event: TextReceived) -> None: ...

    def kept(self, stored: int, sent: int) -> None: ...


class _Stuck(Exception):
    """Nothing has come for a long time, and something should."""


@frozen
class Schedule:
    """How many texts each part has."""

    talk: int
    offline: int
    back: int

    @classmethod
    def of(cls, messages: int) -> Schedule:
        """About half of them in talk, a third while Bob is away, and the rest when he is back."""
        offline = max(messages // 3, 1) if messages > 1 else 0
        back = max(messages // 6, 1) if messages > 2 else 0
        return cls(messages - offline - back, offline, back)


@frozen
class Report:
    """What `demo --json` prints."""

    mechanism: str
    sent: int
    delivered: int
    lost: int
    duplicated: int
    offline_sent: int
    unreadable: int
    forward_secret: int
    seconds: float
    guarantees: Guarantee
    offers: dict[str, list[str]]
    why: str
    store: str
    transport: str

    @property
    def good(self) -> bool:
        return self.lost == 0 and self.duplicated == 0 and self.delivered == self.sent and self.unreadable == 0


class Play:
    """Alice and Bob."""

    def __init__(self, place: Place, folder: Path, chosen: KeyExchange, why: str, story: Story) -> None:
        self.place = place
        self.chosen = chosen
        self.why = why
        self.story = story
        self.alice = Peer("Alice", folder / "alice", place, story.came)
        self.bob = Peer("Bob", folder / "bob", place, story.came)
        self.sent: dict[Peer, dict[bytes, str]] = {self.alice: {}, self.bob: {}}
        """who sent what, by message id"""

    async def perform(self, messages: int) -> Report:
        schedule = Schedule.of(messages)
        began = time.monotonic()
        offers: dict[str, list[str]] = {}
        with suppress(_Stuck):
            async with self.alice.online():
                offers = await self._scenes(schedule)
        return self._report(schedule, time.monotonic() - began, offers)

    async def _scenes(self, schedule: Schedule) -> dict[str, list[str]]:
        alice, bob, story = self.alice, self.bob, self.story
        async with bob.online():
            story.people(alice, bob, self.place)
            await self._meet()
            story.scene("They talk")
            await self._talk(schedule.talk)
        if schedule.offline:
            story.scene("Bob goes offline: his store is all that is left of him. Alice keeps writing")
            await self._write_to_nobody(schedule.offline)
            story.scene("Bob comes back")
        async with bob.online():
            await self._all_arrived(bob)
            for number in range(schedule.back):
                await self._say(bob, alice, BACK[number % len(BACK)])
            await self._all_arrived(alice)
            return await self._offers()

    async def _meet(self) -> None:
        code = await self.bob.at_work.contact_code()
        contact = await self.alice.at_work.add(code, name="Bob")
        self.story.negotiated(self.alice, code, contact.mechanisms, self.chosen, self.why)

    async def _talk(self, messages: int) -> None:
        """By turns, each waiting for the other's text."""
        for number in range(messages):
            speaker, hearer = (self.alice, self.bob) if number % 2 == 0 else (self.bob, self.alice)
            await self._say(speaker, hearer, SAYINGS[number // 2 % len(SAYINGS)][number % 2])
            await self._all_arrived(hearer)

    async def _write_to_nobody(self, messages: int) -> None:
        """Until the network has them, so that it is not Alice's device that hands them over when Bob is back. Where
        nothing can be sealed for a peer who is away, they wait with her."""
        node = self.alice.at_work
        sent = [await self._say(self.alice, self.bob, WHILE_AWAY[one % len(WHILE_AWAY)]) for one in range(messages)]
        with anyio.move_on_after(AWAY_SECONDS):
            await node.flushed()
        kept = [await node.delivery(message_id) is Delivery.STORED for message_id in sent]
        self.story.kept(sum(kept), len(kept))

    async def _say(self, speaker: Peer, hearer: Peer, text: str) -> bytes:
        sent = await speaker.say(hearer, text)
        self.sent[speaker][sent.message_id] = text
        return sent.message_id

    def _other(self, peer: Peer) -> Peer:
        return self.bob if peer is self.alice else self.alice

    async def _all_arrived(self, hearer: Peer) -> None:
        expected = self.sent[self._other(hearer)]
        if not await hearer.until(lambda: expected.keys() <= hearer.times.keys(), NO_NEWS_SECONDS):
            raise _Stuck

    async def _offers(self) -> dict[str, list[str]]:
        """What each was seen to offer by the other."""
        seen = {}
        for name, viewer, other in (("alice", self.bob, self.alice), ("bob", self.alice, self.bob)):
            known = {contact.identity: contact for contact in await viewer.at_work.contacts()}
            contact = known.get(other.identity)
            seen[name] = list(contact.mechanisms) if contact is not None else []
        return seen

    def _report(self, schedule: Schedule, seconds: float, offers: dict[str, list[str]]) -> Report:
        sent = delivered = duplicated = forward_secret = 0
        for speaker, texts in self.sent.items():
            hearer = self._other(speaker)
            sent += len(texts)
            delivered += sum(hearer.texts.get(message_id) == text for message_id, text in texts.items())
            duplicated += sum(times - 1 for times in hearer.times.values())
            forward_secret += sum(Guarantee.FORWARD_SECRECY in grade for grade in hearer.grades.values())
        used = {session.mechanism for peer in (self.alice, self.bob) for session in peer.sessions}
        return Report(
            mechanism=", ".join(sorted(used)) or "none",
            sent=sent,
            delivered=delivered,
            lost=sent - delivered,
            duplicated=duplicated,
            offline_sent=schedule.offline,
            unreadable=len(self.alice.unreadable) + len(self.bob.unreadable),
            forward_secret=forward_secret,
            seconds=round(seconds, 3),
            guarantees=self.chosen.guarantees,
            offers=offers,
            why=self.why,
            store=self.place.store,
            transport=self.place.transport,
        )
