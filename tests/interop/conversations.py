"""People who talk to one another through a post that delivers when and as often as it likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import pytest
from attrs import define, field
from hypothesis import strategies as st

from tests.interop.devices import ChattingDevice, Maker, Refused, Workshop, addressees, is_ratcheted

DAY_MS = 24 * 3600 * 1000
DAYS = 3
"""Letters may be so late: kexkit keeps a replaced prekey for longer, and the sessions of as many days."""
KEXKIT: Maker = Workshop.kexkit

Cast = tuple[Sequence[Maker], Sequence[Maker]]
Event = tuple[str, int]


def casts(status_go: Maker) -> Mapping[str, Cast]:
    """With the oracle, or with the real one."""
    return {
        "kexkit and status-go": ([KEXKIT], [status_go]),
        "two devices each": ([KEXKIT, KEXKIT], [status_go, status_go]),
        "both implementations on both sides": ([KEXKIT, status_go], [status_go, KEXKIT]),
    }


NUMBERS = st.integers(0, 2**16)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["to the other", "deliver", "deliver", "repeat", "restart"]), NUMBERS)
    | st.tuples(st.sampled_from(["to oneself", "a day goes by"]), NUMBERS),
    max_size=40,
)


@define
class Posted:
    sender: ChattingDevice
    message: bytes
    payload: bytes
    waiting: list[ChattingDevice]
    """devices that it has not reached"""


@define
class World:
    workshop: Workshop
    people: tuple[list[ChattingDevice], list[ChattingDevice]]
    post: list[Posted] = field(factory=list)
    sent: int = 0
    opened: int = 0
    days: int = 0
    late_refusals: str = "Replayed"
    """A copy that comes nine turns of its session late is not known for a copy, but opens nothing either."""

    @classmethod
    def of(cls, cast: Cast, workshop: Workshop) -> World:
        first, second = workshop.person(), workshop.person()
        one = [make(workshop, first) for make in cast[0]]
        return cls(workshop, (one, [make(workshop, second) for make in cast[1]]))

    @property
    def devices(self) -> list[ChattingDevice]:
        return [*self.people[0], *self.people[1]]

    def introduce(self) -> None:
        """Everybody has everybody's bundle, and each person's devices are paired."""
        for device in self.devices:
            for other in self.devices:
                if other is not device:
                    other.process_bundle(device.identity, device.bundle())
        for device in self.devices:
            for other in self.devices:
                if other is not device and other.identity == device.identity:
                    device.enable(other.installation)

    def send(self, device: ChattingDevice, to: bytes) -> None:
        self.sent += 1
        payload = b"text %d" % self.sent
        message = device.send(to, payload)
        waiting = [other for other in self.devices if other.identity == to and other is not device]
        self.post.append(Posted(device, message, payload, waiting))

    def deliver(self, number: int) -> None:
        """One letter to one device that it has not reached, whichever."""
        open_ = [(posted, device) for posted in self.post for device in posted.waiting]
        if not open_:
            return
        posted, device = open_[number % len(open_)]
        posted.waiting.remove(device)
        if {device.installation, "none"}.isdisjoint(addressees(posted.message)):
            with pytest.raises(Refused):
                device.receive(posted.sender.identity, posted.message)
            return
        assert device.receive(posted.sender.identity, posted.message) == posted.payload
        self.opened += 1

    def deliver_all(self, random: Random | None = None) -> None:
        while any(posted.waiting for posted in self.post):
            self.deliver(random.randrange(2**16) if random is not None else 0)

    def repeat(self, number: int) -> None:
        """A letter comes again."""
        done = [(posted, device) for posted in self.post for device in self.devices if self._had(posted, device)]
        if not done:
            return
        posted, device = done[number % len(done)]
        before = device.state()
        if device.forgets_used_keys and is_ratcheted(posted.message, device.installation):
            with pytest.raises(Refused, match=f"{self.late_refusals}|status-go"):
                device.receive(posted.sender.identity, posted.message)
            assert device.state() == before
        else:
            assert device.receive(posted.sender.identity, posted.message) == posted.payload

    def _had(self, posted: Posted, device: ChattingDevice) -> bool:
        """True if it opened there."""
        return (
            not any(device is other for other in posted.waiting)
            and device is not posted.sender
            and device.installation in addressees(posted.message)
        )

    def a_day_goes_by(self) -> None:
        self.days += 1
        self.workshop.clock.ms += DAY_MS
        for device in self.devices:
            device.age(DAY_MS)

    def act(self, event: Event) -> None:
        kind, number = event
        device = self.devices[number % len(self.devices)]
        match kind:
            case "to the other":
                self.send(device, next(other.identity for other in self.devices if other.identity != device.identity))
            case "to oneself":
                self.send(device, device.identity)
            case "deliver":
                self.deliver(number)
            case "repeat":
                self.repeat(number)
            case "restart":
                device.restart()
            case "a day goes by" if self.days < DAYS:
                self.a_day_goes_by()


def talk(world: World, events: list[Event], *, introduced: bool) -> None:
    """Everything opens once, with what was sent."""
    if introduced:
        world.introduce()
    for event in events:
        world.act(event)
    world.deliver_all()


def talk_long(world: World, random: Random) -> None:
    """Without hypothesis's taste for short ones: most letters cross, many come days late, prekeys change meanwhile."""
    world.late_refusals = "Replayed|Unknown"
    world.introduce()
    kinds = ["to the other"] * 4 + ["deliver"] * 5 + ["repeat", "restart", "to oneself"]
    for turn in range(400):
        kind = "a day goes by" if turn % 100 == 99 else random.choice(kinds)
        world.act((kind, random.randrange(2**16)))
    world.deliver_all(random)
    assert world.days == DAYS
    assert min(world.sent, world.opened) > 100
