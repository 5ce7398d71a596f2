"""Each rule of the world is shown to fail: a defect is put in, and the walk that finds it must find it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kexkit import _records as records
from kexkit._engine import chatting, opening, receiving
from kexkit._engine.engine import Engine
from kexkit._engine.requests import Draft, Flow, Outcome
from kexkit._shell.overlay import Overlay
from kexkit._shell.writer import Writer
from kexkit.api import Change, Guarantee, Plain
from kexkit.errors import StorageError

from tests.world import test_scenarios
from tests.world.mechanisms import PSK, X3DH_ALONE, Mechanism
from tests.world.peer import Peer
from tests.world.test_walks import walk
from tests.world.walking import TROUBLE
from tests.world.world import World, a_world

SEEDS = range(30)


@contextmanager
def must_be_found(*words: str) -> Iterator[None]:
    with pytest.raises((AssertionError, StorageError)) as caught:
        yield
    assert any(word in str(caught.value) for word in words), caught.value


def walk_until_found(mechanism: Mechanism, steps: int = 150) -> None:
    for seed in SEEDS:
        with a_world(seed, mechanism, faults=TROUBLE) as world:
            walk(world, steps)


def test_an_envelope_that_leaves_uncommitted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Overlay.change

    def without_outbox(self: Overlay) -> Change:
        change = real(self)
        return Change(change.given, {k: v for k, v in change.put.items() if k[0] != "outbox"}, change.drop)

    monkeypatch.setattr(Overlay, "change", without_outbox)
    with must_be_found("not committed"):
        walk_until_found(PSK)


def test_a_session_sealed_in_twice_from_one_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forgotten after a commit of unknown outcome, and nothing is relied on."""
    real = Overlay.change
    monkeypatch.setattr(Writer, "_forget", lambda self: None)
    monkeypatch.setattr(Overlay, "change", lambda self: Change({}, real(self).put, real(self).drop))
    with must_be_found("one place in a chain left with two ciphertexts"):
        walk_until_found(PSK)


def test_a_repeated_vector_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Peer.moment

    def only_vectors(self: Peer) -> Any:
        moment = real(self)
        chance = moment.context.rng
        moment.context.rng = lambda size: bytes(size) if size in (12, 16) else chance(size)
        return moment

    monkeypatch.setattr(Peer, "moment", only_vectors)
    with must_be_found("encrypted two texts"):
        walk_until_found(PSK)


def test_a_receipt_that_comes_again_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "inbox_receipt", lambda place, entry: place)
    with must_be_found("told again", "receipt"):
        test_scenarios.test_a_late_acknowledgement_means_what_it_was_given_for_though_the_clock_went_back(PSK)


def test_a_text_taken_in_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Message ids are not looked at."""

    def nothing(draft: Draft, *keys: Any) -> Flow[dict[Any, Any]]:
        yield from ()
        return {}

    monkeypatch.setattr(chatting, "load", nothing)
    with must_be_found("told twice", "moved"), a_world(1, PSK) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        (row,) = world.bob.table("inbox").values()
        text = records.read_inbox(row.value).text
        stored = records.read_text(world.bob.table("text")[text].value)
        take_again(world, stored)


def take_again(world: World, text: records.Text) -> None:
    """The same text opens once more, as it does when two devices of a person pass it on."""
    bob = world.bob

    def flow() -> Flow[Outcome]:
        draft = Draft()
        plain = Plain(text.wrapped, Guarantee(text.grade))
        moment = bob.moment()
        yield from chatting.take_texts(draft, (plain,), world.alice.me, bob.engine.setting, moment)
        return draft.outcome()

    with world.step(bob):
        bob.perform(flow)


def test_a_refusal_that_writes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = receiving._refused

    def writes(*args: Any) -> Flow[Outcome]:
        outcome = yield from real(*args)
        return Outcome(Change(outcome.change.given, {**outcome.change.put, ("chat", bytes(33)): b""}), outcome.events)

    monkeypatch.setattr(receiving, "_refused", writes)
    with must_be_found("a refusal changed"):
        walk_until_found(PSK)


def test_a_text_that_is_dropped_silently_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Engine.receive
    count = iter(range(10**9))

    def forgetful(self: Engine, envelope: Any, moment: Any) -> Flow[Outcome]:
        if next(count) % 40 == 39:
            return Draft().outcome()
        return (yield from real(self, envelope, moment))

    monkeypatch.setattr(Engine, "receive", forgetful)
    with must_be_found("lost"):
        walk_until_found(PSK)


def test_ends_that_never_follow_each_other_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """And each takes the session that came last for the one that supersedes."""
    monkeypatch.setattr(opening, "follow", lambda person, installation, ref, texts: None)
    monkeypatch.setattr("kexkit._engine.peers._crossed_by", lambda same, opening: None)
    with must_be_found("different sessions"):
        for seed in range(8):
            test_scenarios.test_first_messages_that_cross_end_in_one_session_whatever_arrives_when(X3DH_ALONE, seed)


def test_sessions_that_pile_up_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexkit._engine.peers.SESSIONS_PER_DEVICE", 1000)
    with must_be_found("too many sessions"), a_world(1, X3DH_ALONE, faults=TROUBLE) as world:
        world.introduce()
        for _ in range(8):
            world.clock.now += 25 * 3600 * 1000
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.quiesce(0)
