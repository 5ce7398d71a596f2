"""What strangers, damage and odd clocks cannot do: each was done once."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import uuid4

import anyio
import pytest
from kexkit import (
    FrameRefused,
    Node,
    Question,
    SoftwareIdentity,
    TextReceived,
    Unreadable,
    Waiting,
    open_node,
    parse_contact_code,
)
from kexkit._engine import bare, chatting, flushing, strangers
from kexkit._engine.negotiating import opening_place
from kexkit._wire import payload26, topics
from kexkit._wire.chat_message import PRIVATE_GROUP, ChatText
from kexkit.api import Change, Envelope, KeyExchange
from kexkit.contact import ContactCode, Pin
from kexkit.hazmat import SecurityLayer
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_x3dh.exchange import X3DH

from tests.engine.nodes import PATIENCE, so_many, told
from tests.kits.toy_ladder import Ladder, Silent, public_of

NOW = 1_800_000_000_000
HOUR = 3_600_000
BEGAN = time.monotonic()


def ticking(ahead: int = 0) -> int:
    """A clock of our own that goes: what is planned for the next millisecond must come."""
    return NOW + ahead + int((time.monotonic() - BEGAN) * 1000)


@asynccontextmanager
async def node(
    network: MemoryNetwork,
    name: str,
    store: MemoryStore | None = None,
    *,
    exchange: KeyExchange | None = None,
    policy: Policy | None = None,
    clock: Callable[[], int] = ticking,
) -> AsyncIterator[Node]:
    kept = store if store is not None else MemoryStore()
    async with open_node(kept, network.transport(name), [exchange or X3DH()], policy=policy, clock=clock) as opened:
        yield opened


async def until(of: Node, kind: type[object]) -> object:
    with anyio.fail_after(PATIENCE):
        async for event in of.events():
            if isinstance(event, kind):
                return event
    raise AssertionError


def junk_of_a_stranger(victim: bytes) -> Envelope:
    """A message that costs its sender nothing: the fallback, with nothing readable in it."""
    identity = SoftwareIdentity.generate(os.urandom)
    layer = SecurityLayer(
        identity, str(uuid4()), [X3DH()], clock=ticking, rng=os.urandom, policy=WITHOUT_FORWARD_SECRECY
    )
    message = layer.seal_fallback(victim, b"junk")
    payload = payload26.seal_asymmetric(message, victim, sign=identity, rng=os.urandom)
    return Envelope(topics.content_topic(topics.partitioned_name(victim)), payload, 1, NOW)


@pytest.mark.anyio
async def test_a_stranger_who_says_nothing_readable_leaves_nothing_behind() -> None:
    network, store = MemoryNetwork(), MemoryStore()
    async with node(network, "bob", store) as bob:
        for _ in range(3):
            network.inject(junk_of_a_stranger(bob.identity), logged=True)
        events = await told(bob.events(), so_many(3, FrameRefused))
        refused = [event for event in events if isinstance(event, FrameRefused)]
        assert len(refused) == 3
        assert not [key for key in store.dump() if key[0] in {"peer", "stranger", "session", "held", "inbox"}]


@pytest.mark.anyio
@pytest.mark.parametrize("count", [2, 3, 4])
async def test_as_many_strangers_are_kept_as_the_bound_says(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """STRANGERS, at one less, itself and one more."""
    monkeypatch.setattr(strangers, "STRANGERS", 3)
    network, store = MemoryNetwork(), MemoryStore()
    async with node(network, "bob", store) as bob:
        code = await bob.contact_code()
        for number in range(count):
            async with node(network, f"stranger {number}") as stranger:
                await stranger.send(await stranger.add(code), "hello")
        events = await told(bob.events(), so_many(min(count, 3), TextReceived))
        heard = [event for event in events if isinstance(event, TextReceived)]
        assert len(heard) == min(count, 3)
        assert len([key for key in store.dump() if key[0] == "peer"]) == min(count, 3)
        if count > 3:  # whoever is added makes room
            await bob.add(heard[0].peer.hex())
            assert len([key for key in store.dump() if key[0] == "stranger"]) == 2


@pytest.mark.anyio
async def test_texts_that_wait_for_one_device_do_not_hide_those_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flushing, "FLUSH_BATCH", 4)
    network = MemoryNetwork()
    ladder = partial(node, exchange=Ladder(), policy=WITHOUT_FORWARD_SECRECY)
    async with ladder(network, "alice") as alice, ladder(network, "bob") as bob:
        code = parse_contact_code(await bob.contact_code())
        never = Pin("00000000-0000-4000-8000-000000000000", 1)
        to_bob = await alice.add(ContactCode(code.identity, code.bundles, code.offers, (never,)).to_text())
        for number in range(10):
            await alice.send(to_bob, f"text {number}")
        for one in (alice, bob):
            question = await until(one, Question)
            assert isinstance(question, Question)
            await one.answer(question, b"yes")
        events = await told(bob.events(), so_many(10, TextReceived))
        texts = [event.text for event in events if isinstance(event, TextReceived)]
        assert sorted(texts) == [f"text {number}" for number in range(10)]


@pytest.mark.anyio
async def test_a_text_from_a_clock_that_is_ahead_is_shown_and_placed_no_further_ahead_than_the_bound() -> None:
    network = MemoryNetwork()
    async with node(network, "alice", clock=partial(ticking, HOUR)) as alice, node(network, "bob") as bob:
        await alice.send(await alice.add(await bob.contact_code()), "from the future")
        event = await until(bob, TextReceived)
        assert isinstance(event, TextReceived)
        assert event.text == "from the future"
        assert NOW + 120_000 <= event.clock <= ticking() + 120_000


@pytest.mark.anyio
async def test_contents_that_cannot_be_shown_leave_a_placeholder_and_the_next_text_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = MemoryNetwork()
    async with node(network, "alice") as alice, node(network, "bob") as bob:
        to_bob = await alice.add(await bob.contact_code())
        with monkeypatch.context() as patched:
            patched.setattr(chatting, "ChatText", partial(ChatText, message_type=PRIVATE_GROUP))
            await alice.send(to_bob, "for a group")
        placeholder = await until(bob, Unreadable)
        assert isinstance(placeholder, Unreadable)
        assert "another kind of chat" in placeholder.cause
        assert "for a group" not in placeholder.cause
        await bob.ack(placeholder)
        await alice.send(to_bob, "for you")
        event = await until(bob, TextReceived)
        assert isinstance(event, TextReceived)
        assert event.text == "for you"


@pytest.mark.anyio
async def test_a_pinned_device_is_sent_nothing_until_its_offer_has_come() -> None:
    """A code whose offer was cut off on the way is not taken for one of somebody without offers."""
    network = MemoryNetwork()
    silent = partial(node, policy=Policy(advertise=False))
    async with node(network, "alice") as alice, silent(network, "bob") as bob:
        code = parse_contact_code(await bob.contact_code())
        pinned = ContactCode(code.identity, code.bundles, (), (Pin(bob.installation, 1),))
        await alice.send(await alice.add(pinned.to_text()), "wait")
        event = await until(alice, Waiting)
        assert isinstance(event, Waiting)
        assert event.cause == "OfferMissing"
        await network.settle()
        assert not [event for event in await told(bob.events()) if isinstance(event, TextReceived)]


@pytest.mark.anyio
async def test_a_damaged_session_row_silences_nobody_else() -> None:
    network, store = MemoryNetwork(), MemoryStore()
    async with node(network, "alice") as alice, node(network, "carol") as carol:
        async with node(network, "bob", store) as bob:
            code = await bob.contact_code()
            for one in (alice, carol):
                await one.send(await one.add(code), "first")
            for event in await told(bob.events(), so_many(2, TextReceived)):
                if isinstance(event, TextReceived):
                    await bob.ack(event)
        damaged = next(key for key in store.dump() if key[0] == "session")
        store.commit(Change({}, {damaged: store.read((damaged,))[damaged].value[:12]}))
        async with node(network, "bob", store) as bob:
            for one in (alice, carol):
                (contact,) = await one.contacts()
                await one.send(contact, "second")
            both = so_many(1, TextReceived), so_many(1, Unreadable)
            events = await told(bob.events(), lambda found: all(each(found) for each in both), quiet=0.5)
            assert len([event for event in events if isinstance(event, TextReceived)]) == 1
            assert [event.retried for event in events if isinstance(event, Unreadable)] == [True]


@pytest.mark.anyio
async def test_openings_of_nobody_do_not_keep_somebody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """HALF_OPEN: the oldest gives way."""
    monkeypatch.setattr(bare, "HALF_OPEN", 3)
    network, store = MemoryNetwork(), MemoryStore()
    ladder = partial(node, exchange=Ladder(Silent), policy=WITHOUT_FORWARD_SECRECY)
    async with ladder(network, "alice") as alice, ladder(network, "bob", store) as bob:
        code = parse_contact_code(await bob.contact_code())
        (digest,) = [key[1] for key in store.dump() if key[0] == "offered"]
        place = opening_place(Ladder.name, bob.identity, digest)
        for number in range(5):
            frame = place.tag + public_of(bytes((number + 1,)) * 32)
            network.inject(Envelope(place.topic, frame, 2, number), logged=True)
        with anyio.fail_after(PATIENCE):
            while len([key for key in store.dump() if key[0] == "half"]) < 3:
                await anyio.sleep(0.01)
        await network.settle()
        assert len([key for key in store.dump() if key[0] == "half"]) == 3
        await alice.send(await alice.add(code.to_text()), "let me in")
        event = await until(bob, TextReceived)
        assert isinstance(event, TextReceived)
        assert event.text == "let me in"
