"""A plugin that breaks its contract, in each method and in many ways: a typed error that names it, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from kexkit.api import Guarantee, Offer, Plain, Row, Step, Wants
from kexkit.errors import KexkitError, PluginError
from kexkit.events import Unreadable
from kexkit_psk.exchange import Psk
from kexkit_psk.session import PskSession

from tests.world.mechanisms import PSK
from tests.world.world import DAY, HOUR, World, a_world

SECRETS = "a secret that a plugin's error holds"


class Raises:
    """Stands in for a method: raises what no contract allows, with a secret in it."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __call__(self, *args: object, **kwargs: object) -> object:
        raise self.error(SECRETS)


FOREIGN = [ValueError, AttributeError, MemoryError]
OF_EXCHANGE = ["offer", "read_offer", "initiate", "accept"]
OF_SESSION = ["seal", "receive", "snapshot"]


def begun(world: World) -> None:
    world.introduce()
    for who, whom in (("alice", "bob"), ("bob", "alice")):
        world.send(who, whom)
        world.settle()


def acts(world: World) -> dict[str, Callable[[], object]]:
    """What makes Alice call each of a plugin's methods; everything is prepared, so that nothing else is called."""
    alice, bob = world.alice, world.bob
    world.clock.now += 8 * DAY
    renewed(world, "bob")
    code = bob.code()
    world.send("bob", "alice", "on its way")
    envelope = bob.queue[-1].envelope
    return {
        "seal": lambda: alice.send(bob.me.identity, "no"),
        "snapshot": lambda: alice.send(bob.me.identity, "no"),
        "receive": lambda: alice.receive(envelope),
        "initiate": lambda: alice.send(bob.me.identity, "no"),
        "accept": lambda: alice.receive(envelope),
        "read_offer": lambda: alice.add(code),
        "offer": lambda: renewed(world, "alice"),
    }


def renewed(world: World, who: str) -> None:
    """Everything that is due is done, offers among it."""
    peer = world.peers[who]
    while (due := peer.tick()) is not None and due <= peer.now():
        pass


def prepared(world: World, method: str) -> Callable[[], object]:
    world.introduce()
    if method in OF_SESSION:
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
            world.settle()
    return acts(world)[method]


def error_of(act: Callable[[], object]) -> KexkitError | None:
    try:
        act()
    except KexkitError as error:
        return error
    return None


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: error.__name__)
@pytest.mark.parametrize("method", [*OF_EXCHANGE, *OF_SESSION])
def test_a_method_that_raises_changes_nothing_and_its_plugin_is_named(
    monkeypatch: pytest.MonkeyPatch, method: str, error: type[Exception]
) -> None:
    with a_world(1, PSK) as world:
        act = prepared(world, method)
        before = own_rows(world)
        with monkeypatch.context() as patch:
            patch.setattr(PskSession if method in OF_SESSION else Psk, method, Raises(error))
            raised = error_of(act)
        assert isinstance(raised, PluginError)
        assert raised.plugin == Psk.name
        assert SECRETS not in f"{raised!r} {raised}"
        assert own_rows(world) == before
        world.alice.crash()
        world.clock.now += 2 * HOUR
        world.quiesce()
        world.must_agree()


def own_rows(world: World) -> object:
    """All of Alice's, but for the regular work that is worked off on the way to an offer's renewal."""
    tables = ("timer", "plan", "outbox", "seen")
    return {key: row for key, row in world.alice.rows.dump().items() if key[0] not in tables}


@pytest.mark.parametrize("method", ["restore", "receive"])
def test_a_text_over_which_a_plugin_breaks_down_is_held_and_opens_when_it_is_mended(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Nothing silent: a placeholder stands there, with the cause."""
    with a_world(1, PSK) as world:
        begun(world)
        world.send("alice", "bob", "held")
        while world.transmit("alice"):
            pass
        world.crash("bob")
        world.network.advance()
        with monkeypatch.context() as patch:
            patch.setattr(Psk if method == "restore" else PskSession, method, Raises(ValueError))
            arrival = world.bob.transport.take()
            while arrival is not None:
                error = error_of(lambda arrival=arrival: world.bob.receive(arrival.envelope))
                if error is not None:
                    world.bob.perform(
                        lambda arrival=arrival, error=error: world.bob.engine.set_aside(
                            arrival.envelope, error, world.bob.moment()
                        )
                    )
                arrival = world.bob.transport.take()
        shown = [event for event in world.bob.read_inbox() if isinstance(event, Unreadable)]
        assert len(shown) == 1
        assert SECRETS not in shown[0].cause
        world.bob.perform(lambda: world.bob.engine.meet(world.alice.code(), "", world.bob.moment()))
        world.quiesce()
        assert "held" in world.told("bob")
        assert not any(isinstance(event, Unreadable) for event in world.bob.read_inbox())
        world.must_agree()


def kind(answer: object) -> str:
    return type(answer).__name__


# --- wrong answers ---------------------------------------------------------------------------------------------------


def seals_to_nothing(self: PskSession, plaintext: bytes, *, ctx: Any) -> Step:
    return Step(self)


def seals_to_two(self: PskSession, plaintext: bytes, *, ctx: Any) -> Step:
    return Step(self, frames=(b"one", b"two"))


WRONG_SEALS = {"no frame": seals_to_nothing, "two frames": seals_to_two}


@pytest.mark.parametrize("wrong", WRONG_SEALS.values(), ids=WRONG_SEALS.keys())
def test_a_seal_of_no_or_of_many_frames_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> None:
    with a_world(1, PSK) as world:
        begun(world)
        before = world.alice.rows.dump()
        with monkeypatch.context() as patch:
            patch.setattr(PskSession, "seal", wrong)
            with pytest.raises(PluginError):
                world.alice.send(world.bob.me.identity, "no")
        assert world.alice.rows.dump() == before


@pytest.mark.parametrize("method", ["seal", "receive", "initiate", "accept", "offer", "read_offer"])
@pytest.mark.parametrize(
    "answer", [None, 42, b"bytes", Wants(frozenset()), [None], object()], ids=lambda a: type(a).__name__
)
def test_an_answer_of_the_wrong_type_is_a_typed_error_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str, answer: object
) -> None:
    with a_world(1, PSK) as world:
        act = prepared(world, method)
        before = own_rows(world)
        with monkeypatch.context() as patch:
            patch.setattr(PskSession if method in OF_SESSION else Psk, method, lambda *args, **kwargs: answer)
            assert error_of(act) is not None
        assert own_rows(world) == before
        world.alice.crash()
        world.clock.now += 2 * HOUR
        world.quiesce()
        world.must_agree()


def test_a_session_that_proves_another_peer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with a_world(1, PSK, names=("alice", "bob", "carol")) as world:
        begun(world)
        carol = world.peers["carol"].me
        real = PskSession.receive

        def for_carol(self: PskSession, frame: bytes, have: Any, *, ctx: Any) -> Step:
            step = real(self, frame, have, ctx=ctx)
            assert isinstance(step.session, PskSession)
            return evolve(step, session=evolve(step.session, peer=carol))

        world.send("alice", "bob", "whose?")
        envelope = world.alice.queue[-1].envelope
        before = world.bob.rows.dump()
        with monkeypatch.context() as patch:
            patch.setattr(PskSession, "receive", for_carol)
            with pytest.raises(PluginError):
                world.bob.receive(envelope)
        assert world.bob.rows.dump() == before
        world.settle()
        assert "whose?" in world.told("bob")


def test_a_session_that_takes_anothers_id_overwrites_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's frame makes the plugin write over Carol's session."""
    with a_world(1, PSK, names=("alice", "bob", "carol")) as world:
        world.introduce()
        for who in ("alice", "carol"):
            world.send(who, "bob")
            world.settle()
        refs = [ref for d in world.bob.person(world.peers["carol"].me.identity).devices for ref in d.sessions]
        real = PskSession.receive

        def carols(self: PskSession, frame: bytes, have: Any, *, ctx: Any) -> Step:
            step = real(self, frame, have, ctx=ctx)
            assert isinstance(step.session, PskSession)
            return evolve(step, session=evolve(step.session, id=refs[0].id))

        world.send("alice", "bob", "over hers")
        envelope = world.alice.queue[-1].envelope
        before = world.bob.rows.dump()
        with monkeypatch.context() as patch:
            patch.setattr(PskSession, "receive", carols)
            assert error_of(lambda: world.bob.receive(envelope)) is not None
        assert world.bob.rows.dump() == before
        world.send("carol", "bob", "still mine")
        world.settle()
        assert "still mine" in world.told("bob")
        assert "over hers" in world.told("bob")


class Loose(Psk):
    """Opens texts without a session, and claims what such a text cannot have."""

    claims = Guarantee.FORWARD_SECRECY
    effects: dict[bytes, Row] = {}  # noqa: RUF012  set by tests

    def accept(self, frame: bytes, opening: Any, have: Any, *, ctx: Any) -> Any:
        return Step(None, plain=(Plain(b"", self.claims),), keep=self.effects)


@pytest.mark.parametrize("effects", [{}, {b"row": Row(b"")}], ids=["claims", "keeps"])
def test_a_text_without_a_session_neither_claims_forward_secrecy_nor_keeps_rows(
    monkeypatch: pytest.MonkeyPatch, effects: dict[bytes, Row]
) -> None:
    with a_world(1, PSK) as world:
        world.introduce()
        world.send("alice", "bob")
        envelope = world.alice.queue[-1].envelope
        before = world.bob.rows.dump()
        with monkeypatch.context() as patch:
            patch.setattr(Psk, "accept", Loose.accept)
            patch.setattr(Psk, "claims", Guarantee.FORWARD_SECRECY if not effects else Guarantee.SECRET, raising=False)
            patch.setattr(Psk, "effects", effects, raising=False)
            with pytest.raises(PluginError):
                world.bob.receive(envelope)
        assert world.bob.rows.dump() == before
        world.settle()
        assert world.told("bob") == ["text 1 of alice to bob"]


def test_an_offer_that_is_due_before_it_is_made_is_refused_and_the_node_does_not_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_world(1, PSK) as world:
        monkeypatch.setattr(Psk, "offer", lambda *args, **kwargs: Offer(b"public", {}, renew=0))
        world.clock.now += 8 * DAY
        with pytest.raises(PluginError, match="due before"):
            renewed(world, "alice")
