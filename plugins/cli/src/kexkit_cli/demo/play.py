"""What the demo does, and what came of it. It prints nothing: a Story hears what happens."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import anyio
from attrs import frozen
from kexkit import Delivery, Guarantee, SessionOpened, TextReceived, choose

from kexkit_cli.demo.peer import Peer, Place, Terms
from kexkit_cli.limits import AWAY_SECONDS, NO_NEWS_SECONDS

SAYINGS = (
    ("Hello Bob! All I have of you is your code.", "Hello Alice! All I had of you was nothing."),
    ("Can anybody in between read this?", "Not even the relay that carries it."),
    ("And if somebody steals your phone tomorrow?", "Then today's keys are gone by then."),
    ("What if two of these overtake each other?", "They open in any order."),
)
WHILE_AWAY = ("Are you there?", "I keep writing.", "The relay keeps it for you.", "Nothing of it is lost.")
BACK = ("I am back, and I have all of it.", "Every one, and each only once.")


@frozen
class Choice:
    """What both come to from both lists, and why."""

    name: str
    """empty: they have nothing in common"""
    why: str

    @classmethod
    def of(cls, alice: tuple[str, ...], bob: tuple[str, ...], asked: str) -> Choice:
        """`asked`: why Alice's list is what it is, where somebody asked for that."""
        name = choose(alice, bob)
        if name is None:
            return cls("", "they have nothing in common")
        common = [one for one in alice if one in bob]
        if len(common) == 1:
            why = "the only one that both offer"
        else:
            places = common.index(name) + 1, [one for one in bob if one in alice].index(name) + 1
            why = f"of the {len(common)} that both offer, its worse place in the two lists is the best"
            why += f": {places[0]} with Alice, {places[1]} with Bob"
        return cls(name, f"{why}; {asked}" if asked else why)


class Story(Protocol):
    """Who tells what happens."""

    def scene(self, title: str) -> None: ...

    def people(self, alice: Peer, bob: Peer, place: Place) -> None: ...

    def negotiated(self, alice: Peer, code: str, bobs: tuple[str, ...], choice: Choice) -> None: ...

    def begun(self, alice: Peer) -> None:
        """A session has begun, and nobody has confirmed it."""
        ...

    def confirmed(self, peer: Peer, event: SessionOpened) -> None:
        """This one knows that both made the same choice."""
        ...

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
    """what each was seen to offer by the other, best first"""
    chosen: str
    why: str
    confirmed: bool
    """both ends opened one and the same session over what both lists come to"""
    session: str
    store: str
    transport: str

    @property
    def good(self) -> bool:
        whole = self.lost == 0 and self.duplicated == 0 and self.delivered == self.sent and self.unreadable == 0
        return whole and self.confirmed


class Play:
    """Alice and Bob."""

    def __init__(self, place: Place, folder: Path, alice: Terms, bob: Terms, asked: str, story: Story) -> None:
        """`asked`: why Alice's terms are what they are, where somebody asked for that."""
        self.place = place
        self.asked = asked
        self.choice = Choice("", "they never met")
        self.story = story
        self.alice = Peer("Alice", folder / "alice", place, alice, self._told)
        self.bob = Peer("Bob", folder / "bob", place, bob, self._told)
        self.sent: dict[Peer, dict[bytes, str]] = {self.alice: {}, self.bob: {}}
        """who sent what, by message id"""

    def _told(self, peer: Peer, event: TextReceived | SessionOpened) -> None:
        if isinstance(event, TextReceived):
            self.story.came(peer, event)
        else:
            self.story.confirmed(peer, event)

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
            await self._confirmed()
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
        self.choice = Choice.of(self.alice.terms.offered, contact.mechanisms, self.asked)
        self.story.negotiated(self.alice, code, contact.mechanisms, self.choice)

    async def _talk(self, messages: int) -> None:
        """By turns, each waiting for the other's text."""
        for number in range(messages):
            speaker, hearer = (self.alice, self.bob) if number % 2 == 0 else (self.bob, self.alice)
            await self._say(speaker, hearer, SAYINGS[number // 2 % len(SAYINGS)][number % 2])
            if number == 0 and not (self.alice.sessions or self.bob.sessions):
                self.story.begun(self.alice)
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

    async def _confirmed(self) -> None:
        """Both know it: neither has to take the other's word for what was offered."""
        for peer in (self.alice, self.bob):
            if not await peer.until(lambda peer=peer: bool(peer.sessions), NO_NEWS_SECONDS):  # type: ignore[misc]
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
        opened = [{session.session_id: session for session in peer.sessions} for peer in (self.alice, self.bob)]
        shared = [session for id, session in opened[0].items() if id in opened[1]]
        used = sorted({session.mechanism for one in opened for session in one.values()})
        return Report(
            mechanism=", ".join(used) or "none",
            sent=sent,
            delivered=delivered,
            lost=sent - delivered,
            duplicated=duplicated,
            offline_sent=schedule.offline,
            unreadable=len(self.alice.unreadable) + len(self.bob.unreadable),
            forward_secret=forward_secret,
            seconds=round(seconds, 3),
            guarantees=shared[0].guarantees if shared else Guarantee(0),
            offers=offers,
            chosen=self.choice.name,
            why=self.choice.why,
            confirmed=bool(shared) and used == [self.choice.name],
            session=shared[0].session_id.hex() if shared else "",
            store=self.place.store,
            transport=self.place.transport,
        )
