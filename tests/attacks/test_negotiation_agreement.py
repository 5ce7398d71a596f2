"""The model and the engine walk together: whatever the network does, both come to the same sessions in the same states.

So what the exploration finds of the model holds of the engine. X is x3dh, A is healing Noise, B is the pre-shared key.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from random import Random

import pytest
from attrs import evolve
from kexkit._transitions import State
from kexkit._wire.offers import bare_digest, hello_tag
from kexkit.api import Envelope, Guarantee
from kexkit.contact import ContactCode
from kexkit.policy import Downgrade, Policy

from tests.attacks.man_in_the_middle import (
    DAY,
    HEALING,
    PSK_NAME,
    X3DH_NAME,
    Middle,
    a_middle,
    able,
    drop,
    make_no_offers,
)
from tests.attacks.negotiation_model import BARE, CURRENT, STALE, Case, Message, Scene
from tests.attacks.negotiation_sides import BINDING, A, B, Side, View, X, ordered_subsets

REAL = {X: X3DH_NAME, A: HEALING, B: PSK_NAME}
SESSIONS_ONLY = Policy(require=Guarantee.SECRET | Guarantee.TO_PEER, downgrade=Downgrade.ACCEPT)
STEPS = 14
AT_ONCE = 520 if os.environ.get("KEXKIT_MODEL_ALL") else 60
"""cases of each seed, of 3,088"""
Act = tuple[str, int, bytes]
"""what the network does: shows a view; delivers an opening as an answer to some offer; or a reply, confirm, answer"""


def real(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(REAL[name] for name in names)


class Walk:
    """One case, at once in the model and between devices."""

    def __init__(self, middle: Middle, case: Case, random: Random) -> None:
        self.middle, self.case, self.random = middle, case, random
        self.scene = Scene(None, (), frozenset(), frozenset(), frozenset())
        self.done: list[Act] = []
        self.posted: dict[Message, list[Envelope]] = {}
        self.codes: dict[bytes, ContactCode] = {}
        self.digests: dict[bytes, bytes] = {}
        middle.hook = drop
        self._prepare()

    def _prepare(self) -> None:
        """Bob had x3dh once, so that there is a bundle; then the stale list; then the present one."""
        middle, case = self.middle, self.case
        me = middle.bob.me
        bundles = middle.bob.code().bundles
        for digest, names in ((STALE, case.stale), (CURRENT, case.responder.names)):
            if names is None:
                continue
            if digest == CURRENT and names == case.stale:
                middle.clock.now += 8 * DAY  # or it would not be signed anew
            middle.becomes("bob", able(*real(names), policy=SESSIONS_ONLY))
            middle.settle()
            code = middle.bob.code()
            self.codes[digest], bundles = code, code.bundles or bundles
            self.digests[digest] = middle.digest_of("bob")
        if case.responder.names is None:
            make_no_offers(middle.bob)
        if case.initiator.names is None:
            make_no_offers(middle.alice)
        self.codes[BARE] = ContactCode(me.identity)
        self.codes = {digest: evolve(code, bundles=bundles) for digest, code in self.codes.items()}
        self.digests[BARE] = bare_digest(me.identity, me.installation)
        middle.settle()
        middle.log.clear()
        if case.initiator.names is None:
            self.step(("show", 0, BARE))  # it makes nothing of offers

    # --- what can be done --------------------------------------------------------------------------------------------

    def acts(self) -> list[Act]:
        scene = self.scene
        kexkit = self.case.initiator.names is not None
        found: list[Act] = [("show", 0, view.digest) for view in self.case.views() if kexkit]
        if scene.view is None:
            found.append(("show", 0, BARE))
        for message in scene.said:
            number = message.session
            if message.kind == "opening":
                known = [one for one in self.case.claims(scene.mine[number]) if one in self.digests]
                found += [("opening", number, claimed) for claimed in known]
            elif message.kind == "reply":
                found.append(("reply", number, bytes(message.said)))  # type: ignore[call-overload]  # a digest
            else:
                found.append((message.kind, number, b""))
        return sorted(found)

    def step(self, act: Act) -> None:
        before = self.scene
        self.done.append(act)
        self.scene, message = self._after(act)
        self._engine(act, message)
        new = self.scene.said - before.said
        fresh = [envelope for _, envelope in self.middle.log]
        self.middle.log.clear()
        assert len(new) <= 1
        for one in new:
            assert fresh, f"{one.kind} was said in the model alone"
            self.posted[one] = fresh
        self.compare(act)

    def chosen(self) -> Act | None:
        """Any act, but as often as not one that brings the model further."""
        acts = self.acts()
        further = [act for act in acts if self._after(act)[0] != self.scene]
        if further and self.random.random() < 0.5:
            return self.random.choice(further)
        return self.random.choice(acts) if acts else None

    def _after(self, act: Act) -> tuple[Scene, Message | None]:
        kind, number, claimed = act
        case, scene = self.case, self.scene
        if kind == "show":
            views = [View(BARE, (X,), 0)] if claimed == BARE else [one for one in case.views() if one.digest == claimed]
            newer = scene.view is None or views[0].seq > scene.view.seq
            return (case.go_on(case.noted(scene, views[0])) if newer else scene), None
        if kind == "opening":
            return case.hear_opening(scene, number, claimed) or scene, Message("opening", number)
        about = [one for one in scene.said if (one.kind, one.session) == (kind, number)]
        message = next(one for one in about if kind != "reply" or one.said == claimed)
        if kind == "reply":
            return case.hear_reply(scene, message) or scene, message
        if kind == "answer":
            return case.hear_answer(scene, number, message.said) or scene, message
        session = scene.mine[number]
        for begun in scene.theirs:
            bound = (begun.session, begun.claimed) == (number, session.view.digest)
            if bound and begun.state is State.OPENING:
                return case.hear_confirm(scene, begun, session), message
        return scene, message

    def _engine(self, act: Act, message: Message | None) -> None:
        middle = self.middle
        kind, number, claimed = act
        middle.clock.now += 1
        if kind == "show":
            middle.alice.add(self.codes[claimed])
            middle.settle()
        else:
            assert message is not None
            to = middle.alice if kind in ("reply", "answer") else middle.bob
            for envelope in self.posted[message]:
                to.receive(self._claiming(envelope, number, claimed) if kind == "opening" else envelope)
                middle.settle()
        self._keep_talking()

    def _keep_talking(self) -> None:
        """A text always waits at Alice's; a bare Bob answers whoever he heard."""
        middle, alice = self.middle, self.middle.alice
        person = middle.bob.me.identity
        if person in alice.table("peer") and alice.person(person).devices and not alice.table("waiting"):
            alice.send(person, f"text at {middle.clock.now}")
        bare = self.case.initiator.names is None or self.case.responder.names is None
        if bare and middle.mechanisms("bob", "alice"):
            middle.bob.send(alice.me.identity, f"answer at {middle.clock.now}")
        middle.settle()

    def _claiming(self, envelope: Envelope, number: int, claimed: bytes) -> Envelope:
        """As an opening that says it answers another offer."""
        session = self.scene.mine[number]
        own = session.view.digest
        if session.name not in BINDING or claimed == own:
            return envelope
        message = self.middle.inside(envelope)
        if message is not None:
            frames = tuple(evolve(one, offer=self.digests[claimed]) for one in message.frames)
            return self.middle.remade("alice", "bob", evolve(message, frames=frames))
        tag, wanted = (hello_tag(HEALING, self.digests[one]) for one in (own, claimed))
        assert envelope.payload.startswith(tag)
        return evolve(envelope, payload=wanted + envelope.payload[len(tag) :])

    # --- what must agree ---------------------------------------------------------------------------------------------

    def compare(self, act: Act) -> None:
        middle, scene = self.middle, self.scene
        ours = [(REAL[one.name], one.state) for one in scene.mine]
        real_ours = [(ref.mechanism, State(ref.state)) for ref in middle.sessions("alice", "bob")]
        assert Counter(real_ours) == Counter(ours), (act, real_ours, ours)
        begun = [one for one in scene.theirs if one.state is not State.OPENING]
        theirs = [(REAL[scene.mine[one.session].name], one.state) for one in begun]
        real_theirs = [(ref.mechanism, State(ref.state)) for ref in middle.sessions("bob", "alice")]
        assert Counter(map(outlived, real_theirs)) == Counter(map(outlived, theirs)), (act, real_theirs, theirs)
        kexkit = self.case.initiator.names is not None and self.case.responder.names is not None
        if scene.view is not None and kexkit and middle.knows("alice", "bob"):
            digest = middle.device("alice", "bob").offer_digest or self.digests[BARE]
            assert digest == self.digests[scene.view.digest], act


def outlived(found: tuple[str, State]) -> tuple[str, bool]:
    """Accepted or refused: the model does not say which of several sessions goes on."""
    return found[0], found[1] in (State.OPEN, State.STALE)


def cases() -> Iterator[Case]:
    """Bob has x3dh loaded, or Alice has not: what is not even loaded is refused before anything is judged."""
    lists = (None, *ordered_subsets())
    for ours in lists:
        for theirs in lists:
            for stale in (None, *ordered_subsets()) if theirs is not None else (None,):
                loaded = theirs is None or X in theirs or (ours is not None and X not in ours)
                if loaded:
                    yield Case(Side(ours), Side(theirs), stale)


def walk(case: Case, seed: int, steps: int = STEPS) -> Walk:
    alice, bob = (real(side.names or (X,)) for side in (case.initiator, case.responder))
    random = Random(seed)
    with a_middle(alice=able(*alice, policy=SESSIONS_ONLY), bob=able(X3DH_NAME, policy=SESSIONS_ONLY)) as middle:
        if case.responder.names is None:
            middle.becomes("bob", able(*bob, policy=SESSIONS_ONLY))
        together = Walk(middle, case, random)
        for _ in range(steps):
            act = together.chosen()
            if act is not None:
                together.step(act)
        return together


@pytest.mark.parametrize("seed", range(6))
def test_the_engine_comes_to_what_the_model_says(seed: int) -> None:
    found = list(cases())
    Random(seed).shuffle(found)
    opened: Counter[str] = Counter()
    for number, case in enumerate(islice(found, AT_ONCE)):
        together = walk(case, seed * 1000 + number)
        opened.update(one.name for one in together.scene.mine if one.state is State.OPEN)
    assert set(opened) == {X, A, B}, "the walks must come as far as open sessions of each"
