"""Live with status-go: kexkit's encryption layer and the real one, in both directions, whatever happens on the way."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit._wire import mvds, offers
from kexkit._wire.offers import Entry, OfferBody
from kexkit._wire.protocol_message import Frame, encode, parse
from kexkit.hazmat import SecurityLayer
from kexkit.identity import SoftwareIdentity
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_x3dh import limits
from kexkit_x3dh.exchange import X3DH

from tests.interop.conversations import DAY_MS, EVENTS, Event, World, casts, talk, talk_long
from tests.interop.devices import ChattingDevice, KexkitDevice, Refused, Workshop, is_ratcheted
from tests.interop.live_status_go import LiveDevice, LiveStatusGo, live_workshop
from tests.interop.protobuf import map_of, read

CASTS: Final = tuple(casts(Workshop.kexkit))
SIZES: Final = (*range(49), 1000, 100_000)
BUILDERS: Final = pytest.mark.parametrize("kind", ["session", "fallback", "public"])
INTRODUCED: Final = pytest.mark.parametrize("introduced", [True, False], ids=["introduced", "strangers"])


@frozen
class Pair:
    workshop: Workshop
    secret: bytes
    ours: KexkitDevice
    theirs: LiveDevice

    @classmethod
    def made(cls, live: LiveStatusGo, *, introduced: bool = True) -> Pair:
        workshop = live_workshop(0)
        secret = workshop.person()
        pair = cls(workshop, secret, workshop.kexkit(secret), live.device(workshop, workshop.person()))
        if introduced:
            meet(pair.ours, pair.theirs)
        return pair

    def a_day_goes_by(self) -> None:
        self.workshop.clock.ms += DAY_MS
        self.theirs.age(DAY_MS)

    def ours_again(self, installation: str) -> KexkitDevice:
        """Our person on a device without rows."""
        identity = SoftwareIdentity(self.secret)
        layer = SecurityLayer(
            identity,
            installation,
            [X3DH()],
            clock=self.workshop.clock.now_ms,
            rng=self.workshop.random.randbytes,
            policy=WITHOUT_FORWARD_SECRECY,
        )
        return KexkitDevice(layer, identity.public, installation)


def meet(one: ChattingDevice, other: ChattingDevice) -> None:
    one.process_bundle(other.identity, other.bundle())
    other.process_bundle(one.identity, one.bundle())


def passes(sender: ChattingDevice, receiver: ChattingDevice, payload: bytes = b"text") -> bytes:
    """It opens there, with what was sent."""
    message = sender.send(receiver.identity, payload)
    assert receiver.receive(sender.identity, message) == payload
    return message


def begins(message: bytes, installation: str) -> bool:
    """The header of the opening is in what the device is sent."""
    return 1 in read(map_of(read(message)[101])[installation])


def sealed_by(device: KexkitDevice | LiveDevice, kind: str, to: bytes, payload: bytes) -> bytes:
    if isinstance(device, LiveDevice):
        return device.build({"session": "build", "fallback": "build_dh", "public": "build_public"}[kind], to, payload)
    if kind == "public":
        return device.layer.seal_public(payload)
    return device.layer.seal(to, payload) if kind == "session" else device.layer.seal_fallback(to, payload)


# --- whatever is said ------------------------------------------------------------------------------------------------


@BUILDERS
@INTRODUCED
def test_payloads_of_every_size_pass_both_ways(status_go: LiveStatusGo, kind: str, introduced: bool) -> None:
    pair = Pair.made(status_go, introduced=introduced)
    for size in SIZES if kind != "public" else SIZES[1:]:
        payload = bytes(number % 251 for number in range(size))
        for sender, receiver in ((pair.ours, pair.theirs), (pair.theirs, pair.ours)):
            message = sealed_by(sender, kind, receiver.identity, payload)
            assert receiver.receive(sender.identity, message) == payload


def test_a_public_message_that_is_empty_says_nothing_to_either(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    for sender, receiver in ((pair.ours, pair.theirs), (pair.theirs, pair.ours)):
        with pytest.raises(Refused, match=r"no payload|holds nothing"):
            receiver.receive(sender.identity, sealed_by(sender, "public", receiver.identity, b""))


@pytest.mark.parametrize("kind", ["fallback", "public"])
@pytest.mark.parametrize("ours", [True, False], ids=["from kexkit", "from status-go"])
def test_a_bundle_in_a_message_is_enough_to_begin_with(status_go: LiveStatusGo, kind: str, ours: bool) -> None:
    pair = Pair.made(status_go, introduced=False)
    first, second = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    second.receive(first.identity, sealed_by(first, kind, second.identity, b"hello"))
    answer = passes(second, first)
    assert is_ratcheted(answer, first.installation)
    assert begins(answer, first.installation)


def test_hundreds_of_turns_pass_whoever_is_restarted(status_go: LiveStatusGo) -> None:
    pair, random = Pair.made(status_go), Random(1)
    for turn in range(300):
        sender, receiver = (pair.ours, pair.theirs) if turn % 2 else (pair.theirs, pair.ours)
        for _ in range(random.choice((1, 1, 3))):
            passes(sender, receiver, b"turn %d" % turn)
        if random.random() < 0.2:
            random.choice((pair.ours, pair.theirs)).restart()


@pytest.mark.parametrize("ours", [True, False], ids=["from kexkit", "from status-go"])
def test_letters_open_in_any_order_and_the_lost_ones_are_missed_by_nobody(status_go: LiveStatusGo, ours: bool) -> None:
    pair, random = Pair.made(status_go), Random(2)
    sender, receiver = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    letters: list[tuple[bytes, bytes]] = []
    for turn in range(10):
        for number in range(8):
            payload = b"%d of %d" % (number, turn)
            letters.append((sender.send(receiver.identity, payload), payload))
        passes(sender, receiver, b"in time")
        passes(receiver, sender, b"so that the next have another key")
    random.shuffle(letters)
    for message, payload in letters[:60]:
        assert receiver.receive(sender.identity, message) == payload


@pytest.mark.parametrize("gap", [limits.PRODUCTION.max_skip - 1, limits.PRODUCTION.max_skip])
@pytest.mark.parametrize("ours", [True, False], ids=["from kexkit", "from status-go"])
def test_a_gap_as_long_as_the_bound_is_followed(status_go: LiveStatusGo, gap: int, ours: bool) -> None:
    pair = Pair.made(status_go)
    sender, receiver = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    letters = [sender.send(receiver.identity, b"%d" % number) for number in range(gap + 1)]
    for number in (gap, 0, gap - 1):
        assert receiver.receive(sender.identity, letters[number]) == b"%d" % number


@pytest.mark.parametrize("ours", [True, False], ids=["from kexkit", "from status-go"])
def test_a_gap_longer_than_the_bound_is_refused_and_a_shorter_one_still_opens(
    status_go: LiveStatusGo, ours: bool
) -> None:
    pair = Pair.made(status_go)
    sender, receiver = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    letters = [sender.send(receiver.identity, b"%d" % number) for number in range(limits.PRODUCTION.max_skip + 2)]
    with pytest.raises(Refused, match=r"too many messages|Limit"):
        receiver.receive(sender.identity, letters[-1])
    assert receiver.receive(sender.identity, letters[1]) == b"1"
    assert receiver.receive(sender.identity, letters[-1]) == b"%d" % (len(letters) - 1)


# --- days and devices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_four_weeks_of_new_prekeys_on_both_sides_lose_nothing(status_go: LiveStatusGo, seed: int) -> None:
    pair, random = Pair.made(status_go), Random(seed)
    for _ in range(28):
        pair.a_day_goes_by()
        ours_mostly = random.choice((0.2, 0.5, 0.8))
        for _ in range(random.randrange(5)):
            ours = random.random() < ours_mostly
            passes(*((pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)))


def test_a_device_that_hears_nothing_of_us_is_heard_however_often_we_begin_anew(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    for _ in range(20):
        passes(pair.theirs, pair.ours)
        pair.a_day_goes_by()
        pair.theirs.bundle()
        pair.ours.process_bundle(pair.theirs.identity, pair.theirs.bundle())
        assert begins(pair.ours.send(pair.theirs.identity, b"it gets lost"), pair.theirs.installation)
    passes(pair.ours, pair.theirs)
    passes(pair.theirs, pair.ours)


def test_a_replaced_prekey_of_ours_opens_what_begins_with_it_for_its_days_of_grace(status_go: LiveStatusGo) -> None:
    for days, opens in ((6, True), (8, False)):
        pair = Pair.made(status_go)
        for passed in (1, days):
            pair.workshop.clock.ms += passed * DAY_MS
            pair.ours.bundle()
        if opens:
            passes(pair.theirs, pair.ours)
        else:
            with pytest.raises(Refused, match="Unknown"):
                passes(pair.theirs, pair.ours)
            passes(pair.ours, pair.theirs)
            passes(pair.theirs, pair.ours)


def test_three_devices_of_a_person_are_written_to_by_either(status_go: LiveStatusGo) -> None:
    workshop = live_workshop(3)
    one, other = workshop.person(), workshop.person()
    ours: list[ChattingDevice] = [workshop.kexkit(one) for _ in range(4)]
    theirs: list[ChattingDevice] = [status_go.device(workshop, other) for _ in range(4)]
    for first, second in ((ours, theirs), (theirs, ours)):
        for device in second:
            first[0].process_bundle(device.identity, device.bundle())
        message = first[0].send(second[0].identity, b"to all")
        addressed = set(map_of(read(message)[101]))
        assert addressed == {device.installation for device in second[1:]}, "those that have published last"
        for device in second[1:]:
            assert device.receive(first[0].identity, message) == b"to all"
        with pytest.raises(Refused, match=r"device not found|NotForThisDevice"):
            second[0].receive(first[0].identity, message)


@pytest.mark.parametrize("ours", [True, False], ids=["kexkit pairs", "status-go pairs"])
def test_a_paired_device_of_the_other_kind_gets_what_its_person_says(status_go: LiveStatusGo, ours: bool) -> None:
    workshop = live_workshop(4)
    secret = workshop.person()
    kinds: tuple[ChattingDevice, ChattingDevice] = (workshop.kexkit(secret), status_go.device(workshop, secret))
    person = kinds[0].identity
    here, there = kinds if ours else kinds[::-1]
    meet(here, there)
    assert there.installation not in map_of(read(here.send(person, b"not yet paired"))[101])
    here.enable(there.installation)
    message = here.send(person, b"to myself")
    assert there.receive(person, message) == b"to myself"
    assert here.receive(person, message) in (None, b""), "our own, come back"
    friend = workshop.kexkit(workshop.person())
    friend.process_bundle(person, here.bundle())
    both = friend.send(person, b"to both")
    assert [device.receive(friend.identity, both) for device in kinds] == [b"to both"] * 2


def test_a_device_that_lost_its_rows_needs_a_new_id(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    passes(pair.ours, pair.theirs)
    passes(pair.theirs, pair.ours)
    same = pair.ours_again(pair.ours.installation)
    meet(same, pair.theirs)
    with pytest.raises(Refused, match="Unknown"):
        passes(pair.theirs, same)
    with pytest.raises(Refused, match="bad until"):
        passes(same, pair.theirs)
    new = pair.ours_again(pair.workshop.installation())
    meet(new, pair.theirs)
    passes(pair.theirs, new)
    passes(new, pair.theirs)


# --- what kexkit adds, and what status-go has besides ----------------------------------------------------------------


@BUILDERS
def test_status_go_passes_over_offers_and_frames(status_go: LiveStatusGo, kind: str) -> None:
    pair = Pair.made(status_go)
    now = pair.workshop.clock.ms // 1000
    names = (Entry("healing-noise-xk1/1", b"\x07" * 33), Entry("x3dh/1"))
    body = OfferBody(pair.ours.identity, pair.ours.installation, now * 1000, now, now + 86400, names)
    signed = offers.sign(body, SoftwareIdentity(pair.secret)).received
    bare = parse(sealed_by(pair.ours, kind, pair.theirs.identity, b"text"))
    frame = Frame(pair.theirs.installation, "healing-noise-xk1/1", b"\x00" * 500, b"\x05" * 32)
    message = encode(evolve(bare, offers=(signed, signed), frames=(frame, frame)))
    assert {20055, 20056} <= set(read(message))
    assert pair.theirs.receive(pair.ours.identity, message) == b"text"
    passes(pair.theirs, pair.ours)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("confirm", [b"", b"confirmation" * 300], ids=["alone", "with a confirmation"])
def test_status_go_takes_texts_out_of_data_sync_whatever_is_beside_them(
    status_go: LiveStatusGo, count: int, confirm: bytes
) -> None:
    texts = tuple(b"text %d" % number for number in range(count))
    if texts or confirm:
        raw = mvds.wrap(texts, group=bytes(32), timestamp=1_760_000_000, confirm=confirm)
        assert status_go.unwrap(raw) == (texts or None)
        assert (20055 in read(raw)) is bool(confirm)


def test_a_communitys_key_beside_a_text_is_passed_over_and_what_it_seals_is_refused(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    for op, outcome in (("build_group_key", b"text"), ("build_group", None)):
        message = pair.theirs.build(op, pair.ours.identity, b"text")
        if outcome is not None:
            assert pair.ours.receive(pair.theirs.identity, message) == outcome
        else:
            with pytest.raises(Refused, match="Malformed: A frame is sealed with a hash ratchet"):
                pair.ours.receive(pair.theirs.identity, message)
    passes(pair.theirs, pair.ours)


# --- random conversations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cast", CASTS)
@INTRODUCED
@pytest.mark.parametrize("confirms", [False, True], ids=["opens again", "told what was processed"])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(events=EVENTS, seed=st.integers(0, 9))
def test_everything_opens_once(
    status_go: LiveStatusGo, cast: str, introduced: bool, confirms: bool, events: list[Event], seed: int
) -> None:
    made = casts(status_go.confirming_device if confirms else status_go.device)
    talk(World.of(made[cast], live_workshop(seed)), events, introduced=introduced)


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_long_conversation_goes_through(status_go: LiveStatusGo, cast: str, seed: int) -> None:
    talk_long(World.of(casts(status_go.device)[cast], live_workshop(seed)), Random(seed))
