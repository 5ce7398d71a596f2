"""No key and no text is in a pickle: of all objects of ours that a talk holds, each refuses, or writes none.

Two rules. By form: a class that hides something in its repr refuses pickle and copy, unless what it hides is public.
By content: whatever hangs on live nodes, devices and handshakes is pickled by every protocol and looked through.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import os
import pickle
import pkgutil
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import attrs
import kexkit
import kexkit_noise
import kexkit_psk
import kexkit_storage_sqlite
import kexkit_transport_relay
import kexkit_x3dh
import pytest
from attrs import define, field, frozen
from kexkit import _records as records
from kexkit._engine.requests import Draft, Outcome
from kexkit.api import Change, Context, Hear, Opening, Row, Step, Unpicklable
from kexkit.testing import Pair
from kexkit.testing.key_exchange_leaks import _secrets, _windows
from kexkit.testing.key_exchange_party import Sent
from kexkit_noise import introduction
from kexkit_noise._noise import Pattern, key_pair
from kexkit_noise.exchange import NoiseExchange
from kexkit_noise.keys import KeyPair
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_noise.pairing import Pairing
from kexkit_noise.plain import PlainSession
from kexkit_psk.exchange import Psk
from kexkit_storage_sqlite import open_store
from kexkit_x3dh.exchange import X3DH
from kexkit_x3dh.prekeys import Prekey

from tests.noise import test_introduction, test_waku_alone
from tests.noise.test_statement import NOW
from tests.secrets.canaries import Canaries
from tests.secrets.mechanisms import EACH, NOISE_PSK
from tests.secrets.reachable import pickles, reachable
from tests.secrets.test_canaries import TEXTS, talking
from tests.world.mechanisms import SECRET, Mechanism

PACKAGES = (kexkit, kexkit_noise, kexkit_x3dh, kexkit_psk, kexkit_storage_sqlite, kexkit_transport_relay)
PUBLIC = {
    "kexkit._wire.confirms.Confirm": "an offer, which is published",
    "kexkit._wire.confirms.Verdict": "offers",
    "kexkit._wire.offers.SignedOffer": "its own bytes",
    "kexkit._wire.protocol_message.Frame": "what travels",
    "kexkit._wire.protocol_message.ProtocolMessage": "what travels, and what anybody may read",
    "kexkit.contact.ContactCode": "what is in a code that people give away",
    "kexkit.events.Unreadable": "the row that it is acknowledged by",
    "kexkit.testing.key_exchange_party.Issued": "an offer, which refuses by itself",
    "kexkit_noise.healing_state.Listening": "a number",
    "kexkit_noise.payload.PayloadV2": "what travels",
    "kexkit_noise.sessions.Flight": "what travels",
    "kexkit_transport_relay.ledger.Kept": "what travels",
    "kexkit_transport_relay.messages.Delivered": "what travels",
    "kexkit_transport_relay.server.Serving": "a relay, which knows no secrets",
    "kexkit_transport_relay.shares.Shares": "counts",
    "kexkit_x3dh.frames.DirectFrame": "what travels",
    "kexkit_x3dh.frames.RatchetFrame": "what travels",
    "kexkit_x3dh.parties.Parties": "names and public keys",
    "kexkit_x3dh.state.Listening": "a number",
}
"""classes whose repr leaves something out that is no secret, and what"""


def classes() -> Iterator[tuple[str, type]]:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if found.name.endswith("__main__") or "._pb" in found.name:
                continue
            module = importlib.import_module(found.name)
            for name, kind in vars(module).items():
                if inspect.isclass(kind) and kind.__module__ == found.name:
                    yield f"{found.name}.{name}", kind


def hides(kind: type) -> bool:
    """Its repr leaves something out, or it has none of its own though it has fields."""
    if not attrs.has(kind) or issubclass(kind, BaseException | Enum):
        return False
    fields = attrs.fields(kind)
    return any(not one.repr for one in fields) or bool(fields and kind.__repr__ is object.__repr__)


def refuses(kind: type) -> bool:
    return issubclass(kind, Unpicklable) or kind.__reduce__ is not object.__reduce__


def test_whoever_hides_something_in_its_repr_refuses_to_be_pickled() -> None:
    hiding = {name: kind for name, kind in classes() if hides(kind)}
    assert len(hiding) > 40
    assert {name for name, kind in hiding.items() if not refuses(kind)} == PUBLIC.keys()


@pytest.mark.parametrize(
    "one",
    [
        Row(b"a key"),
        Psk(SECRET),
        NoiseExchange("noise-xxpsk0/1", NOISE_PSK),
        Prekey(1, 2, SECRET),
        key_pair(SECRET),
        Opening(None, None, secret=SECRET),
        Draft(),
        records.Self(secret=SECRET),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_refusal_is_a_sentence_that_shows_nothing(one: object) -> None:
    takers = [pickle.dumps] if isinstance(one, records.Self) else [pickle.dumps, copy.copy, copy.deepcopy]
    for taker in takers:
        with pytest.raises(TypeError, match=r"neither pickled nor copied|is not pickled") as refused:
            taker(one)
        assert refused.value.__cause__ is None


def test_a_value_that_refuses_can_still_be_evolved_and_compared() -> None:
    row = Row(b"a key", 3)
    assert attrs.evolve(row, until=4) == Row(b"a key", 4)
    assert attrs.asdict(row) == {"value": b"a key", "until": 3}


# --- live objects ----------------------------------------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Drafts, outcomes and changes of the engine, kept while a test runs."""
    kept: list[object] = []
    genuine = Draft.outcome

    def keeping(draft: Draft, result: object = None) -> Outcome:
        outcome = genuine(draft, result)
        kept.extend((draft, outcome))
        return outcome

    monkeypatch.setattr(Draft, "outcome", keeping)
    return kept


OF_ONE_KIND = 40
"""objects of one class that are pickled: the next hundred would say the same"""


def leaks(canaries: Canaries, *roots: object) -> tuple[Counter[str], dict[str, set[str]]]:
    """How many objects of each class there were, and which of them wrote which secret."""
    seen, found = Counter[str](), dict[str, set[str]]()
    for one in reachable(*roots):
        name = f"{type(one).__module__}.{type(one).__qualname__}"
        seen[name] += 1
        if seen[name] > OF_ONE_KIND:
            continue
        for shown in (*pickles(one), repr(one), str(one)):
            if hit := canaries.found(shown):
                found.setdefault(name, set()).update(hit)
    return seen, found


@EACH
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.anyio
async def test_nothing_that_two_nodes_hold_can_be_pickled_with_a_secret(
    mechanism: Mechanism, held: list[object]
) -> None:
    async with talking(mechanism) as (talk, alice, bob):
        talk.learn()
        sessions = [session for name in talk.stores for session in talk.sessions(name)]
        steps = [one.seal(TEXTS[0].encode(), ctx=talk.context("alice")) for one in sessions]
        talk.learn()
        (contact,) = await alice.contacts()
        history = await alice.history(contact)
        roots = [alice, bob, *talk.stores.values(), sessions, steps, history, held, mechanism.make()]
        seen, found = leaks(talk.canaries, *roots)
    assert found == {}
    for kind in ("node.Node", "api.Step", "api.Change", "_engine.requests.Draft", "testing.memory_store.MemoryStore"):
        assert seen[f"kexkit.{kind}"], seen


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.anyio
async def test_no_store_on_a_disk_can_be_pickled_with_what_it_read(tmp_path: Path) -> None:
    canaries, secret = Canaries(), os.urandom(32)
    canaries.add("a row", secret)
    async with open_store({"path": str(tmp_path / "store")}) as store:
        await store.apply(Change({}, {("t", b"id"): secret}))
        read = await store.load([("t", b"id")])
        seen, found = leaks(canaries, store, read)
    assert found == {}
    assert seen["kexkit.api.Versioned"] == 1
    assert seen["kexkit_storage_sqlite._rows.Rows"] == 1


@pytest.mark.parametrize("name", ["x3dh", "psk", *MECHANISMS])
def test_no_part_of_a_mechanism_can_be_pickled_with_a_secret(name: str) -> None:
    """From the inside of its sessions to the rows of its drawer, in the middle of a handshake and after."""
    makes = {"x3dh": X3DH, "psk": lambda: Psk(NOISE_PSK)}
    wants_psk = name in MECHANISMS and MECHANISMS[name].wants_psk
    pair = Pair(makes.get(name, lambda: NoiseExchange(name, NOISE_PSK if wants_psk else None)))
    pair.meet()
    late = pair.alice.seal(b"overtaken", pair.bob.me)
    pair.say(pair.alice, b"a text")
    pair.say(pair.bob, b"an answer")
    begun = pair.alice.initiate(pair.bob.me).sent
    roots: list[object] = []
    for party in (pair.alice, pair.bob):
        session = party.session_with(pair.other(party).me)
        step = session.seal(b"a text", ctx=party.context)
        roots += [party.exchange, party.drawer, party.issued, party.adverts, party.sessions, session, step]
        roots += [party.context, party.rng, party, Opening(None, None, secret=NOISE_PSK)]
    public = [sent.frame for sent in (*late, *begun)] + [f for s in roots if isinstance(s, Step) for f in s.frames]
    for one in reachable(*roots, pair):  # topics and tags travel in clear, and stand in snapshots
        if isinstance(one, Hear | Sent):
            public += [(one.topic or "").encode(), one.tag if isinstance(one, Hear) else b""]
    secrets = _secrets(pair, *public) | set(_windows([NOISE_PSK]))
    written = {
        type(one).__qualname__
        for one in reachable(*roots, pair)
        for shown in pickles(one)
        if any(window in secrets for window in _windows([shown.encode("latin-1", "replace")]))
    }
    assert written == set()


@frozen
class Ends:
    """What two ends of a handshake hold at some moment, and its secrets."""

    roots: tuple[object, ...]
    secrets: tuple[bytes, ...] = field(repr=False)


def waku(pattern: Pattern) -> Ends:
    from random import Random

    random = Random(5)
    one, other = test_waku_alone.two(pattern, random)
    moments: list[object] = [one, other]
    given = []
    for number in range(pattern.messages):
        given.append(random.randbytes(32))
        writer, reader = (one, other) if one.writes else (other, one)
        writer, frame = writer.write(b"%d" % number, ephemeral=given[-1])
        reader, _ = reader.read(frame)
        one, other = (writer, reader) if number % 2 == 0 else (reader, writer)
        moments += [one, other]
    split = one._state.split()
    moments += [split, one.session(), other.session()]
    return Ends(tuple(moments), (*given, split.k1, split.k2, one._state.ck))


def a_pairing() -> Ends:
    shows, scans = test_introduction.paired()
    ours = PlainSession.begin(shows.split(), session=bytes(32), initiator=False)
    split = shows.split()
    word = introduction.introduce(scans, test_introduction.own(test_introduction.BOB, test_introduction.BOBS), BOB)
    drawn = os.urandom(80)
    shown = Pairing.show("kexkit", "1", "0", static=key_pair(os.urandom(32)), random=drawn, now=NOW)
    return Ends(
        (shows, scans, ours, split, word, shown, shown._handshake),
        (split.k1, split.k2, shows._handshake.ck, drawn[:32], drawn[32:64]),
    )


BOB: Context = test_introduction.BOB


@pytest.mark.parametrize("make", [a_pairing, *(lambda p=p: waku(p) for p in Pattern)])
def test_no_pairing_and_no_handshake_alone_can_be_pickled_with_a_secret(make: type[Ends]) -> None:
    ends, canaries = make(), Canaries()
    for number, secret in enumerate(ends.secrets):
        canaries.add(f"secret {number}", secret)
    seen, found = leaks(canaries, *ends.roots)
    assert found == {}
    assert seen["kexkit_noise._noise.Handshake"]
    assert seen["kexkit_noise.plain.PlainSession"]


# --- the tests themselves --------------------------------------------------------------------------------------------


@define
class Holder:
    inner: object


@pytest.mark.parametrize("kind", [Row, Prekey, Psk, KeyPair], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("deep", [False, True])
def test_negative_control_a_class_that_no_longer_refuses_is_found(
    kind: type, deep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, canaries = os.urandom(32), Canaries()
    canaries.add("planted", secret)
    makes = {Row: lambda: Row(secret), Prekey: lambda: Prekey(1, 2, secret), Psk: lambda: Psk(secret)}
    one: object = makes.get(kind, lambda: KeyPair(secret, b""))()
    root: object = (lambda: [{"a": one}]) if deep else one
    assert leaks(canaries, root)[1] == {}
    monkeypatch.setattr(kind, "__reduce__", object.__reduce__)
    (name,) = leaks(canaries, root)[1]
    assert name.endswith(kind.__name__)
    assert len(list(pickles(one))) >= 4
    assert all(canaries.found(shown) == {"planted"} for shown in pickles(one))
