"""What is written, and how often: one commit a send and one a receive, and one for many that wait together."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest
from kexkit._shell import runtime

from tests.engine.nodes import PATIENCE, Pair, flushed, heard, two_nodes, until
from tests.world.mechanisms import EACH, X3DH_ALONE, Mechanism
from tests.world.world import World, a_world

pytestmark = pytest.mark.anyio
TEXTS = 20


def steady(world: World) -> None:
    world.introduce()
    for _ in range(2):
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()


@EACH
async def test_a_send_and_a_receive_are_one_commit_each_in_the_steady_state(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_nodes(mechanism) as pair:
        await pair.greet()
        reader = pair.bob.events()
        alice, bob = pair.stores["alice"], pair.stores["bob"]
        monkeypatch.setattr(runtime, "CONFIRM_LAG_S", PATIENCE)  # nothing has to wait so long for a next text
        before = alice.commits, bob.commits
        for n in range(TEXTS):
            await pair.alice.send(pair.bob_for_alice, f"text {n}")
            with anyio.fail_after(PATIENCE):
                async for event in reader:
                    if getattr(event, "text", "") == f"text {n}":
                        break
        sent, received = alice.commits - before[0], bob.commits - before[1]
        let_riders_go(pair)
        assert sent == TEXTS, "confirmations ride along with the next text"
        assert received == TEXTS, "cursors ride along with the next receipt"


@EACH
async def test_texts_sent_together_share_their_commits(mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_nodes(mechanism) as pair:
        await pair.greet()
        monkeypatch.setattr(runtime, "CONFIRM_LAG_S", PATIENCE)
        before = pair.stores["alice"].commits
        await send_together(pair, 32)
        assert pair.stores["alice"].commits - before <= 3
        let_riders_go(pair)

        async def all_there() -> bool:
            return len(await pair.bob.history(pair.alice_for_bob, limit=100)) == 32 + 2

        await until(all_there)
        history = await pair.bob.history(pair.alice_for_bob, limit=100)
        assert Counter(text.text for text in history if text.text.startswith("together")) == Counter(
            f"together {n}" for n in range(32)
        )


def let_riders_go(pair: Pair) -> None:
    """What still waits for a next text is written down now."""
    for node in (pair.alice, pair.bob):
        node._runtime.writer.ring()


async def send_together(pair: Pair, count: int) -> None:
    async with anyio.create_task_group() as tasks:
        for n in range(count):
            tasks.start_soon(pair.alice.send, pair.bob_for_alice, f"together {n}")


@EACH
async def test_a_store_that_yields_between_its_steps_gets_the_same_texts(mechanism: Mechanism) -> None:
    """Other tasks run inside every verb of the store, so that whatever could interleave does."""
    async with two_nodes(mechanism) as pair:
        for store in pair.stores.values():
            store.yields = True
        async with anyio.create_task_group() as tasks:
            for n in range(12):
                tasks.start_soon(pair.alice.send, pair.bob_for_alice, f"a{n}")
                tasks.start_soon(pair.bob.send, pair.alice_for_bob, f"b{n}")
        for n in range(12):
            await heard(pair.bob, f"a{n}")
            await heard(pair.alice, f"b{n}")
        await flushed(pair.alice, pair.bob)
        ours = [text.message_id for text in await pair.alice.history(pair.bob_for_alice)]
        theirs = [text.message_id for text in await pair.bob.history(pair.alice_for_bob)]
        assert ours == theirs
        assert len(set(ours)) == 24


ROWS_A_SEND = {"session", "outbox", "text", "order", "chat"}
ROWS_A_RECEIVE = {"session", "text", "order", "inbox", "chat", "seen"}


@EACH
def test_a_send_and_a_receive_write_these_rows_and_no_others(mechanism: Mechanism) -> None:
    """Not the peer's row, nor a timer: what happens for every message is small."""
    with a_world(1, mechanism) as world:
        steady(world)
        world.settle()
        world.clock.now += 1
        world.alice.disk.changes.clear()
        world.send("alice", "bob")
        (sent,) = world.alice.disk.changes
        assert {key[0] for key in sent.put} == ROWS_A_SEND
        assert not sent.drop
        world.transmit("alice")
        world.network.advance()
        world.bob.disk.changes.clear()
        world.pull("bob")
        (received,) = world.bob.disk.changes
        assert {key[0] for key in received.put} == ROWS_A_RECEIVE
        drawer = {key[0] for key in received.drop}
        assert drawer <= {"drawer", "timer"}


@EACH
def test_a_session_is_always_relied_on_and_a_new_text_always_absent(mechanism: Mechanism) -> None:
    with a_world(2, mechanism) as world:
        steady(world)
        for name in ("alice", "bob"):
            for change in world.peers[name].disk.changes:
                for key in change.put:
                    if key[0] in ("session", "peer", "chat"):
                        assert key in change.given, key[0]
                    if key[0] == "text" and any(other[0] == "order" for other in change.put):
                        assert change.given.get(key) == 0


def test_nothing_is_read_from_a_store_for_a_text_in_the_steady_state() -> None:
    """But for the seen-row and the text's own, which are looked up because they must be absent."""
    with a_world(3, X3DH_ALONE) as world:
        steady(world)
        world.send("alice", "bob")
        world.settle()
        world.alice.disk.reads.clear()
        world.alice.send(world.bob.me.identity, "quick")
        assert world.alice.disk.reads == []
        world.bob.disk.reads.clear()
        world.bob.receive(world.alice.queue[-1].envelope)
        assert sorted(world.bob.disk.reads) == ["seen", "seen", "text"]
