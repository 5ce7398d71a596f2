"""A chat with one person: lines go out, what comes is shown, and whatever is in the way is said once."""

from __future__ import annotations

import time
from collections import Counter

import anyio
from kexkit import (
    Contact,
    Delivery,
    DeliveryChanged,
    Event,
    EventsMissed,
    InstallationSkipped,
    NegotiationTrouble,
    PeerMet,
    Question,
    SessionOpened,
    TextReceived,
    TransportTrouble,
    Unreadable,
    Waiting,
)
from kexkit.errors import KexkitError

from kexkit_cli.chat.face import Face
from kexkit_cli.exits import Exit, LinesNotSent, NotConfirmed
from kexkit_cli.limits import PARTING_SECONDS
from kexkit_cli.negotiating import common
from kexkit_cli.opening import Opened
from kexkit_cli.people import check_name_is_free, label, short, worth_of
from kexkit_cli.profiles import checked_name
from kexkit_cli.safe_text import safe
from kexkit_cli.showing import Names, in_seconds
from kexkit_cli.troubles import CONSENTS, Told, consented, in_words, remedy, waits

CONSENTING = "/consent {}"
HELP = """\
/quit        leave, as does Ctrl-D
/name NAME   what you call them; it is told to nobody
/who         who they are
/code        your contact code
/answer TEXT answers a question of the key exchange
/consent weaker, bare, again, static, code or release: decides where a negotiation waits for you
//...        a line that begins with a slash; Alt-Enter breaks a line
Marks: · on its way, ✓ the relay has it, ! without forward secrecy, ↑ written before what stands above"""
WEAK = (
    "! marks a text without forward secrecy: who steals this device's keys later could open it. In a new session that "
    "ends with your first answer."
)


class Talk:
    """Runs until the lines end."""

    def __init__(self, work: Opened, contact: Contact, face: Face) -> None:
        self._work = work
        self._node = work.node
        self._contact = contact
        self._face = face
        self._names = Names(work.node)
        self._name = label(contact)
        self._shown: set[bytes] = set()
        self._on_its_way: dict[bytes, None] = {}
        self._not_sent = 0
        """lines that could not even be queued"""
        self._news = anyio.Event()
        self._others: Counter[bytes] = Counter()
        self._question: Question | None = None
        self._trouble = ""
        self._waiting = ""
        self._explained = False
        self._met = False
        """something of theirs has come, so a session may be confirmed; before, none can be"""
        self._clock = 0
        """of the newest text shown"""

    async def run(self, past: int, wait: float) -> int:
        self._greet()
        for text in await self._node.history(self._contact, limit=past) if past else []:
            self._shown.add(text.message_id)
            self._clock = max(self._clock, text.clock)
            self._face.past(text, self._name)
            self._met = self._met or not text.outgoing
            if text.outgoing and text.delivery is not Delivery.STORED:
                self._on_its_way[text.message_id] = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._events)
            async for line in self._face.lines():
                if not await self._line(line):
                    break
            if not self._face.interrupted:
                await self._settle(wait if self._face.patient else min(wait, PARTING_SECONDS))
            tasks.cancel_scope.cancel()
        return self._result(wait)

    def _greet(self) -> None:
        contact = self._contact
        both = common(contact, self._work.exchanges, self._work.policy)
        over = f"over {' or '.join(both)}" if both else "once their keys are found"
        over = worth_of(contact) if contact.in_use else over
        who = f"{self._name} ({short(contact.identity)}…)" if contact.name else f"{short(contact.identity)}…"
        self._face.notice(f"You talk with {who}, {over}. /help tells more, Ctrl-D leaves.")
        if not contact.added:
            self._face.notice(
                "They wrote to you, and you have not added them. /name NAME does, once you know who it is."
            )

    async def _settle(self, wait: float) -> None:
        with anyio.move_on_after(wait):
            while self._on_its_way:
                self._news = anyio.Event()
                await self._news.wait()

    def _result(self, wait: float) -> int:
        if self._face.interrupted:
            return Exit.INTERRUPTED
        if self._not_sent and self._face.patient:
            raise LinesNotSent(f"Not sent: {self._not_sent} of your lines. {self._trouble or self._waiting}".rstrip())
        if not self._on_its_way:
            return Exit.OK
        count = len(self._on_its_way)
        if self._face.patient:
            raise NotConfirmed(
                f"Not confirmed in {in_seconds(wait)}: {count} of your texts. "
                f"{self._trouble or self._waiting}".rstrip(),
                advice="They stay queued, and leave with the next command that goes online.",
            )
        self._face.notice(f"{count} of your texts stay queued here, and leave when you are next online.")
        return Exit.OK

    # --- lines -------------------------------------------------------------------------------------------------------

    async def _line(self, line: str) -> bool:
        """False: leave."""
        if not line.strip():
            return True
        if line.startswith("/") and not line.startswith("//"):
            command, _, rest = line[1:].partition(" ")
            return await self._command(command.strip().lower(), rest.strip())
        await self._send(line.removeprefix("/"))
        return True

    async def _send(self, text: str) -> None:
        at = time.time_ns() // 1_000_000
        try:
            sent = await self._node.send(self._contact, text)
        except KexkitError as error:
            self._not_sent += 1
            self._face.notice(f"Not sent: {error}")
            return
        self._shown.add(sent.message_id)
        self._face.said(sent.message_id, text, at)
        if await self._node.delivery(sent.message_id) is not Delivery.STORED:
            self._on_its_way[sent.message_id] = None

    async def _command(self, command: str, rest: str) -> bool:
        if command in ("quit", "q", "exit"):
            return False
        if command == "code":
            self._face.notice(await self._node.contact_code())
        elif command == "who":
            await self._tell_who()
        elif command == "answer":
            await self._answer(rest)
        elif command == "name":
            await self._rename(rest)
        elif command == "consent":
            await self._consent(rest)
        elif command in ("help", "h", "?"):
            self._face.notice(HELP)
        else:
            self._face.notice(f"There is no command /{safe(command)}; /help tells which there are. '//' sends a slash.")
        return True

    async def _tell_who(self) -> None:
        contact = self._contact = await self._node.contact(self._contact.identity)
        offers = ", ".join(contact.mechanisms) or "nothing known yet"
        worth = f" Texts leave {worth_of(contact)}." if contact.in_use else ""
        self._face.notice(f"{self._name}: {contact.identity.hex()}. Their devices offer: {offers}.{worth}")

    async def _rename(self, name: str) -> None:
        """And add them, if nobody has."""
        try:
            name = checked_name(name)
            await check_name_is_free(self._node, name, self._contact.identity)
            self._contact = await self._node.add(self._contact.identity.hex(), name=name)
        except KexkitError as error:
            self._face.notice(str(error))
            return
        self._names.note(self._contact)
        self._name = label(self._contact)
        self._face.notice(f"They are {self._name} for you from now on.")

    async def _consent(self, what: str) -> None:
        if what not in CONSENTS:
            self._face.notice(f"To what? /consent {', /consent '.join(CONSENTS)}.")
            return
        count = await self._node.consent(self._contact, CONSENTS[what])
        self._face.notice(consented(self._name, CONSENTS[what], count))

    async def _answer(self, text: str) -> None:
        if self._question is None:
            self._face.notice("Nothing has been asked.")
            return
        question, self._question = self._question, None
        try:
            heard = await self._node.answer(question, text.encode())
        except KexkitError as error:
            self._face.notice(f"Not answered: {error}")
            return
        self._face.notice("Answered." if heard else "That session is over; there is nothing to answer any more.")

    # --- events ------------------------------------------------------------------------------------------------------

    async def _events(self) -> None:
        async for event in self._node.events():
            peer = getattr(event, "peer", None)
            self._face.event(event, await self._names.of(peer) if peer else None)
            await self._take(event)

    async def _take(self, event: Event) -> None:
        ours = getattr(event, "peer", None) == self._contact.identity
        if isinstance(event, (TextReceived, Unreadable)):
            await (self._hear(event) if ours else self._elsewhere(event))
        elif isinstance(event, Question):
            self._question = event
            self._face.notice(f"{event.kind}: {event.text} (say it with /answer TEXT)")
        elif isinstance(event, DeliveryChanged):
            self._delivered(event)
        elif isinstance(event, TransportTrouble):
            self._offline(event)
        elif isinstance(event, Waiting | SessionOpened | Told):
            if ours:
                self._negotiation(event)
        elif isinstance(event, PeerMet) and not ours:
            self._face.notice(f"{short(event.peer)}… wrote to you for the first time.")
        elif isinstance(event, EventsMissed):
            await self._catch_up()

    def _negotiation(
        self,
        event: Waiting | SessionOpened | Told,
    ) -> None:
        if isinstance(event, Waiting):
            if event.reason != self._waiting:
                self._waiting = event.reason
                self._face.notice(f"{waits(event)} {remedy(event, CONSENTING)}".rstrip())
        elif isinstance(event, SessionOpened):
            self._waiting = ""
            self._met = True
            self._face.notice(f"Both ends have confirmed: the session over {event.mechanism} is open.")
        else:
            advice = ""
            if isinstance(event, (NegotiationTrouble, InstallationSkipped)):
                advice = remedy(event, CONSENTING)
            self._face.notice(f"{in_words(event, self._name)} {advice}".rstrip())

    async def _hear(self, event: TextReceived | Unreadable) -> None:
        self._online()
        self._met = True
        if isinstance(event, Unreadable):
            then = "it is kept, and tried again when something changes" if event.retried else "it is lost"
            self._face.notice(f"{self._name} sent something that cannot be decrypted: {event.cause}; {then}.")
        elif event.message_id not in self._shown:
            self._shown.add(event.message_id)
            name = "you, elsewhere" if event.author == self._node.identity else self._name
            self._face.heard(event, name, late=event.clock < self._clock)
            self._clock = max(self._clock, event.clock)
            if not event.forward_secret and not self._explained:
                self._explained = True
                self._face.notice(WEAK)
        await self._node.ack(event)

    async def _elsewhere(self, event: TextReceived | Unreadable) -> None:
        """Not acknowledged: it is told again where it belongs."""
        self._others[event.peer] += 1
        if self._others[event.peer] == 1:
            self._face.notice(f"{await self._names.of(event.peer)} wrote to you too; that waits for its own chat.")

    def _delivered(self, event: DeliveryChanged) -> None:
        self._face.delivery(event.message_id, event.delivery)
        if event.delivery is Delivery.STORED:
            self._on_its_way.pop(event.message_id, None)
            if event.peer == self._contact.identity and not self._met:
                self._met = True  # said once
                self._face.notice(f"Begun, and not confirmed yet: nothing of {self._name} has come so far.")
            self._news.set()
            self._online()

    def _offline(self, event: TransportTrouble) -> None:
        if not self._trouble:
            self._face.notice(f"Offline: {event.cause} What you write is kept, and leaves by itself.")
        self._trouble = event.cause

    def _online(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._face.notice("Online again.")

    async def _catch_up(self) -> None:
        """Events were dropped: ask for what they would have said."""
        for message_id in list(self._on_its_way):
            if await self._node.delivery(message_id) is Delivery.STORED:
                self._delivered(DeliveryChanged(message_id, self._contact.identity, Delivery.STORED))
