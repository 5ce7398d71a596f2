"""What an application can do wrong: each mistake is a typed error that says whose it is, and nothing is lost."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio
import pytest
from attrs import evolve
from kexkit.contact import parse_contact_code
from kexkit.errors import InvalidInput, KexkitError, LocalError, Malformed, NodeClosed, Refusal
from kexkit.identity import SoftwareIdentity
from kexkit.limits import TEXT_CHARACTERS
from kexkit.node import Node, open_node
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_psk.exchange import Psk
from kexkit_x3dh.exchange import X3DH

from tests.engine.nodes import flushed, heard, two_nodes
from tests.engine.test_shell_bounds import Deaf
from tests.world.mechanisms import SECRET

pytestmark = pytest.mark.anyio
NOBODY = SoftwareIdentity.generate(Random(1).randbytes).public


async def test_every_method_of_a_closed_node_says_that_it_is_closed() -> None:
    async with two_nodes() as pair:
        await pair.greet()
        closed, contact = pair.alice, pair.bob_for_alice
        event = await heard_once_more(pair.alice, pair.bob, pair.alice_for_bob)
    for call in (
        lambda: closed.send(contact, "too late"),
        lambda: closed.add("02" + "11" * 32),
        closed.contact_code,
        lambda: closed.contact(contact.identity),
        closed.contacts,
        lambda: closed.history(contact),
        lambda: closed.delivery(bytes(32)),
        lambda: closed.devices(contact),
        lambda: closed.forget_device(contact, "x"),
        lambda: closed.pair("02" + "11" * 32),
        lambda: closed.ack(event),
    ):
        with pytest.raises((NodeClosed, Malformed)):
            await call()


async def test_whoever_waits_for_a_node_that_is_closed_waits_no_longer() -> None:
    """Tasks of the application that outlive it."""
    ended = []

    async def listen(node: Node) -> None:
        async for _ in node.events():
            pass
        ended.append("events")

    async def wait(node: Node) -> None:
        with pytest.raises(NodeClosed):
            await node.flushed()
        ended.append("flushed")

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            store, transport = MemoryStore(), Deaf(hangs=True)
            async with open_node(store, transport, [Psk(SECRET)]) as node:
                tasks.start_soon(listen, node)
                await anyio.sleep(0.1)
                tasks.start_soon(wait, node)
                await anyio.sleep(0.1)
        async for _ in node.events():
            raise AssertionError("a closed node tells nothing")
    assert sorted(ended) == ["events", "flushed"]


async def heard_once_more(alice: Node, bob: Node, contact: Any) -> Any:
    await bob.send(contact, "the last")
    return await heard(alice, "the last")


@pytest.mark.parametrize(
    "call",
    [
        lambda node, peer: node.send(NOBODY, "hello"),
        lambda node, peer: node.send(b"", "hello"),
        lambda node, peer: node.send(b"x" * 500, "hello"),
        lambda node, peer: node.send("0x1234", "hello"),
        lambda node, peer: node.send(None, "hello"),
        lambda node, peer: node.send(peer, ""),
        lambda node, peer: node.send(peer, "x" * 5000),
        lambda node, peer: node.send(peer, "\ud800"),
        lambda node, peer: node.send(peer, None),
        lambda node, peer: node.add(""),
        lambda node, peer: node.add("not a code"),
        lambda node, peer: node.add("02" + "00" * 32),
        lambda node, peer: node.contact(NOBODY),
        lambda node, peer: node.contact(b"x" * 500),
        lambda node, peer: node.history(peer, limit=0),
        lambda node, peer: node.history(peer, limit=-1),
        lambda node, peer: node.history(peer, before=-1),
        lambda node, peer: node.history(peer, before=2**64),
        lambda node, peer: node.delivery(b""),
        lambda node, peer: node.delivery(b"x" * 500),
        lambda node, peer: node.devices(NOBODY),
        lambda node, peer: node.devices(b"x" * 500),
        lambda node, peer: node.forget_device(NOBODY, "x"),
        lambda node, peer: node.forget_device(b"x" * 500, "x"),
        lambda node, peer: node.forget_device(peer, ""),
        lambda node, peer: node.forget_device(peer, "\ud800"),
        lambda node, peer: node.forget_device(peer, None),
    ],
    ids=range(27),
)
async def test_a_wrong_argument_is_a_typed_error_and_changes_nothing(call: Any) -> None:
    async with two_nodes() as pair:
        await pair.greet()
        before = settled(pair.stores["alice"])
        with pytest.raises(KexkitError) as caught:
            await call(pair.alice, pair.bob_for_alice)
        assert isinstance(caught.value, (LocalError, Malformed)), "it is blamed on somebody else"
        assert str(caught.value)
        assert settled(pair.stores["alice"]) == before
        await pair.alice.send(pair.bob_for_alice, "and on")
        await heard(pair.bob, "and on")


def settled(store: MemoryStore) -> object:
    """What no task of the node changes by itself meanwhile."""
    return {key: row for key, row in store.dump().items() if key[0] not in ("timer", "cursor", "plan", "outbox")}


async def test_devices_are_told_with_what_is_in_use_and_forgotten_and_come_again() -> None:
    async with two_nodes() as pair:
        assert pair.bob_for_alice.in_use == ()
        await pair.greet()
        alice, bob = pair.alice, pair.bob_for_alice
        (known,) = await alice.devices(bob)
        assert (known.installation, known.in_use) == (pair.bob.installation, "psk@example.org/1")
        assert (await alice.contact(bob.identity)).in_use == ("psk@example.org/1",)
        assert [one.in_use for one in await alice.contacts()] == [("psk@example.org/1",)]
        assert await alice.forget_device(bob, known.installation)
        assert await alice.devices(bob.identity) == ()
        assert (await alice.contact(bob.identity)).in_use == ()
        await alice.send(bob, "whoever you have")
        await alice.add(await pair.bob.contact_code())
        await heard(pair.bob, "whoever you have")


async def test_what_is_refused_here_says_what_to_do_about_it() -> None:
    async with two_nodes(introduced=False) as pair:
        code = parse_contact_code(await pair.bob.contact_code())
        cut = evolve(code, offers=tuple(offer[:-1] for offer in code.offers)).to_text()
        assert code.offers
        with pytest.raises(Refusal, match="Ask them for their contact code again"):
            await pair.alice.add(cut)
        with pytest.raises(Refusal, match="from the other device again"):
            await pair.bob.pair(cut)
        bob = await pair.alice.add(code.to_text())
        for text, advice in (("x" * (TEXT_CHARACTERS + 1), "Send it in parts"), (" ", "Write something")):
            with pytest.raises(InvalidInput, match=advice):
                await pair.alice.send(bob, text)


async def test_our_own_code_adds_nobody() -> None:
    async with two_nodes() as pair:
        with pytest.raises(InvalidInput):
            await pair.alice.add(await pair.alice.contact_code())


async def test_acknowledging_anything_any_number_of_times_is_no_error() -> None:
    async with two_nodes() as pair:
        await pair.alice.send(pair.bob_for_alice, "once")
        event = await heard(pair.bob, "once")
        for _ in range(3):
            await pair.bob.ack(event)
        await pair.bob.ack(object())  # type: ignore[arg-type]  # a told-once event has no receipt either


async def test_a_node_without_a_key_exchange_or_with_two_for_one_place_does_not_open() -> None:
    for exchanges in ([], [X3DH(), X3DH()], [Psk(SECRET), Psk(bytes(32))]):
        with pytest.raises(KexkitError):
            async with open_node(MemoryStore(), MemoryNetwork().transport("alice"), exchanges):
                pass


async def test_a_store_of_an_identity_that_lives_elsewhere_asks_for_it() -> None:
    """Opened with a key from outside, then without: a sentence, not a crash; and the right key opens it again."""
    store, network = MemoryStore(), MemoryNetwork()
    outside = SoftwareIdentity.generate(Random(2).randbytes)
    settings: dict[str, Any] = {"policy": WITHOUT_FORWARD_SECRECY}
    async with open_node(store, network.transport("a"), [Psk(SECRET)], identity=outside, **settings) as node:
        assert node.identity == outside.public
        installation = node.installation
    before = store.dump()
    with pytest.raises(LocalError):
        async with open_node(store, network.transport("a"), [Psk(SECRET)], **settings):
            pass
    assert store.dump() == before
    async with open_node(store, network.transport("a"), [Psk(SECRET)], identity=outside, **settings) as node:
        assert (node.identity, node.installation) == (outside.public, installation)


async def test_a_store_does_not_open_under_another_identity() -> None:
    """Else one person would go on in another's sessions and chats."""
    store, network = MemoryStore(), MemoryNetwork()
    async with open_node(store, network.transport("a"), [Psk(SECRET)], policy=WITHOUT_FORWARD_SECRECY):
        pass
    other = SoftwareIdentity.generate(Random(3).randbytes)
    before = store.dump()
    with pytest.raises(LocalError):
        async with open_node(store, network.transport("a"), [Psk(SECRET)], identity=other):
            pass
    assert store.dump() == before


class OwnError(Exception):
    """The application's."""


async def test_what_the_application_raises_inside_comes_out_as_it_was() -> None:
    async def fails() -> None:
        async with two_nodes() as pair:
            await pair.greet()
            raise OwnError

    with pytest.raises(OwnError):
        await fails()


async def test_a_node_may_be_used_from_many_tasks_at_once() -> None:
    async with two_nodes() as pair:
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(pair.alice.send, pair.bob_for_alice, f"{n}")
                tasks.start_soon(pair.alice.history, pair.bob_for_alice)
                tasks.start_soon(pair.alice.contacts)
                tasks.start_soon(pair.alice.contact_code)
        await flushed(pair.alice)
        for n in range(20):
            await heard(pair.bob, f"{n}")


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
async def test_history_pages_meet_without_gap_or_overlap(limit: int) -> None:
    """Though texts share a clock (both wrote at once), and one came from a clock far ahead."""
    async with two_nodes() as pair:
        await pair.greet()
        pair.network.hold("alice", "bob")
        now = pair.alice._runtime.moment().now + 1000
        for node in (pair.alice, pair.bob):
            node._runtime.moment = standing_still(node._runtime.moment, now)  # type: ignore[method-assign]
        for n in range(7):
            await pair.alice.send(pair.bob_for_alice, f"a{n}")
            await pair.bob.send(pair.alice_for_bob, f"b{n}")
        pair.network.release("alice", "bob")
        await heard(pair.bob, "a6")
        await heard(pair.alice, "b6")
        whole = await pair.bob.history(pair.alice_for_bob, limit=100)
        assert len({text.clock for text in whole}) < len(whole) == 16
        pages: list[Any] = []
        while page := await pair.bob.history(pair.alice_for_bob, limit=limit, before=pages[0] if pages else None):
            assert len(page) <= limit
            pages[:0] = page
        assert pages == whole


def standing_still(real: Any, now: int) -> Any:
    def moment() -> Any:
        made = real()
        return evolve(made, context=evolve(made.context, now=now))

    return moment


async def test_a_text_from_a_clock_ahead_has_the_same_clock_in_the_event_and_in_history() -> None:
    """And paging by it comes to an end."""
    async with two_nodes() as pair:
        await pair.greet()
        ahead = pair.alice._runtime.moment().now + 3600 * 1000
        pair.alice._runtime.moment = standing_still(pair.alice._runtime.moment, ahead)  # type: ignore[method-assign]
        await pair.alice.send(pair.bob_for_alice, "from ahead")
        event = await heard(pair.bob, "from ahead")
        last = (await pair.bob.history(pair.alice_for_bob))[-1]
        assert last.text == "from ahead"
        assert last.clock == event.clock
        page = await pair.bob.history(pair.alice_for_bob, before=last.clock)
        assert last.message_id not in {text.message_id for text in page}
