"""An installation that makes no offer is a Status device to everybody, and stays one as long as it is."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._transitions import State
from kexkit._wire.confirms import Ruling, Verdict, encode_confirm, encode_verdict, read_confirm
from kexkit._wire.offers import Entry, sign
from kexkit.errors import InvalidInput, PolicyRefused
from kexkit.events import FrameRefused, SessionOpened
from kexkit.limits import PROVISIONAL_TEXTS
from kexkit.policy import WITHOUT_FORWARD_SECRECY, FirstFlight, Policy, Publish

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
from tests.engine.publishing_peers import (
    DISCREET,
    OPEN,
    SILENT,
    everything_of,
    posted,
)

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
