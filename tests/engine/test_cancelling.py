"""Cancelled at any await, failed at any call of the store: no text is lost or doubled, no key is used twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio
import pytest
from kexkit.errors import StorageError
from kexkit.events import TextReceived
from kexkit.node import StoredText
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit.testing.cancelling import CancelledAt

from tests.engine.nodes import Pair, flushed, heard, so_many, told, two_nodes, until
from tests.world.ciphers import watching
from tests.world.mechanisms import PSK, X3DH_ALONE, Mechanism

pytestmark = pytest.mark.anyio
FAST = pytest.mark.parametrize("mechanism", [PSK, X3DH_ALONE], ids=["psk", "x3dh"])
AWAITS = 60
"""more than any call of a node has; a call that runs through ends the count"""
Call: TypeAlias = Callable[[Pair], Awaitable[object]]


async def cancelled_at(call: Awaitable[object], at: int) -> bool:
    """Whether it ran through without awaiting so often."""
    through = False
    with anyio.CancelScope() as scope:
        through = await CancelledAt(call, scope, at)
    return through


async def read_all(pair: Pair) -> None:
    """Bob's application takes what there is, acknowledging every text."""
    for event in await told(pair.bob.events(), quiet=0.05):
        await pair.bob.ack(event)


async def must_agree(pair: Pair) -> None:
    """Both ends have the same texts, each once; and the next ones come through."""
    await pair.alice.send(pair.bob_for_alice, "the last of alice")
    await pair.bob.send(pair.alice_for_bob, "the last of bob")
    await heard(pair.bob, "the last of alice")
    await heard(pair.alice, "the last of bob")
    await flushed(pair.alice, pair.bob)

    async def they_agree() -> bool:  # what left after a commit in doubt may arrive behind the last ones
        ours = await pair.alice.history(pair.bob_for_alice, limit=500)
        return as_told(ours) == as_told(await pair.bob.history(pair.alice_for_bob, limit=500))

    await until(they_agree)
    ours = as_told(await pair.alice.history(pair.bob_for_alice, limit=500))
    assert len({message_id for message_id, _ in ours}) == len(ours)


def as_told(history: list[StoredText]) -> list[tuple[bytes, str]]:
    return [(text.message_id, text.text) for text in history]


@FAST
async def test_a_send_cancelled_at_any_await_is_committed_once_or_not_at_all(mechanism: Mechanism) -> None:
    stores = {"alice": MemoryStore(yields=True), "bob": MemoryStore(yields=True)}
    with watching() as ciphers:
        async with two_nodes(mechanism, stores=stores) as pair:
            for at in range(1, AWAITS):
                if await cancelled_at(pair.alice.send(pair.bob_for_alice, f"cancelled {at}"), at):
                    break
            assert at > 1, "it never awaited"
            await must_agree(pair)
            texts = [text.text for text in await pair.alice.history(pair.bob_for_alice, limit=500)]
            assert len(set(texts)) == len(texts)
    assert not ciphers.reused


@FAST
async def test_an_acknowledgement_cancelled_at_any_await_happens_or_does_not(mechanism: Mechanism) -> None:
    stores = {"alice": MemoryStore(yields=True), "bob": MemoryStore(yields=True)}
    async with two_nodes(mechanism, stores=stores) as pair:
        await pair.greet()
        for at in range(1, AWAITS):
            await pair.alice.send(pair.bob_for_alice, f"to ack {at}")
            event = await heard(pair.bob, f"to ack {at}")
            if await cancelled_at(pair.bob.ack(event), at):
                break
        assert at > 1
        await read_all(pair)
        assert not any(key[0] == "inbox" for key in stores["bob"].dump())
        await must_agree(pair)


@FAST
async def test_adding_a_contact_cancelled_at_any_await_can_be_done_again(mechanism: Mechanism) -> None:
    stores = {"alice": MemoryStore(yields=True), "bob": MemoryStore(yields=True)}
    async with two_nodes(mechanism, stores=stores, introduced=False) as pair:
        code = await pair.bob.contact_code()
        for at in range(1, AWAITS):
            if await cancelled_at(pair.alice.add(code), at):
                break
        assert at > 1
        await pair.introduce()
        await must_agree(pair)


@FAST
async def test_reading_events_cancelled_at_any_await_loses_none(mechanism: Mechanism) -> None:
    stores = {"alice": MemoryStore(yields=True), "bob": MemoryStore(yields=True)}
    async with two_nodes(mechanism, stores=stores) as pair:
        for n in range(10):
            await pair.alice.send(pair.bob_for_alice, f"event {n}")
        await heard(pair.bob, "event 9")
        for at in range(1, 25):
            reader = pair.bob.events()
            await cancelled_at(anext(reader), at)
        ten = so_many(10, TextReceived)
        texts = {event.text for event in await told(pair.bob.events(), ten) if isinstance(event, TextReceived)}
        assert texts >= {f"event {n}" for n in range(10)}
        await must_agree(pair)


@FAST
async def test_a_reader_that_is_cancelled_at_any_await_and_goes_on_misses_none(mechanism: Mechanism) -> None:
    """An application waits for events with a time limit, again and again, on one iterator."""
    stores = {"alice": MemoryStore(yields=True), "bob": MemoryStore(yields=True)}
    async with two_nodes(mechanism, stores=stores) as pair:
        reader = pair.bob.events()
        texts: list[str] = []
        for n in range(40):
            await pair.alice.send(pair.bob_for_alice, f"event {n}")
            with anyio.CancelScope() as scope:
                await CancelledAt(note_next(reader, texts), scope, n % 10 + 1)
        rest = await told(reader, so_many(40 - len(texts), TextReceived))
        texts += [event.text for event in rest if isinstance(event, TextReceived)]
        assert sorted(texts) == sorted(f"event {n}" for n in range(40))


async def note_next(reader: Any, texts: list[str]) -> None:
    event = await anext(reader)
    if isinstance(event, TextReceived):
        texts.append(event.text)


@FAST
async def test_a_node_cancelled_while_it_works_goes_on_when_it_is_opened_again(mechanism: Mechanism) -> None:
    """Whatever it was doing: opening, sending, receiving, closing."""
    stores = {"alice": MemoryStore(yields=True), "bob": MemoryStore(yields=True)}
    network = MemoryNetwork()
    with watching() as ciphers:
        async with two_nodes(mechanism, stores=stores, network=network) as pair:
            await pair.greet()
        for at in (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233):
            await cancelled_at(talk(mechanism, stores, network, at), at)
        async with two_nodes(mechanism, stores=stores, network=network, introduced=False) as pair:
            pair.bob_for_alice = await pair.alice.contact(pair.bob.identity)
            pair.alice_for_bob = await pair.bob.contact(pair.alice.identity)
            await must_agree(pair)
    assert not ciphers.reused


async def talk(mechanism: Mechanism, stores: dict[str, MemoryStore], network: Any, number: int) -> None:
    async with two_nodes(mechanism, stores=stores, network=network, introduced=False) as pair:
        for n in range(3):
            await pair.alice.send(pair.bob.identity, f"talk {number}.{n} of alice")
            await pair.bob.send(pair.alice.identity, f"talk {number}.{n} of bob")
        await anyio.sleep(0.01)


@FAST
@pytest.mark.parametrize("verb", ["load", "apply", "scan"])
@pytest.mark.parametrize("after", [False, True], ids=["before it did it", "after it did it"])
async def test_a_store_that_fails_at_any_call_loses_and_doubles_nothing(
    mechanism: Mechanism, verb: Any, after: bool
) -> None:
    """One failure at the nth call of a verb, at each end; what the application was told failed, it sends again."""
    with watching() as ciphers:
        async with two_nodes(mechanism) as pair:
            for nth in range(1, 14):
                for store in pair.stores.values():
                    store.fail(verb, nth, after=after)
                for sender, to, name in (
                    (pair.alice, pair.bob_for_alice, "alice"),
                    (pair.bob, pair.alice_for_bob, "bob"),
                ):
                    try:
                        await sender.send(to, f"{nth} of {name}")
                    except StorageError:
                        await send_unless_there(sender, to, f"{nth} of {name}")
            for store in pair.stores.values():
                store._faults.clear()
            await must_agree(pair)
            texts = [text.text for text in await pair.alice.history(pair.bob_for_alice, limit=500)]
            assert len(set(texts)) == len(texts) == 13 * 2 + 2
    assert not ciphers.reused


async def send_unless_there(sender: Any, to: Any, text: str) -> None:
    """What the error advises: look at the history before sending again."""
    for _ in range(10):
        try:
            if text not in [one.text for one in await sender.history(to, limit=500)]:
                await sender.send(to, text)
            return
        except StorageError:
            continue
    raise AssertionError("the store never recovers")
