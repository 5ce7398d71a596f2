"""Where our offer goes, and where it does not: to everybody, to people alone, or nowhere."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.wrapping import contact_code_channel
from kexkit._transitions import State
from kexkit._wire.confirms import Ruling, Verdict, encode_confirm, encode_verdict, read_confirm
from kexkit._wire.offers import Entry, sign
from kexkit._wire.protocol_message import ProtocolMessage, parse
from kexkit.api import Change, Envelope
from kexkit.contact import ContactCode, parse_contact_code
from kexkit.errors import InvalidInput, PolicyRefused
from kexkit.events import FrameRefused, SessionOpened
from kexkit.identity import SoftwareIdentity
from kexkit.limits import FLUSH_BATCH, OWN_OFFER_LIFETIME_MS, PROVISIONAL_TEXTS
from kexkit.policy import WITHOUT_FORWARD_SECRECY, FirstFlight, Policy, Publish

from tests.attacks.man_in_the_middle import make_no_offers
from tests.engine.negotiating_peers import (
    BARE,
    BARE_NAME,
    SLOT,
    SLOT_NAME,
    TWO,
    Kit,
    Meeting,
    Plugin,
    edited,
    loose,
    meeting,
    psk,
)

OPEN = Kit((BARE, SLOT), Policy())
DISCREET = Kit((BARE, SLOT), Policy(publish=Publish.CONTACTS))
SILENT = Kit((BARE, SLOT), Policy(publish=Publish.NONE))
LENIENT = evolve(WITHOUT_FORWARD_SECRECY, publish=Publish.CONTACTS)


def inside(world: Meeting, envelope: Envelope) -> ProtocolMessage:
    data = world.ledger.ciphers.inside(envelope.payload)
    assert data is not None
    return parse(data)


def posted(world: Meeting, who: str) -> ContactCode:
    """The code as it is handed out as text."""
    peer = world.peers[who]
    return peer.ask(lambda: peer.engine.contact_code(posted=True))


def find(world: Meeting, who: str, whom: str) -> None:
    """From a text that was posted."""
    world.peers[who].add(posted(world, whom))


def seen_by_strangers(world: Meeting, who: str) -> list[ProtocolMessage]:
    topic = contact_code_channel(world.peers[who].me.identity).topic
    return [inside(world, envelope) for envelope in world.network.logged(topic)]


def everything_of(world: Meeting, who: str) -> list[ProtocolMessage]:
    signed = (envelope for envelope in world.network.logged() if envelope.version == 1)
    messages = [inside(world, envelope) for envelope in signed]
    return [message for message in messages if message.installation == world.peers[who].me.installation]


# --- to people alone -------------------------------------------------------------------------------------------------


def test_under_advertise_the_contact_code_topic_shows_the_offer_and_under_contacts_the_bundle_alone() -> None:
    with meeting(1, OPEN, DISCREET) as world:
        world.introduce()
        for sender, reader in (("alice", "bob"), ("bob", "alice")) * 2:
            world.send(sender, reader)
            world.quiesce(7)
        assert all(
            message.offers == (world.offer_of("alice").received,) for message in seen_by_strangers(world, "alice")
        )
        shown = seen_by_strangers(world, "bob")
        assert len(shown) >= 2
        for message in shown:
            assert message.bundles
            assert (message.offers, message.slots, message.frames) == ((), {}, ())
        topic = contact_code_channel(world.bob.me.identity).topic
        for envelope in world.network.logged(topic):
            assert b"noise" not in (world.ledger.ciphers.inside(envelope.payload) or b"")


@pytest.mark.parametrize("advertises", [True, False], ids=["the bundle", "nothing"])
def test_an_advertisement_that_never_left_is_not_shown_once_the_policy_shows_less(advertises: bool) -> None:
    with meeting(27, OPEN, OPEN) as world:
        world.work("bob")
        assert len(world.bob.table("outbox")) == 1
        world.equip("bob", evolve(DISCREET, policy=evolve(DISCREET.policy, advertise=advertises)))
        assert not world.bob.table("outbox")
        world.settle()
        shown = seen_by_strangers(world, "bob")
        assert [(bool(message.bundles), message.offers) for message in shown] == [(True, ())] * advertises


def test_contacts_learn_of_an_offer_whose_advertisement_was_taken_back() -> None:
    with meeting(28, OPEN, Kit((SLOT, BARE), Policy())) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        first = world.offer_of("bob")
        world.equip("bob", OPEN)
        world.work("bob")
        assert world.offer_of("bob").digest != first.digest
        world.equip("bob", DISCREET)
        world.settle()
        assert world.device("alice", "bob").offer == world.offer_of("bob").received
        assert all(message.offers in {(), (first.received,)} for message in seen_by_strangers(world, "bob"))


def test_a_posted_code_shows_no_offer_under_contacts_and_a_picture_does_unless_asked_otherwise() -> None:
    with meeting(2, OPEN, DISCREET) as world:
        bob = world.bob.engine
        offer = world.offer_of("bob").received

        def code(**asked: bool) -> ContactCode:
            return world.bob.ask(lambda: bob.contact_code(**asked))

        assert (code(posted=True).offers, code(posted=True).bundles != ()) == ((), True)
        assert code(posted=False).offers == (offer,)
        assert code(posted=True, offers=True).offers == (offer,)
        assert code(posted=False, offers=False).offers == ()
        text = parse_contact_code(code(posted=True).to_text())
        assert (text.offers, text.pins) == ((), ())
        picture = parse_contact_code(code(posted=False).to_qr_text())
        assert [pin.installation for pin in picture.pins] == [world.bob.me.installation]
        assert posted(world, "alice").offers == (world.offer_of("alice").received,)


def test_a_stranger_begins_as_with_a_status_device_and_moves_up_at_the_first_answer_losing_nothing() -> None:
    with meeting(3, OPEN, DISCREET) as world:
        find(world, "alice", "bob")
        sent = [world.send("alice", "bob") for _ in range(3)]
        assert {said.mechanism for said in world.said("alice")} == {SLOT_NAME}
        world.settle()
        assert world.bob.history(world.alice.me.identity) == sent
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            assert world.states(who, whom) == {SLOT_NAME: [State.REFUSED], BARE_NAME: [State.OPEN]}
        sent.append(world.send("bob", "alice"))
        world.quiesce()
        world.must_agree()
        assert world.opened("alice") == world.opened("bob") == [BARE_NAME]


def test_who_keeps_the_offer_to_people_finds_others_as_ever_and_tells_them_in_the_first_message() -> None:
    with meeting(4, DISCREET, OPEN) as world:
        find(world, "alice", "bob")
        world.send("alice", "bob")
        world.quiesce()
        assert world.opened("bob") == [BARE_NAME]
        world.must_agree()


def test_two_who_keep_their_offers_to_people_meet_over_statuss_mechanism_and_move_up() -> None:
    with meeting(5, DISCREET, DISCREET) as world:
        find(world, "alice", "bob")
        find(world, "bob", "alice")
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
        world.quiesce(3)
        world.must_agree()
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            assert set(world.states(who, whom)[BARE_NAME]) == {State.OPEN}


def test_a_status_device_goes_on_over_statuss_mechanism() -> None:
    with meeting(6, Kit((SLOT,), Policy()), DISCREET) as world:
        make_no_offers(world.alice)
        find(world, "alice", "bob")
        find(world, "bob", "alice")
        for sender, reader in (("alice", "bob"), ("bob", "alice")) * 2:
            world.send(sender, reader)
            world.settle()
        assert world.states("bob", "alice") == {SLOT_NAME: [State.OPEN]}
        world.must_agree()


def test_a_new_offer_goes_to_contacts_who_have_the_old_one_before_that_is_over() -> None:
    with meeting(7, OPEN, DISCREET) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        first = world.device("alice", "bob").offer_seq
        for _ in range(3):
            world.pass_time(OWN_OFFER_LIFETIME_MS // 2)
        known = world.device("alice", "bob")
        assert known.offer_seq > first
        assert known.offer_until * 1000 > world.clock.now
        assert known.offer == world.offer_of("bob").received
        assert not any(message.offers for message in seen_by_strangers(world, "bob"))


def test_nobody_is_told_a_new_offer_who_is_no_contact_has_no_session_or_makes_none() -> None:
    with meeting(8, OPEN, DISCREET, carol=OPEN, dave=Kit((SLOT,), Policy())) as world:
        world.introduce(("bob", "alice"))  # added, and never written to
        find(world, "carol", "bob")  # a stranger
        world.send("carol", "bob")
        make_no_offers(world.peers["dave"])
        find(world, "dave", "bob")
        find(world, "bob", "dave")
        world.send("bob", "dave")
        world.quiesce()
        before = len(everything_of(world, "bob"))
        shown = len(seen_by_strangers(world, "bob"))
        world.pass_time(OWN_OFFER_LIFETIME_MS // 2)
        direct = len(everything_of(world, "bob")) - before - (len(seen_by_strangers(world, "bob")) - shown)
        assert direct == 0


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_however_many_contacts_there_are_each_is_told_once(beyond: int) -> None:
    with meeting(9, OPEN, DISCREET) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        key = records.peer_key(world.alice.me.identity)
        row = world.bob.rows.read((key,))[key]
        count = FLUSH_BATCH + beyond
        crowd = {SoftwareIdentity.generate(world.random.randbytes).public: row.value for _ in range(count - 1)}
        _put(world, crowd)
        before = len(world.bob.queue)
        world.equip("bob", Kit(DISCREET.plugins[:1], DISCREET.policy))
        while (due := world.bob.tick()) is not None and due <= world.bob.now() + 1000:
            world.clock.now += 1
        assert len(world.bob.queue) - before == count


def _put(world: Meeting, people: dict[bytes, bytes]) -> None:
    rows = {records.peer_key(identity): value for identity, value in people.items()}
    world.bob.rows.commit(Change({}, rows))
    world.bob.crash()


def test_an_opening_to_an_outdated_offer_is_not_answered_in_clear_and_goes_on_once_they_write() -> None:
    both = (BARE, psk(TWO))
    with meeting(10, Kit(both, LENIENT), Kit((BARE,), LENIENT)) as world:
        world.introduce()
        world.settle()
        world.equip("bob", Kit((psk(TWO), BARE), LENIENT))
        world.work("bob")
        world.leave("bob")
        world.skip("alice")
        sent = world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.leave("bob") == []
        assert [event.cause for event in world.told_of("bob", FrameRefused)] == [
            "An opening answers an outdated offer, and the policy shows ours to nobody in clear."
        ]
        world.send("bob", "alice")
        world.quiesce(3)
        assert sent in world.bob.history(world.alice.me.identity)
        world.must_agree()


# --- nowhere ---------------------------------------------------------------------------------------------------------


def shows_nothing(world: Meeting, who: str) -> None:
    """No message of theirs has an offer, and no text of theirs a confirmation."""
    messages = everything_of(world, who)
    assert messages
    assert not any(message.offers or message.frames for message in messages)
    assert all(said.raw is None and said.mechanism == SLOT_NAME for said in world.said(who))
    assert records.SIGNED_OFFER not in world.peers[who].rows.dump()


@pytest.mark.parametrize("first", ["alice", "bob"])
@pytest.mark.parametrize("other", [OPEN, DISCREET, SILENT], ids=["advertises", "contacts", "none"])
def test_who_makes_no_offer_is_taken_for_a_status_device_by_whoever_begins_and_nothing_is_lost(
    first: str, other: Kit
) -> None:
    with meeting(11, other, SILENT) as world:
        world.introduce()
        pair = (("alice", "bob"), ("bob", "alice"))
        for sender, reader in (pair if first == "alice" else pair[::-1]) * 3:
            world.send(sender, reader)
            world.send(sender, reader)
            world.settle()
        world.quiesce(8)
        world.must_agree()
        shows_nothing(world, "bob")
        assert world.states("bob", "alice") == world.states("alice", "bob") == {SLOT_NAME: [State.OPEN]}
        assert world.device("alice", "bob").bare or other is SILENT
        assert not world.device("alice", "bob").offer_seq
        assert not world.troubles("alice")
        assert not world.troubles("bob")
        assert len(world.told_of("bob", SessionOpened)) == len(world.told_of("alice", SessionOpened)) == 1


@pytest.mark.parametrize("other", [OPEN, SILENT], ids=["advertises", "none"])
def test_openings_that_cross_with_one_who_makes_no_offer_lose_nothing(other: Kit) -> None:
    with meeting(12, other, SILENT) as world:
        world.introduce()
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
        for sender, reader in (("alice", "bob"), ("bob", "alice")) * 2:
            world.settle()
            world.send(sender, reader)
        world.quiesce(3)
        world.must_agree()
        shows_nothing(world, "bob")


def test_silence_says_nothing_to_one_who_makes_no_offer() -> None:
    """Nobody confirms to him, so that nothing is unconfirmed, however long nobody answers."""
    with meeting(23, OPEN, SILENT) as world:
        world.introduce()
        world.send("bob", "alice")
        world.leave("bob")
        world.clock.now += 8 * 24 * 3600 * 1000
        for _ in range(PROVISIONAL_TEXTS + 1):
            world.send("bob", "alice")
        assert not world.causes("bob")
        assert world.states("bob", "alice") == {SLOT_NAME: [State.PROVISIONAL]}


def test_who_makes_no_offer_still_reads_others_and_says_when_there_is_nothing_in_common() -> None:
    with meeting(13, Kit((BARE,), Policy()), SILENT) as world:
        world.introduce()
        world.send("bob", "alice")
        world.settle()
        assert world.causes("bob") == {"NoCommonMechanism"}
        assert world.device("bob", "alice").offer_seq
        world.send("alice", "bob")
        world.settle()
        assert len(world.alice.table("waiting")) == 1


def test_who_speaks_nothing_of_statuss_can_say_nothing_without_an_offer() -> None:
    with meeting(14, OPEN, Kit((BARE,), SILENT.policy)) as world:
        world.introduce()
        world.send("bob", "alice")
        world.settle()
        assert world.causes("bob") == {"NoCommonMechanism"}
        assert not everything_of(world, "bob") or not any(m.offers for m in everything_of(world, "bob"))


def test_who_makes_no_offer_refuses_one_who_makes_them_and_confirms_nothing() -> None:
    """It would have confirmed: somebody with its identity key poses as a Status device."""
    with meeting(15, OPEN, SILENT) as world:
        world.introduce()
        world.settle()
        assert world.device("bob", "alice").offer_seq
        world.tap.edit = lambda said: edited(said, lambda _: None) if said.who == world.alice.me else said.body
        world.send("alice", "bob")
        world.settle()
        assert world.troubles("bob") == ["DowngradeRefused"]
        assert not world.bob.read_inbox()


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"responder_installation": "00000000-0000-4000-8000-000000000000"}, "ConfirmationMismatch"),
        ({"responder": b"\x02" + bytes(31) + b"\x01"}, "ConfirmationMismatch"),
        ({"offer_digest": bytes(32)}, "PolicyRefused"),
        ({"mask": 0}, "PolicyRefused"),
        ({"mechanism": BARE_NAME}, "PolicyRefused"),
    ],
)
def test_what_a_confirmation_says_is_judged_though_it_gets_no_answer(changes: dict[str, Any], cause: str) -> None:
    """Of other people, of an offer that we never made, or of another choice."""
    with meeting(16, OPEN, SILENT) as world:
        world.introduce()

        def lie(raw: bytes | None) -> bytes | None:
            return encode_confirm(evolve(read_confirm(raw), **changes)) if raw is not None else None

        world.tap.edit = lambda said: edited(said, lie)
        world.send("alice", "bob")
        world.settle()
        assert world.troubles("bob") == [cause]
        assert not world.bob.read_inbox()
        assert all(said.raw is None for said in world.said("bob"))


def test_a_second_and_other_confirmation_freezes_a_session_as_it_does_for_everybody() -> None:
    with meeting(17, OPEN, SILENT) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()

        def lie(raw: bytes | None) -> bytes | None:
            return encode_confirm(evolve(read_confirm(raw), previous=bytes(31) + b"\x01")) if raw is not None else None

        world.tap.edit = lambda said: edited(said, lie)
        world.send("alice", "bob")
        world.settle()
        assert world.troubles("bob") == ["ConfirmationConflict"]


def test_an_answer_to_a_question_that_was_never_asked_freezes_the_session() -> None:
    with meeting(18, OPEN, SILENT) as world:
        world.introduce()
        world.send("bob", "alice")
        world.settle()
        verdict = encode_verdict(
            Verdict(world.refs("bob", "alice")[0].id, bytes(32), Ruling.ACCEPTED, 1, bytes(32), ())
        )
        world.tap.edit = lambda said: edited(said, lambda _: verdict) if said.who == world.alice.me else said.body
        world.send("alice", "bob")
        world.settle()
        assert world.troubles("bob") == ["ConfirmationMismatch"]
        assert not world.bob.read_inbox()


def test_who_has_made_an_offer_cannot_stop_making_them_and_who_made_none_can_begin() -> None:
    with meeting(19, OPEN, SILENT) as world:
        with pytest.raises(InvalidInput, match="has made offers"):
            world.equip("alice", SILENT)
        world.equip("alice", DISCREET)
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()
        assert world.states("alice", "bob") == {SLOT_NAME: [State.OPEN]}
        world.equip("bob", OPEN)
        world.quiesce()
        world.send("alice", "bob")
        world.quiesce()
        assert world.states("alice", "bob")[BARE_NAME] == [State.OPEN]
        world.must_agree()


@pytest.mark.parametrize("plugins", [(BARE, SLOT), (SLOT,)], ids=["something better", "nothing better"])
@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen"])
def test_who_begins_to_make_offers_before_the_first_answer_loses_no_text(
    plugins: tuple[Plugin, ...], seen: bool
) -> None:
    """The peer still waits to learn that nothing is confirmed in its session; a text there would look forged."""
    speaks = Kit(plugins, Policy())
    with meeting(24, speaks, evolve(speaks, policy=SILENT.policy)) as world:
        world.introduce()
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        world.equip("bob", speaks)
        if seen:
            world.work("bob")
            world.leave("bob")
            world.read("alice")
        world.send("bob", "alice")
        world.quiesce(3)
        world.must_agree()
        assert not world.troubles("alice")


@pytest.mark.parametrize("plugins", [(BARE, SLOT), (SLOT,)], ids=["something better", "nothing better"])
def test_who_begins_to_make_offers_says_nothing_more_in_a_session_that_was_never_answered(
    plugins: tuple[Plugin, ...],
) -> None:
    speaks = Kit(plugins, Policy())
    with meeting(25, speaks, evolve(speaks, policy=SILENT.policy)) as world:
        world.introduce()
        world.settle()
        world.send("bob", "alice")
        world.leave("bob")
        world.skip("alice")
        world.equip("bob", speaks)
        world.work("bob")
        world.leave("bob")
        world.read("alice")
        assert world.device("alice", "bob").offer_seq
        sent = world.send("bob", "alice")
        world.quiesce(3)
        assert world.alice.history(world.bob.me.identity) == [sent]
        assert not world.troubles("alice")


@pytest.mark.parametrize("plugins", [(BARE, SLOT), (SLOT,)], ids=["something better", "nothing better"])
@pytest.mark.parametrize("seed", range(8))
def test_whenever_somebody_begins_to_make_offers_and_wherever_they_go_nothing_is_lost(
    seed: int, plugins: tuple[Plugin, ...]
) -> None:
    """What has left before is read before: what comes after the offer looks forged (docs/adr/0018)."""
    random, kits = Random(seed), {each: Kit(plugins, Policy(publish=each)) for each in Publish}
    offering = [Publish.ADVERTISE, Publish.CONTACTS]
    now = {"alice": random.choice([*Publish]), "bob": Publish.NONE}
    with meeting(seed, kits[now["alice"]], kits[now["bob"]]) as world:
        world.introduce()
        for _ in range(random.randint(6, 20)):
            who, whom = random.sample(["alice", "bob"], 2)
            act = random.randrange(8)
            if act < 4:
                world.send(who, whom)
            elif act == 4:
                world.settle()
            elif act == 5:
                world.work(who)
                world.leave(who)
            elif act == 6:
                world.read(who)
            else:
                world.leave(who)
                world.read(whom)
                now[who] = random.choice(offering)
                world.equip(who, kits[now[who]])
        world.quiesce(3)
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
            world.quiesce(3)
        world.must_agree()
        assert not any(world.peers[who].table(table) for who in now for table in ("waiting", "withheld"))


def test_who_was_answered_before_goes_on_in_the_same_session_once_there_are_offers() -> None:
    speaks = Kit((SLOT,), Policy())
    with meeting(26, speaks, evolve(speaks, policy=SILENT.policy)) as world:
        world.introduce()
        for sender, reader in (("alice", "bob"), ("bob", "alice")) * 2:
            world.send(sender, reader)
            world.settle()
        world.equip("bob", speaks)
        for sender, reader in (("bob", "alice"), ("alice", "bob")) * 2:
            world.send(sender, reader)
            world.settle()
        world.must_agree()
        assert world.states("alice", "bob") == world.states("bob", "alice") == {SLOT_NAME: [State.OPEN]}


@pytest.mark.parametrize("plugin", [psk(TWO), loose(TWO)], ids=["bound", "confirmed only"])
def test_who_makes_no_offer_answers_nothing_that_answers_one(plugin: Plugin) -> None:
    """Somebody signed one in our name; what is loaded here besides Status's mechanism stays silent."""
    kit = Kit((plugin, SLOT), WITHOUT_FORWARD_SECRECY)
    with meeting(22, kit, evolve(kit, policy=evolve(kit.policy, publish=Publish.NONE))) as world:
        world.introduce()
        world.settle()
        me = world.bob.me
        entries = (Entry(TWO, records.own_public(world.bob.table("own")[TWO.encode()].value)), Entry(SLOT_NAME, b""))
        body = world.offer_of("alice").body
        body = evolve(body, identity=me.identity, installation=me.installation, entries=entries)
        world.give("alice", sign(body, world.bob.identity).received, of="bob")
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert [event.cause for event in world.told_of("bob", FrameRefused)] == [
            f"A message came over {TWO}, which a device without offers does not speak."
        ]
        assert not world.leave("bob")
        assert not world.refs("bob", "alice")


def test_a_code_with_offers_cannot_be_asked_of_one_who_makes_none() -> None:
    with meeting(20, OPEN, SILENT) as world:
        bob = world.bob
        with pytest.raises(PolicyRefused):
            bob.ask(lambda: bob.engine.contact_code(offers=True))
        assert bob.code().offers == posted(world, "bob").offers == ()


def test_to_make_no_offers_and_to_wait_for_confirmations_contradict_each_other() -> None:
    with pytest.raises(InvalidInput):
        Policy(publish=Publish.NONE, first_flight=FirstFlight.HOLD)


def test_a_new_device_without_offers_of_one_whose_others_make_them_is_told_of() -> None:
    with meeting(21, OPEN, OPEN) as world:
        world.introduce()
        world.send("bob", "alice")
        world.quiesce()
        world.sibling("bob", "phone", SILENT)
        world.peers["phone"].add(world.alice.code())
        world.send("phone", "alice")
        world.settle()
        assert "DowngradeRefused" in world.troubles("alice")
