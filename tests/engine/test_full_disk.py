"""A store whose disk is full: nothing goes round in circles over it, and all is well once there is room."""

from __future__ import annotations

import anyio
import pytest
from kexkit import _records as records
from kexkit.api import Change
from kexkit.errors import StoreUnusable
from kexkit.testing import MemoryStore

from tests.engine.nodes import heard, two_nodes, until

pytestmark = pytest.mark.anyio
RUNAWAY = 1000
"""changes tried; a node at rest tries a handful a second"""


class Full(MemoryStore):
    """While `full`, it takes no change."""

    full = False
    tried = 0

    def commit(self, change: Change) -> None:
        if self.full:
            self.tried += 1
            if self.tried > RUNAWAY:
                raise SystemExit("the node goes round in circles")
            raise StoreUnusable("The disk is full.")
        super().commit(change)


async def test_a_look_after_a_commit_in_doubt_that_fails_itself_sets_off_no_avalanche() -> None:
    """Somebody has a frame kept back, so that each look has something to write."""
    bobs = Full()
    async with two_nodes(stores={"alice": MemoryStore(), "bob": bobs}) as pair:
        await pair.greet()
        key = records.peer_key(pair.alice.identity)
        person = records.read_peer(bobs.read((key,))[key].value)
        person.held = 1
        bobs.commit(Change({}, {key: records.write(person)}))
        pair.bob._runtime.writer._forget()
        bobs.full = True
        with pytest.raises(StoreUnusable):
            await pair.bob.send(pair.alice_for_bob, "no room")
        await anyio.sleep(0.3)
        assert bobs.tried < 50
        bobs.full = False
        await pair.bob.send(pair.alice_for_bob, "room again")
        await heard(pair.alice, "room again")


async def test_what_the_network_has_is_not_sent_again_and_again_because_that_cannot_be_written_down() -> None:
    bobs = Full()
    async with two_nodes(stores={"alice": MemoryStore(), "bob": bobs}) as pair:
        await pair.greet()
        await pair.bob.send(pair.alice_for_bob, "sent")
        bobs.full = True
        await heard(pair.alice, "sent")
        published = 0
        transport = pair.bob._runtime._transport
        publish = transport.publish

        async def counted(envelope: object) -> None:
            nonlocal published
            published += 1
            await publish(envelope)  # type: ignore[arg-type]  # whatever it was given

        transport.publish = counted  # type: ignore[method-assign]  # to count
        await anyio.sleep(1.2)
        assert published <= 6
        bobs.full = False

        async def emptied() -> bool:
            return not any(key[0] == "outbox" for key in bobs.dump())

        await until(emptied)
