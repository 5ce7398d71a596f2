"""What waits is sealed, as far as it goes now: text by text, for all the devices that it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from attrs import define, field

from kexkit import _records as records
from kexkit._engine.frames import Postponed, Sealed
from kexkit._engine.peers import Person, device_of, is_withdrawn, load_person, save_person, targets
from kexkit._engine.requests import Draft, Flow, Moment, load_one, scan
from kexkit._engine.sealing import seal_for
from kexkit._engine.sending import post
from kexkit._engine.setting import Setting
from kexkit._engine.skipping import not_newest, reached, see_to_it, set_aside, tell
from kexkit._engine.wrapping import TopicKeys
from kexkit.api import Key, Unpicklable, Versioned
from kexkit.events import Delivery, DeliveryChanged, Waiting
from kexkit.limits import DEVICES_PER_PEER, FLUSH_BATCH

Rows = list[tuple[Key, Versioned]]
GONE = "the devices for which it waited are gone"
_TEXT = records.IDENTITY_BYTES + 8 + 32
"""what the rows of one text have in common: whose, clock, message id"""


def flush(
    draft: Draft, peer: bytes, setting: Setting, moment: Moment, keys: TopicKeys, *, after: bytes = b""
) -> Flow[bytes | None]:
    """Seal what waits for this peer: a page from there on. Where the next begins, or None."""
    prefix = records.waiting_prefix(peer)
    rows = yield from scan("waiting", max(prefix, after), records.prefix_end(prefix), limit=FLUSH_BATCH)
    if not rows:
        return None
    full = len(rows) == FLUSH_BATCH
    if full:  # the rest of the last text's
        last = rows[-1][0][1]
        stop = records.prefix_end(last[:_TEXT])
        rows += yield from scan("waiting", last + b"\x00", stop, limit=DEVICES_PER_PEER)
    person = yield from load_person(draft, peer)
    work = _Work(draft, person, setting, moment, keys)
    for _, group in groupby(rows, key=lambda row: row[0][1][:_TEXT]):
        yield from work.text(list(group))
    save_person(draft, person)
    return rows[-1][0][1] + b"\x00" if full else None


@define
class _Work:
    """One person's waiting texts."""

    draft: Draft
    person: Person
    setting: Setting
    moment: Moment
    keys: TopicKeys
    _stuck: set[str] = field(factory=set)
    """devices that are left out: what is kept aside for them need not be looked at one by one"""

    def text(self, rows: Rows) -> Flow[None]:
        """All that waits of one text."""
        if self._stuck and all(row.value and _installation(key) in self._stuck for key, row in rows):
            return
        _, clock, message_id, _ = records.split_waiting(rows[0][0][1])
        found = yield from load_one(self.draft, records.text_key(message_id))
        if found is None:
            for key, _ in rows:
                self.draft.remove(key)
            return
        text = records.read_text(found.value)
        one = _Text(text, clock, message_id, theirs=self.person.identity == text.peer)
        for key, row in rows:
            yield from self._try(one, key, row.value)
        if one.theirs and not one.held:
            yield from self._try_others(one, {_installation(key) for key, _ in rows})
        added = yield from post(self.draft, self.person, one.parts, one.owner, self.setting, self.moment, self.keys)
        for part in one.parts:
            if isinstance(part, Sealed) and not part.flight:
                reached(self.person, part.installation)
        self._keep_what_is_left(one)
        if one.theirs:
            self._count(one, found, added)

    def _try(self, one: _Text, key: Key, value: bytes) -> Flow[None]:
        """For one device, or for whichever there are."""
        installation = _installation(key)
        parts: Sequence[Sealed | Postponed] = [not_newest(installation)]
        if self._is_meant(installation):
            parts = yield from self._seal(one, installation or None)
        elif self._is_gone(installation):
            parts = ()
        one.parts += parts
        late = [part for part in parts if isinstance(part, Postponed)]
        if any(isinstance(part, Sealed) and not part.flight for part in parts) or not parts:
            self.draft.remove(key)
            one.counted -= not value
            one.left += [(self._key(one, part.installation), None, part) for part in late]
        elif installation:
            one.left += [(key, value, part) for part in late]
            self._stuck.update(part.installation for part in parts if isinstance(part, Postponed) and part.skip)
        else:
            one.left.append((key, value, Postponed("", late[0].reason)))

    def _seal(self, one: _Text, only: str | None) -> Flow[list[Sealed | Postponed]]:
        return (
            yield from seal_for(
                self.draft,
                self.person,
                one.text.wrapped,
                self.setting,
                self.moment,
                only=only,
                message_id=one.message_id,
            )
        )

    def _is_meant(self, installation: str) -> bool:
        meant = targets(self.person, self.setting)
        return not installation or any(device.installation == installation for device in meant)

    def _is_gone(self, installation: str) -> bool:
        device = device_of(self.person, installation)
        return device is None or is_withdrawn(device)

    def _key(self, one: _Text, installation: str) -> Key:
        return records.waiting_key(self.person.identity, installation, one.clock, one.message_id)

    def _try_others(self, one: _Text, tried: set[str]) -> Flow[None]:
        """Nobody has it, and those for whom it waits are left out, or gone: then whoever came since may have it."""
        for device in targets(self.person, self.setting):
            if device.installation not in tried:
                parts = yield from self._seal(one, device.installation)
                one.parts += parts
                for part in parts:
                    if isinstance(part, Postponed) and part.skip is None:
                        one.left.append((self._key(one, part.installation), None, part))

    def _keep_what_is_left(self, one: _Text) -> None:
        """Aside, if another device has it or waits for nothing but time; else it waits on, and be it for anybody."""
        if one.theirs and not one.left and not one.sealed and not one.text.copies:
            one.left.append((self._key(one, ""), None, Postponed("", GONE)))
        for key, value, part in one.left:
            if not one.theirs or (part.skip is not None and one.held):
                tell(self.draft, self.person, part)
                if value:
                    see_to_it(self.draft, self.person, part.installation, records.aside_until(value) or 0)
                    continue
                set_aside(self.draft, self.person, key, part.installation, self.moment)
                one.counted -= value is not None
            elif value != b"":
                self.draft.write(key, b"")
                one.counted += 1
                if value or not part.installation:  # it was told to be on its way, or stored, and now is not
                    self.draft.events.append(
                        Waiting(one.message_id, self.person.identity, part.installation, part.reason, part.cause)
                    )

    def _count(self, one: _Text, found: Versioned, added: int) -> None:
        text, moved = one.text, one.counted + added
        if not moved and not one.sealed:
            return
        before, key = text.pending, records.text_key(one.message_id)
        text.pending = max(before + moved, 0)
        text.copies += one.sealed
        self.draft.rely(key, found)
        self.draft.write(key, records.write(text))
        if before and not text.pending:
            self.draft.events.append(DeliveryChanged(one.message_id, text.peer, Delivery.STORED))


@define
class _Text(Unpicklable):
    """A text while its rows are looked at."""

    text: records.Text
    clock: int
    message_id: bytes
    theirs: bool
    """False: a copy for another device of ours, which nobody waits for"""
    parts: list[Sealed | Postponed] = field(factory=list)
    left: list[tuple[Key, bytes | None, Postponed]] = field(factory=list)
    """rows that stay or come, with what they hold: nothing if they count, None if they are not there yet"""
    counted: int = 0
    """rows that count, more or less than before"""

    @property
    def owner(self) -> bytes:
        return self.message_id if self.theirs else b""

    @property
    def sealed(self) -> int:
        return sum(1 for part in self.parts if isinstance(part, Sealed) and not part.flight)

    @property
    def held(self) -> bool:
        """Somebody has it, or waits for nothing but time."""
        return bool(self.text.copies or self.sealed) or any(part.skip is None for _, _, part in self.left)


def _installation(key: Key) -> str:
    return records.split_waiting(key[1])[3]
