"""Conversations between kexkit and the oracle in any order of events: everything opens once, with what was sent."""

from __future__ import annotations

from random import Random

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.interop.devices import ChattingDevice, Maker, Refused, Workshop, addressees, is_ratcheted

DAY_MS = 24 * 3600 * 1000
DAYS = 3
"""Letters may be so late: kexkit keeps a replaced prekey for longer, and the sessions of as many days."""
KEXKIT: Maker = Workshop.kexkit
STATUS_GO: Maker = Workshop.status_go
CASTS = {
    "kexkit and status-go": ([KEXKIT], [STATUS_GO]),
    "two devices each": ([KEXKIT, KEXKIT], [STATUS_GO, STATUS_GO]),
    "both implementations on both sides": ([KEXKIT, STATUS_GO], [STATUS_GO, KEXKIT]),
}


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

    def repeat(self, number: int) -> None:
        """A letter comes again."""
        done = [(posted, device) for posted in self.post for device in self.devices if self._had(posted, device)]
        if not done:
            return
        posted, device = done[number % len(done)]
        before = device.state()
        if device.forgets_used_keys and is_ratcheted(posted.message, device.installation):
            with pytest.raises(Refused, match=self.late_refusals):
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

    def act(self, event: tuple[str, int]) -> None:
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
                self.days += 1
                self.workshop.clock.ms += DAY_MS


def world_of(cast: str, seed: int) -> World:
    workshop = Workshop(Random(seed))
    first, second = workshop.person(), workshop.person()
    makers = CASTS[cast]
    return World(
        workshop, ([make(workshop, first) for make in makers[0]], [make(workshop, second) for make in makers[1]])
    )


NUMBERS = st.integers(0, 2**16)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["to the other", "deliver", "deliver", "repeat", "restart"]), NUMBERS)
    | st.tuples(st.sampled_from(["to oneself", "a day goes by"]), NUMBERS),
    max_size=40,
)


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("introduced", [True, False], ids=["introduced", "strangers"])
@settings(max_examples=100, deadline=None, derandomize=True)
@given(events=EVENTS, seed=st.integers(0, 9))
def test_everything_opens_once(cast: str, introduced: bool, events: list[tuple[str, int]], seed: int) -> None:
    world = world_of(cast, seed)
    if introduced:
        world.introduce()
    for event in events:
        world.act(event)
    while any(posted.waiting for posted in world.post):
        world.deliver(0)


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_long_conversation_goes_through(cast: str, seed: int) -> None:
    """Without hypothesis's taste for short ones: most letters cross, many come days late, prekeys change meanwhile."""
    world, random = world_of(cast, seed), Random(seed)
    world.late_refusals = "Replayed|Unknown"
    world.introduce()
    kinds = ["to the other"] * 4 + ["deliver"] * 5 + ["repeat", "restart", "to oneself"]
    for turn in range(400):
        kind = "a day goes by" if turn % 100 == 99 else random.choice(kinds)
        world.act((kind, random.randrange(2**16)))
    while any(posted.waiting for posted in world.post):
        world.deliver(random.randrange(2**16))
    assert world.days == DAYS
    assert min(world.sent, world.opened) > 100
