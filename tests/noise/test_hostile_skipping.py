"""A peer who skips as much as it may in each of its chains: what it makes us keep."""

from __future__ import annotations

from collections import Counter

from kexkit import _records as records
from kexkit_noise import limits

from tests.noise.test_world import ALONE
from tests.world.world import World, a_world


def skip(world: World, count: int) -> None:
    """Alice seals texts that never leave, as a dishonest program would."""
    (session_id,) = world.alice.table("session")
    live = world.alice.writer._sessions.get(session_id)
    assert live is not None
    for _ in range(count):
        live.session = live.session.seal(b"never sent", ctx=world.alice.moment().context).session


def test_keys_that_newer_ones_push_out_take_their_timers_along() -> None:
    with a_world(1, ALONE[0]) as world:
        world.introduce()
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
            world.quiesce()
        for _ in range(5):
            skip(world, 900)
            for who, whom in (("alice", "bob"), ("bob", "alice")):
                world.send(who, whom)
                world.settle()
        kinds = Counter(records.split_timer(row)[1] for row in world.bob.table("timer"))
        kept = sum(row[-17:-16] == b"k" for row in world.bob.table("drawer"))
        assert kept == limits.SKIPPED_KEYS
        assert kinds[records.Timer.DRAWER_EXPIRY] <= len(world.bob.table("drawer"))
        world.quiesce()
        world.must_agree()
