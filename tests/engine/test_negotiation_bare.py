"""Devices that make no offers: Status's own, and those that pose as such."""

from __future__ import annotations

import pytest
from attrs import define, evolve, field
from coincurve import PrivateKey
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit._wire import application, payload26, protocol_message, topics
from kexkit._wire.chat_message import TYPE, ChatText, encode
from kexkit._wire.offers import bare_digest
from kexkit.api import Envelope, Guarantee
from kexkit.contact import ContactCode, Pin
from kexkit.errors import Refusal
from kexkit.events import NegotiationTrouble, SessionOpened
from kexkit.identity import SoftwareIdentity
from kexkit.policy import FirstFlight, Policy
from kexkit.secp256k1 import uncompressed

from tests.engine.negotiating_peers import (
    FRAME,
    HEALS,
    ONLY_FRAME,
    ONLY_SLOT,
    PSK_NAME,
    SLOT,
    SLOT_NAME,
    Kit,
    Meeting,
    edited,
    meeting,
    psk,
)
from tests.interop.status_go_peer import StatusGoPeer
from tests.interop.status_go_ratchet import StatusGoError
from tests.world.ledger import SentText

HOLDING = Policy(first_flight=FirstFlight.HOLD)
SENDING_ALL = Kit((FRAME, SLOT), Policy(require=Guarantee.SECRET))


@define
class StatusPerson:
    """Somebody with one device that runs the second implementation of status-go's encryption, on the same network."""

    world: Meeting
    identity: SoftwareIdentity
    peer: StatusGoPeer
    written: int = 0
    failures: list[str] = field(factory=list)

    @property
    def me(self) -> bytes:
        return self.identity.public

    def code(self) -> ContactCode:
        return ContactCode(self.me, bundles=(self.peer.bundle(),))

    def knows(self, who: str) -> None:
        self.peer.process_bundle(self.world.peers[who].code().bundles[0])

    def send(self, who: str, text: str) -> bytes:
        """A text in a ratchet session, as status-go sends what needs no data sync."""
        to = self.world.peers[who].me.identity
        now, self.written = self.world.clock.now, self.written + 1
        chat = ChatText(clock=now + self.written, timestamp=now, text=text, chat_id="0x" + uncompressed(to).hex())
        wrapped = application.wrap(encode(chat), TYPE, self.identity)
        message = self.peer.build(to, wrapped)
        payload = payload26.seal_asymmetric(message, to, sign=self.identity, rng=self.world.random.randbytes)
        topic = topics.content_topic(topics.partitioned_name(to))
        message_id = application.message_id(self.me, wrapped)
        self.world.ledger.sent[message_id] = SentText(self.me, to, text, now)
        self.world.network.publish("status", Envelope(topic, payload, 1, now * 1_000_000 + self.written))
        return message_id

    def read(self) -> list[bytes]:
        """The application messages that came since, as the app above the encryption gets them."""
        found: list[bytes] = []
        logged = self.world.network.logged()
        for envelope in logged:
            found += self._open(envelope)
        return found

    def _open(self, envelope: Envelope) -> tuple[bytes, ...]:
        try:
            opened = payload26.open_asymmetric(envelope.payload, self.identity)
        except Refusal:
            try:
                agreed = self.identity.agree(self.world.alice.me.identity)
                key = topics.symmetric_key(topics.negotiated_name(agreed))
                opened = payload26.open_symmetric(envelope.payload, key)
            except Refusal:
                return ()
        assert opened.signer is not None
        if opened.signer == self.me:
            return ()
        try:
            return self.peer.deliver(opened.signer, opened.data)
        except StatusGoError as error:
            self.failures.append(str(error))
            return ()


def status_person(world: Meeting) -> StatusPerson:
    secret = world.random.randbytes(32)
    device = StatusGoPeer(
        PrivateKey(secret),
        "0a0b0c0d-0000-4000-8000-00000000000f",
        lambda: world.clock.now * 1_000_000,
        world.random.randbytes,
    )
    return StatusPerson(world, SoftwareIdentity(secret), device)


def states_with(world: Meeting, who: str, person: StatusPerson) -> list[State]:
    known = world.peers[who].person(person.me)
    return [State(ref.state) for device in known.devices for ref in device.sessions]


# --- Status ----------------------------------------------------------------------------------------------------------


def test_a_status_device_reads_us_answers_without_a_confirmation_and_is_then_known_as_bare() -> None:
    with meeting(1, SENDING_ALL, ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        sent = world.alice.send(carol.me, "hello")
        world.leave("alice")
        (read,) = carol.read()
        assert application.message_id(world.alice.me.identity, read) == sent
        confirm = world.said("alice")[0].confirm
        assert confirm is not None
        assert confirm.offer_digest == bare_digest(carol.me, carol.peer.installation)
        assert confirm.mechanism == SLOT_NAME
        assert states_with(world, "alice", carol) == [State.PROVISIONAL]
        world.alice.add(carol.code())
        carol.send("alice", "hello yourself")
        world.read("alice")
        assert [event.text for event in world.alice.read_inbox()] == ["hello yourself"]
        (device,) = world.alice.person(carol.me).devices
        assert device.bare
        assert states_with(world, "alice", carol)[0] is State.OPEN
        world.alice.send(carol.me, "bare now")
        assert world.said("alice")[-1].raw is None
        world.leave("alice")
        assert carol.read()
        assert not world.troubles("alice")


def test_a_status_device_that_begins_is_heard_at_once_and_answered_without_a_confirmation() -> None:
    with meeting(2, SENDING_ALL, ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        carol.knows("alice")
        carol.send("alice", "may I?")
        world.read("alice")
        assert [event.text for event in world.alice.read_inbox()] == ["may I?"]
        assert states_with(world, "alice", carol) == [State.OPEN]
        assert world.alice.person(carol.me).devices[0].bare
        assert not world.said("alice"), "a device that confirms nothing would show something empty"
        world.alice.send(carol.me, "yes")
        assert [said.raw for said in world.said("alice")] == [None]
        world.leave("alice")
        assert len(carol.read()) == 1
        (opened,) = [event for event in world.told_of("alice", SessionOpened) if event.peer == carol.me]
        assert not opened.ours


def test_texts_to_an_unanswering_status_device_are_not_counted() -> None:
    """It never confirms anything: no bound on what waits for a confirmation may silence us."""
    with meeting(3, SENDING_ALL, ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        for _ in range(30):
            world.alice.send(carol.me, "?")
        assert not world.alice.table("waiting")
        world.leave("alice")
        assert len(carol.read()) == 30


def test_nothing_empty_is_ever_sent_to_a_status_device() -> None:
    with meeting(4, SENDING_ALL, ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        world.alice.send(carol.me, "hello")
        for _ in range(60):
            world.clock.now += 3_600_000
            world.work("alice")
        assert all(said.texts for said in world.said("alice"))


@pytest.mark.parametrize("seed", range(3))
def test_a_long_talk_with_a_status_device_over_restarts(seed: int) -> None:
    with meeting(seed, SENDING_ALL, ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        carol.knows("alice")
        sent: list[bytes] = []
        said: list[str] = []
        for number in range(20):
            act = world.random.randrange(4)
            if act == 0:
                world.crash("alice")
            elif act == 1:
                world.alice.add(carol.code())
                carol.send("alice", f"carol {number}")
                said.append(f"carol {number}")
                world.read("alice")
            else:
                sent.append(world.alice.send(carol.me, f"alice {number}"))
                world.leave("alice")
        heard = [application.message_id(world.alice.me.identity, body) for body in carol.read()]
        assert sorted(set(heard)) == sorted(set(sent))
        assert [event.text for event in world.alice.read_inbox()] == said
        assert not world.troubles("alice")


# --- a peer that seems bare and is not -------------------------------------------------------------------------------


def stripped(code: ContactCode) -> ContactCode:
    """Somebody on the way takes the offer out of the code."""
    return evolve(code, offers=())


def test_who_seems_bare_and_is_not_is_moved_up_at_the_first_answer() -> None:
    """The offer comes back inside the ciphertext, where nobody strips it."""
    with meeting(5, SENDING_ALL, SENDING_ALL) as world:
        world.alice.add(stripped(world.bob.code()))
        world.bob.add(world.alice.code())
        world.send("alice", "bob")
        world.leave("alice")
        assert {said.mechanism for said in world.said("alice")} == {SLOT_NAME}
        world.read("bob")
        assert not world.told("bob")
        assert world.states("bob", "alice") == {SLOT_NAME: [State.REFUSED]}
        world.until_rest()
        world.must_agree()
        assert world.states("alice", "bob")[PSK_NAME] == [State.OPEN] == world.states("bob", "alice")[PSK_NAME]
        assert State.OPEN not in world.states("alice", "bob")[SLOT_NAME]


def test_who_seems_bare_and_offers_nothing_better_is_accepted_as_it_is() -> None:
    with meeting(6, SENDING_ALL, ONLY_SLOT) as world:
        world.alice.add(stripped(world.bob.code()))
        world.bob.add(world.alice.code())
        world.send("alice", "bob")
        world.settle()
        assert world.states("alice", "bob") == {SLOT_NAME: [State.OPEN]}
        assert world.device("alice", "bob").offer_seq == world.offer_of("bob").body.seq
        assert not world.device("alice", "bob").bare
        world.must_agree()


def test_a_device_that_was_bare_and_gets_offers_is_moved_up() -> None:
    """It is updated: the same installation, now with kexkit, and with something that gives no less."""
    healing = Kit((psk(PSK_NAME, HEALS), SLOT))
    with meeting(7, healing, ONLY_SLOT) as world:
        world.alice.add(stripped(world.bob.code()))
        world.bob.add(world.alice.code())
        world.send("alice", "bob")
        world.settle()
        world.equip("bob", healing)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob")
        world.until_rest()
        assert world.states("alice", "bob") == {SLOT_NAME: [State.STALE], PSK_NAME: [State.OPEN]}
        world.must_agree()


def test_a_bare_device_of_which_another_says_that_it_has_offers_is_written_to_no_more() -> None:
    """Its session is open; still, what it offers now was kept from us."""
    with meeting(17, ONLY_SLOT, ONLY_SLOT) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        carol.knows("alice")
        carol.send("alice", "hello")
        world.read("alice")
        world.alice.send(carol.me, "hello yourself")
        assert not world.alice.table("waiting")
        world.alice.add(ContactCode(carol.me, pins=(Pin(carol.peer.installation, 1),)))
        world.alice.send(carol.me, "are you there?")
        assert world.causes("alice") == {"OfferMissing"}
        assert len(world.alice.table("waiting")) == 1


# --- nobody poses as bare --------------------------------------------------------------------------------------------


def begin_as_bare(world: Meeting) -> None:
    """Bob's confirmation is stripped from his first flight, as only he himself could."""
    bob = world.bob.me
    world.tap.edit = lambda said: edited(said, lambda raw: None) if said.who == bob and said.texts else said.body


@pytest.mark.parametrize("known", ["offer", "pin"])
def test_a_device_with_offers_that_begins_without_a_confirmation_is_refused(known: str) -> None:
    with meeting(8, ONLY_SLOT, ONLY_SLOT) as world:
        world.bob.add(world.alice.code())
        code = world.bob.code()
        if known == "pin":
            code = evolve(code, offers=(), pins=(Pin(world.bob.me.installation, world.offer_of("bob").body.seq),))
        world.alice.add(code)
        begin_as_bare(world)
        world.send("bob", "alice", "without a confirmation")
        for envelope in [departure.envelope for departure in world.bob.queue]:
            world.alice.receive(without_offers(world, envelope))
        assert world.troubles("alice") == ["DowngradeRefused"]
        assert not world.told("alice")
        assert world.states("alice", "bob") == {SLOT_NAME: [State.REFUSED]}
        assert not world.device("alice", "bob").bare
        assert len(world.alice.table("withheld")) == 1
        assert not world.said("alice"), "a refusal of something bare is not answered"
        assert world.consent("alice", "bob", Consent.RELEASE) == 1
        assert world.told("alice") == ["without a confirmation"]


def without_offers(world: Meeting, envelope: Envelope) -> Envelope:
    """The envelope's message as status-go would have built it: no offer beside the frame."""
    opened = payload26.open_asymmetric(envelope.payload, world.alice.identity)
    message = evolve(protocol_message.parse(opened.data), offers=())
    data = protocol_message.encode(message)
    identity, rng = world.bob.identity, world.random.randbytes
    payload = payload26.seal_asymmetric(data, world.alice.me.identity, sign=identity, rng=rng)
    return evolve(envelope, payload=payload)


@pytest.mark.parametrize("strict", [False, True])
def test_a_new_bare_device_of_a_person_with_offers_is_told_of_and_refused_if_policy_says_so(strict: bool) -> None:
    policy = Policy(hear_new_bare=not strict)
    with meeting(9, Kit((SLOT,), policy), ONLY_SLOT) as world:
        world.sibling("bob", "tablet", ONLY_SLOT)
        world.introduce(("alice", "bob"))
        tablet = world.peers["tablet"]
        tablet.add(world.alice.code())
        me = tablet.me
        world.tap.edit = lambda said: edited(said, lambda raw: None) if said.who == me and said.texts else said.body
        tablet.send(world.alice.me.identity, "from my tablet")
        for envelope in [departure.envelope for departure in tablet.queue]:
            world.alice.receive(without_offers(world, envelope))
        told = [event for event in world.told_of("alice", NegotiationTrouble) if event.installation == me.installation]
        assert [event.cause for event in told] == ["DowngradeRefused"]
        texts = [event.text for event in world.alice.read_inbox()]
        assert texts == ([] if strict else ["from my tablet"])
        assert len(world.alice.table("withheld")) == int(strict)
