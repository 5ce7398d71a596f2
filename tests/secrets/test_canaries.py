"""No key and no text is in anything that shows itself: every secret of a talk is known here, and looked for.

Looked for in reprs, logs, warnings, output, and in tracebacks with the locals of all frames but a test's own. A secret
counts as found when its first eight bytes stand anywhere, in whichever of the usual ways to write bytes down.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
import structlog
from attrs import define, evolve, field
from kexkit import Node, Question, SoftwareIdentity, TextReceived, Unreadable, open_node, parse_contact_code
from kexkit import _records as records
from kexkit._engine.requests import Draft, LiveSession, Outcome
from kexkit.api import Carriage, Change, Context, Device, Key, Row, Session, Versioned
from kexkit.errors import KexkitError, LocalError, NodeClosed, PluginError, Refusal, StorageError, UnknownPeer
from kexkit.events import FrameRefused
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_noise.sessions import Running
from kexkit_psk.session import PskSession
from kexkit_x3dh.session import RatchetSession

from tests.engine.nodes import event_of, flushed, heard
from tests.engine.test_strangers_and_trouble import ticking
from tests.secrets.canaries import Canaries, Draws, seen_in
from tests.secrets.mechanisms import EACH, NOISE_PSK
from tests.world.mechanisms import PSK, SECRET, Mechanism

PUBLIC_ROW = b"x3dh/1published"
"""the bundle, which is in every contact code; its first bytes are a time, which may stand in an offer too"""
TEXTS = ("the falcon left the tower", "bring the ledger to the quay", "what the magpie said, all of it")


@define(eq=False)
class Talk:
    mechanism: Mechanism
    network: MemoryNetwork = field(factory=MemoryNetwork)
    stores: dict[str, MemoryStore] = field(factory=lambda: {"alice": MemoryStore(), "bob": MemoryStore()})
    draws: Draws = field(factory=Draws)
    canaries: Canaries = field(factory=Canaries)
    shown: list[str] = field(factory=list, repr=False)

    def show(self, *things: object) -> None:
        self.shown += [repr(thing) for thing in things] + [str(thing) for thing in things]

    def learn(self) -> None:
        """What the stores hold at this moment, and all that was drawn so far."""
        for number, drawn in enumerate(self.draws.given):
            self.canaries.add(f"draw {number}", drawn)
        identities = []
        for name, store in self.stores.items():
            for (table, row), (value, _) in store.dump().items():
                if table == "drawer" and not row.endswith(PUBLIC_ROW):
                    self.canaries.add(f"{name}'s drawer row {row!r}", records.read_row(value).value)
                elif table == "self":
                    identities.append(SoftwareIdentity(records.read_self(value).secret))
        for one in identities:
            self.canaries.add("an identity", one.expose_secret())
            for other in identities:
                self.canaries.add("an agreed secret", one.agree(other.public))
        self.canaries.add("the pre-shared secret", SECRET)
        self.canaries.add("Noise's pre-shared key", NOISE_PSK)

    def sessions(self, name: str) -> list[Session]:
        (exchange,) = self.mechanism.make()
        rows = [value for key, (value, _) in self.stores[name].dump().items() if key[0] == "session"]
        return [exchange.restore(records.read_session(value).snapshot) for value in rows]

    def context(self, name: str) -> Context:
        me = records.read_self(self.stores[name].dump()[records.SELF][0])
        identity = SoftwareIdentity(me.secret)
        return Context(Device(identity.public, me.installation), ticking(), self.draws, identity)

    def assert_silent(self, *, learn: bool = True) -> None:
        if learn:
            self.learn()
        leaks = {one[:300]: found for one in self.shown if (found := self.canaries.found(one))}
        assert leaks == {}

    def open(self, name: str, **more: Any) -> Any:
        chosen = {"policy": self.mechanism.policy, "clock": ticking, "rng": self.draws, **more}
        return open_node(self.stores[name], self.network.transport(name), list(self.mechanism.make()), **chosen)


@asynccontextmanager
async def talking(mechanism: Mechanism) -> AsyncIterator[tuple[Talk, Node, Node]]:
    """Alice and Bob have said all TEXTS to each other, and acknowledged none."""
    talk = Talk(mechanism)
    for text in TEXTS:
        talk.canaries.add_text(text)
    async with AsyncExitStack() as stack:
        alice, bob = [await stack.enter_async_context(talk.open(name)) for name in ("alice", "bob")]
        codes = {one: await one.contact_code() for one in (alice, bob)}
        to_bob, to_alice = await alice.add(codes[bob], name="Bob"), await bob.add(codes[alice])
        talk.show(parse_contact_code(codes[bob]), to_bob, to_alice, alice, bob, talk.mechanism.policy)
        for text in TEXTS:
            for one, other, contact in ((alice, bob, to_bob), (bob, alice, to_alice)):
                talk.show(await one.send(contact, text))
                talk.show(await heard(other, text))
                talk.learn()
        await flushed(alice, bob)
        yield talk, alice, bob
    talk.learn()


async def told(node: Node) -> list[object]:
    found: list[object] = []
    with anyio.move_on_after(0.2):
        async for event in node.events():
            found.append(event)
    return found


async def provoked(talk: Talk, call: Callable[[], Awaitable[object]], expected: type[KexkitError]) -> None:
    try:
        await call()
    except expected as error:
        talk.shown += seen_in(error)
    else:
        raise AssertionError(f"nothing raised {expected.__name__}")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every line that a host would get which has configured structlog for JSON, debugging included."""
    lines: list[str] = []

    def keep(logger: object, method: str, fields: MutableMapping[str, Any]) -> Any:
        lines.append(json.dumps(fields, default=repr))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.add_log_level, keep], cache_logger_on_first_use=False)
    yield lines
    structlog.reset_defaults()


@pytest.fixture
def drafts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the engine's drafts, outcomes and changes say of themselves while a test runs."""
    shown: list[str] = []
    genuine = Draft.outcome

    def noting(draft: Draft, result: object = None) -> Outcome:
        outcome = genuine(draft, result)
        shown.extend((repr(draft), repr(outcome), repr(outcome.change), repr(outcome.channels)))
        return outcome

    monkeypatch.setattr(Draft, "outcome", noting)
    return shown


@EACH
@pytest.mark.anyio
async def test_a_whole_talk_shows_no_secret(
    mechanism: Mechanism, logged: list[str], drafts: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with talking(mechanism) as (talk, alice, bob):
            envelope = talk.network.logged()[-1]
            for number, bit in enumerate((0x80, 1, 2)):
                payload = bytearray(envelope.payload)
                payload[len(payload) // (number + 2)] ^= bit
                talk.network.inject(evolve(envelope, payload=bytes(payload)))
            talk.network.inject(evolve(envelope, version=9))
            await talk.network.settle()
            (contact,) = await alice.contacts()
            history = await alice.history(contact)
            talk.show(contact, *history, *(await told(alice)), *(await told(bob)))
            assert sorted({one.text for one in history}) == sorted(TEXTS)
            talk.show(Question(b"r" * 16, b"s" * 32, bob.identity, "compare", TEXTS[0]))
    for name, store in talk.stores.items():
        context = talk.context(name)
        talk.show(context, context.identity)
        for key, (value, revision) in store.dump().items():
            talk.show(Versioned(value, revision), Change({key: revision}, {key: value}))
            if key[0] == "drawer":
                talk.show(records.read_row(value), Row(value))
            if key[0] == "session":
                talk.show(records.read_session(value))
        for session in talk.sessions(name):
            step = session.seal(TEXTS[0].encode(), ctx=context)
            assert step.session is not None
            talk.show(session, step, step.session, LiveSession(session, mechanism.main, 1))
    talk.shown += [*logged, *drafts, *(str(one.message) for one in warned), *capfd.readouterr()]
    assert "node opened" in "".join(logged)
    assert drafts
    talk.assert_silent()


@EACH
@pytest.mark.anyio
async def test_no_error_that_a_node_raises_carries_a_secret(mechanism: Mechanism, logged: list[str]) -> None:
    async with talking(mechanism) as (talk, alice, bob):
        (contact,) = await alice.contacts()
        stranger = SoftwareIdentity.generate(os.urandom).public
        code = await bob.contact_code()
        question = Question(b"r" * 16, b"s" * 32, bob.identity, "compare", TEXTS[0])
        calls: list[tuple[Callable[[], Awaitable[object]], type[KexkitError]]] = [
            (lambda: alice.send(stranger, TEXTS[0]), UnknownPeer),
            (lambda: alice.send(contact, TEXTS[0] * 5000), KexkitError),
            (lambda: alice.contact(stranger), UnknownPeer),
            (lambda: alice.delivery(bytes(32)), LocalError),
            (lambda: alice.history(contact, limit=0), LocalError),
            (lambda: bob.add(code), LocalError),
            *[(lambda cut=cut: alice.add(code[:cut]), Refusal) for cut in (1, 40, len(code) // 2, len(code) - 9)],
        ]
        for call, expected in calls:
            await provoked(talk, call, expected)
        for after in (False, True):
            for verb in ("load", "apply", "scan"):
                await with_failing_store(talk, alice, contact, verb, after=after)
    await provoked(talk, lambda: alice.send(contact, TEXTS[0]), NodeClosed)
    await provoked(talk, lambda: alice.answer(question, TEXTS[0].encode()), NodeClosed)
    talk.shown += logged
    talk.assert_silent()


async def with_failing_store(talk: Talk, alice: Node, contact: Any, verb: Any, *, after: bool) -> None:
    """Each method while the store fails: whatever it raises is looked through, and something must."""
    store = talk.stores["alice"]
    for nth in range(1, 30):
        store.fail(verb, nth, after=after)
    raised = 0
    calls: Collection[Callable[[], Awaitable[object]]] = (
        lambda: alice.send(contact, TEXTS[1]),
        lambda: alice.history(contact),
        alice.contacts,
        lambda: alice.contact(contact.identity),
        lambda: alice.delivery(bytes(32)),
    )
    for call in calls:
        try:
            await call()
        except StorageError as error:
            raised += 1
            talk.shown += seen_in(error)
        except LocalError:
            pass  # there is no such text, or it stands there from the last try
    store._faults.clear()
    assert raised or (
        after and verb != "load"
    )  # a scan fails before; a text that was kept after all is found by its id


@EACH
@pytest.mark.parametrize("verb", ["seal", "receive"])
@pytest.mark.anyio
async def test_a_plugin_that_breaks_down_over_a_text_does_not_show_it(
    mechanism: Mechanism, verb: str, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(mechanism) as (talk, alice, bob):
        for kind in (RatchetSession, PskSession, Running):

            def broken(self: Session, loot: bytes, *rest: object, ctx: Context) -> None:
                raise ValueError(loot, self.snapshot(), ctx)

            monkeypatch.setattr(kind, verb, broken)
        (contact,) = await alice.contacts()
        if verb == "seal":
            await provoked(talk, lambda: alice.send(contact, TEXTS[2]), PluginError)
        else:
            await alice.send(contact, "a plain text")
            hidden = mechanism.make()[0].carriage is Carriage.BARE  # nobody says whose it is that cannot be read
            event = await event_of(bob, FrameRefused if hidden else Unreadable)
            assert mechanism.main in event.cause
            talk.show(event)
        for node in (alice, bob):
            talk.show(*(await told(node)))
    talk.shown += logged
    talk.assert_silent()


@EACH
@pytest.mark.parametrize("table", ["self", "text", "peer", "drawer", "session", "chat", "outbox", "inbox", "own"])
@pytest.mark.anyio
async def test_damaged_rows_are_not_shown(mechanism: Mechanism, table: str, logged: list[str]) -> None:
    async with talking(mechanism) as (talk, alice, _):
        (contact,) = await alice.contacts()
    store = talk.stores["alice"]
    for key, (value, _) in store.dump().items():
        if key[0] == table:
            store.commit(Change({}, {key: damaged(key, value)}))
    try:
        async with talk.open("alice") as again:
            for call in (
                lambda: again.history(contact),
                lambda: again.contact(contact.identity),
                again.contacts,
                lambda: again.send(contact, TEXTS[0]),
            ):
                try:
                    await call()
                except KexkitError as error:
                    talk.shown += seen_in(error)
            try:
                talk.show(*(await told(again)))
            except KexkitError as error:
                talk.shown += seen_in(error)
    except KexkitError as error:
        talk.shown += seen_in(error)
    if table in ("self", "text"):
        assert "StoreCorrupt" in "".join(talk.shown)
    talk.shown += logged
    talk.assert_silent(learn=False)


def damaged(key: Key, value: bytes) -> bytes:
    """Its content is there, and what follows does not parse."""
    return value + b"\xff" * 3 if key[0] != "session" else value[:-1]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.anyio
async def test_an_identity_that_could_not_be_stored_is_not_shown(after: bool) -> None:
    talk = Talk(PSK)
    talk.stores["alice"].fail("apply", after=after)

    async def opening() -> None:
        async with talk.open("alice"):
            pass

    await provoked(talk, opening, StorageError)
    assert talk.draws.given
    talk.assert_silent()


@EACH
@pytest.mark.anyio
async def test_identities_and_sessions_are_not_pickled(mechanism: Mechanism) -> None:
    async with talking(mechanism) as (talk, _, __):
        pass
    for name in talk.stores:
        secrets: list[object] = [talk.context(name).identity, *talk.sessions(name)]
        assert len(secrets) > 1
        for one in secrets:
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with pytest.raises(TypeError):
                    pickle.dumps(one, protocol)


@define
class Leaky:
    secret: bytes


HARD = [b"", b"'", b'"', b"\\", b"it's", b"'\"", b"\\'", b"'\\", b'\\"', b"\n\t\0\x7f", b"\x85\xa0", b"+/+/", b"\xff'"]
"""beginnings of secrets that one or other spelling changes: quotes, what escapes them, ends of lines"""


@pytest.mark.parametrize("start", HARD)
@pytest.mark.parametrize("prefix", [b"", b"x", b"it's", b'"', b"\\"])
def test_negative_control_a_planted_secret_is_found(prefix: bytes, start: bytes) -> None:
    canary = start + os.urandom(32 - len(start))
    canaries = Canaries()
    canaries.add("planted", canary)
    around = prefix + canary + b"more"
    ways = [
        repr(Leaky(around)),
        repr(Leaky(b'"' + around)),
        str(around),
        repr(bytearray(around)),
        around.decode("latin-1"),
        around.hex(),
        around.hex().upper(),
        base64.b64encode(around).decode(),
        base64.urlsafe_b64encode(around).decode(),
        str(list(around)),
        str(int.from_bytes(canary, "big")),
        str(records.Self(secret=around)),
        json.dumps({"cause": around.hex()}),
    ]
    assert [way for way in ways if canaries.found(way) != {"planted"}] == []
    assert canaries.found(repr(os.urandom(64))) == set()


def test_negative_control_a_key_behind_a_number_is_found_and_the_number_alone_is_not() -> None:
    canaries, key = Canaries(), os.urandom(32)
    for number in (0, 5):
        canaries.add("planted", number.to_bytes(8, "big") + key)
        assert canaries.found(repr(number.to_bytes(32, "big"))) == canaries.found(repr(bytes(64))) == set()
    for way in (repr(key), key.hex(), base64.b64encode(b"x" + key).decode()):
        assert canaries.found(way) == {"planted"}


def test_negative_control_a_secret_among_a_foreign_frames_locals_is_found() -> None:
    canaries = Canaries()
    canaries.add("planted", secret := os.urandom(32))
    with pytest.raises(ValueError, match="Expecting value") as raised:
        json.loads("x" + secret.hex())  # frames of the standard library hold it as `s`
    assert canaries.found("".join(seen_in(raised.value))) == {"planted"}


@pytest.mark.anyio
async def test_negative_control_an_event_that_shows_its_text_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextReceived, "__repr__", lambda self: f"TextReceived({self.text!r})")
    async with talking(PSK) as (talk, _, __):
        pass
    talk.learn()
    assert talk.canaries.found("\n".join(talk.shown)) >= {f"text {text[:6]}" for text in TEXTS[1:]}
