"""Clocks, ids, echoes, waiting and delivery: the chat layer's own rules."""

from __future__ import annotations

from random import Random

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.chatting import chat_id_of
from kexkit._wire import application
from kexkit._wire.chat_message import TYPE, ChatText, encode
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.errors import InvalidInput
from kexkit.events import Delivery, DeliveryChanged, TextReceived, Unreadable, Waiting
from kexkit.limits import CLOCK_AHEAD_MS, CLOCK_MAX, FLUSH_BATCH, PROVISIONAL_TEXTS
from kexkit_x3dh._pb.encrypted_message_pb2 import EncryptedMessageProtocol

from tests.attacks.forging import contents, envelope_of_text, posted, receive, seal_body
from tests.world.mechanisms import EACH, PSK, X3DH_ALONE, Mechanism
from tests.world.peer import Peer
from tests.world.world import DAY, HOUR, SECOND, a_world


def clocks(peer: Peer, other: Peer) -> list[int]:
    prefix = records.order_prefix(other.me.identity)
    rows = peer.rows.rows("order", prefix, records.prefix_end(prefix))
    return [int.from_bytes(key[1][16:24], "big") for key, _ in rows]


# --- clocks ----------------------------------------------------------------------------------------------------------


@EACH
def test_an_answer_comes_after_what_it_answers_whatever_the_clocks_say(mechanism: Mechanism) -> None:
    """Bob's clock is an hour behind: still his answers stand behind what he answers, at both ends."""
    with a_world(1, mechanism) as world:
        world.bob.skew = -90 * SECOND
        world.introduce()
        expected = []
        for _ in range(6):
            expected.append(world.send("alice", "bob"))
            world.settle()
            expected.append(world.send("bob", "alice"))
            world.settle()
        assert world.alice.history(world.bob.me.identity) == expected
        assert world.bob.history(world.alice.me.identity) == expected
        own = clocks(world.alice, world.bob)
        assert own == sorted(set(own))


@EACH
def test_a_clock_set_back_keeps_the_order_of_our_own_texts(mechanism: Mechanism) -> None:
    with a_world(2, mechanism) as world:
        world.introduce()
        expected = [world.send("alice", "bob") for _ in range(3)]
        world.alice.skew = -HOUR
        expected += [world.send("alice", "bob") for _ in range(3)]
        world.crash("alice")
        expected += [world.send("alice", "bob") for _ in range(3)]
        assert world.alice.history(world.bob.me.identity) == expected
        world.quiesce()
        world.must_agree()


@EACH
def test_texts_that_wait_together_get_a_clock_each(mechanism: Mechanism) -> None:
    with a_world(3, mechanism) as world:
        world.introduce()
        world.send_together("alice", "bob", 10)
        own = clocks(world.alice, world.bob)
        assert len(set(own)) == 10
        world.quiesce()
        world.must_agree()


def text_of(author: Peer, about: Peer, clock: int, text: str = "from another time") -> bytes:
    chat = ChatText(clock=clock, timestamp=author.now(), text=text, chat_id=chat_id_of(about.me.identity))
    return application.wrap(encode(chat), TYPE, author.identity)


@EACH
@pytest.mark.parametrize("ahead", [CLOCK_AHEAD_MS, CLOCK_AHEAD_MS + 1, DAY, 10 * 365 * DAY, CLOCK_MAX])
def test_a_clock_ahead_moves_ours_by_the_bound_at_most(mechanism: Mechanism, ahead: int) -> None:
    """The text is shown, and placed no further ahead than the bound; the next ones come after it (A19)."""
    with a_world(4, mechanism) as world:
        world.introduce()
        clock = min(world.alice.now() + ahead, CLOCK_MAX)
        world.bob.receive(seal_body(world.alice, world.bob.me.identity, text_of(world.alice, world.bob, clock)))
        told = [event for event in world.bob.read_inbox() if isinstance(event, TextReceived)]
        assert [event.text for event in told] == ["from another time"]
        assert clocks(world.bob, world.alice) == [min(clock, world.bob.now() + CLOCK_AHEAD_MS)]
        world.bob.send(world.alice.me.identity, "an answer")
        placed = clocks(world.bob, world.alice)
        assert placed == sorted(placed)
        assert placed[-1] <= world.bob.now() + CLOCK_AHEAD_MS + 1


def test_clocks_of_all_sizes_are_taken_or_refused_and_ours_never_wraps() -> None:
    random = Random(3)
    with a_world(5, X3DH_ALONE) as world:
        world.introduce()
        for n in range(60):
            clock = random.getrandbits(random.choice([1, 8, 40, 41, 63, 64]))
            body = text_of(world.alice, world.bob, clock, f"{n}")
            world.bob.receive(seal_body(world.alice, world.bob.me.identity, body))
            while (answer := world.bob.transmit()) is not None:  # he confirms the session: else it carries but twenty
                world.alice.receive(answer)
            row = world.bob.table("chat").get(world.alice.me.identity)
            assert row is None or records.read_chat(row.value).clock <= world.bob.now() + CLOCK_AHEAD_MS
        told = [event for event in world.bob.read_inbox() if isinstance(event, (TextReceived, Unreadable))]
        assert len(told) == 60


@EACH
@pytest.mark.parametrize("text", ["", "x" * 4097, "\ud800", "\U0001f600" * 4097])
def test_a_text_that_cannot_be_sent_is_our_own_mistake_and_changes_nothing(mechanism: Mechanism, text: str) -> None:
    with a_world(12, mechanism) as world:
        world.introduce()
        before = world.alice.rows.dump()
        with pytest.raises(InvalidInput):
            world.alice.send(world.bob.me.identity, text)
        assert world.alice.rows.dump() == before
        for longest in ("x" * 4096, "\U0001f600" * 4096):
            world.send("alice", "bob", longest)
        world.quiesce()
        world.must_agree()


# --- ids and echoes --------------------------------------------------------------------------------------------------


@EACH
def test_a_text_that_comes_in_two_envelopes_is_told_once(mechanism: Mechanism) -> None:
    """Sealed twice, as for two devices: the second moves the session on and is told to nobody."""
    with a_world(6, mechanism) as world:
        world.introduce()
        body = text_of(world.alice, world.bob, world.alice.now())
        first = seal_body(world.alice, world.bob.me.identity, body)
        second = seal_body(world.alice, world.bob.me.identity, body)
        assert first.payload != second.payload
        world.bob.receive(first)
        world.bob.receive(second)
        assert len(world.bob.read_inbox()) == 1
        assert not world.bob.refusals()
        assert len(world.bob.history(world.alice.me.identity)) == 1


@EACH
def test_our_own_echo_on_a_shared_topic_is_ignored_before_and_after_a_restart(mechanism: Mechanism) -> None:
    with a_world(7, mechanism) as world:
        world.introduce()
        for _ in range(2):
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.settle()
        own = [envelope_of_text(world, "alice", "bob") for _ in range(2)]
        for _ in range(2):
            for envelope in own:
                causes, before, after = receive(world, "alice", envelope)
                assert not causes
                assert before == after
            world.crash("alice")
        world.quiesce()


# --- waiting and delivery --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", [PSK, X3DH_ALONE], ids=["psk", "x3dh"])
@pytest.mark.parametrize("more", [1, FLUSH_BATCH - 1, FLUSH_BATCH, FLUSH_BATCH + 1, 2 * FLUSH_BATCH + 1])
def test_texts_that_wait_leave_when_the_offer_comes_in_bounded_portions(mechanism: Mechanism, more: int) -> None:
    """As many as an unconfirmed session carries at once, the others once the peer has confirmed it."""
    count = PROVISIONAL_TEXTS + more
    with a_world(8, mechanism) as world:
        world.add_by_key("alice", "bob")
        for n in range(count):
            world.send("alice", "bob", f"{n}")
        waiting = [event for event in world.alice.told_ever if isinstance(event, Waiting)]
        assert len(waiting) == count == len(world.alice.table("waiting"))
        assert all(event.reason and event.installation == "" for event in waiting)
        world.alice.disk.changes.clear()
        world.introduce(("alice", "bob"))
        for _ in range(2):
            for _ in range(4):
                world.clock.now += 1
                while (due := world.alice.tick()) is not None and due <= world.clock.now:
                    pass
            world.settle()
        assert not world.alice.table("waiting")
        left = [
            sum(key[0] == "outbox" and bool(records.read_outgoing(row).message) for key, row in change.put.items())
            for change in world.alice.disk.changes
        ]
        portions = [portion for portion in left if portion]
        assert portions[0] == PROVISIONAL_TEXTS
        assert max(portions[1:]) == min(more, FLUSH_BATCH)
        assert sum(left) == count


@EACH
def test_a_text_is_queued_then_sent_then_stored_and_says_so(mechanism: Mechanism) -> None:
    with a_world(9, mechanism) as world:
        world.introduce()
        world.network.offline("alice")
        message = world.send("alice", "bob")

        def states() -> list[Delivery]:
            events = [event for event in world.alice.told_ever if isinstance(event, DeliveryChanged)]
            return [event.delivery for event in events if event.message_id == message]

        def pending() -> int:
            return records.read_text(world.alice.table("text")[message].value).pending

        assert states() == [Delivery.QUEUED]
        assert world.transmit("alice") is None
        assert pending() == 1
        world.network.online("alice")
        world.crash("alice")
        assert world.transmit("alice") is not None
        assert pending() == 1
        world.note_had("alice")
        assert pending() == 0
        assert states()[-1] is Delivery.STORED


@EACH
def test_a_retry_after_a_crash_is_the_same_bytes(mechanism: Mechanism) -> None:
    with a_world(10, mechanism) as world:
        world.introduce()
        world.send("alice", "bob")
        first = world.transmit("alice")
        world.crash("alice")
        again = world.transmit("alice")
        assert first == again
        world.quiesce()
        world.must_agree()


# --- placeholders ----------------------------------------------------------------------------------------------------


def test_a_frame_that_comes_before_its_opening_can_be_read_is_shown_once_it_can() -> None:
    """A second session's frame without its opening: held, with a placeholder, and opened when the opening comes."""
    with a_world(11, X3DH_ALONE) as world:
        world.introduce()
        world.send("alice", "bob", "opening")
        opening = world.alice.queue.pop().envelope
        world.settle()
        message = contents(world, opening)
        stripped = strip_opening(message)
        early = posted(world.alice, world.bob.me.identity, stripped)
        world.bob.receive(early)
        (placeholder,) = world.bob.read_inbox()
        assert isinstance(placeholder, Unreadable)
        assert placeholder.retried
        assert len(world.bob.table("held")) == 1
        world.bob.receive(opening)
        world.settle()
        assert world.told("bob") == ["opening"]


def strip_opening(message: ProtocolMessage) -> ProtocolMessage:
    slots = {}
    for name, frame in message.slots.items():
        wire = EncryptedMessageProtocol.FromString(frame)
        wire.ClearField("x3dh_header")
        slots[name] = wire.SerializeToString()
    return evolve(message, slots=slots, bundles=(), offers=())
