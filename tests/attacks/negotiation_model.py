"""Every way in which two devices and a hostile network can come to a key exchange, explored state by state.

One initiator, one responder, and a relay that knows every message. It may give the initiator the responder's present
offer, a stale one (of every list), an edited or foreign one, or none; it delivers what was said in any order, again,
edited where nothing protects it, or never. What decides is not modelled but called: `chosen`, `effective`, `judge`,
`_permitted`, and the table of transitions. What the engine's flows do around them is stated once, in `Initiator` and
`Responder`; `test_negotiation_agreement` walks model and engine side by side.

Three mechanisms: X binds nothing and starts offline (Status's own), A binds and needs three flights (Noise), B binds
and starts offline (the pre-shared key). A `Rules` with a defect is a mutant, which the exploration has to catch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attrs import field, frozen
from kexkit._engine.negotiating import effective
from kexkit._negotiation import Claim, Stand, choose, judge
from kexkit._transitions import Cause, State, after
from kexkit._wire.confirms import Ruling

from tests.attacks.negotiation_sides import (
    BINDING,
    OFFLINE,
    Side,
    View,
    X,
    ordered_subsets,
    permits,
    what_is_chosen,
)

ROUNDS = 3
"""sessions that an initiator begins at most: one for each view it can have, none of which comes back"""

UNANSWERED = (State.PROVISIONAL, State.STALE)
BARE, STALE, CURRENT, EDITED = b"bare", b"stale", b"current", b"edited"


@frozen
class Rules:
    """What is to be true of an implementation. Each other value is a defect."""

    confirms: bool = True
    """both ends confirm; else the first payload opens the session as it is"""
    inside: bool = True
    """confirmations are under the session's protection; else the network can take them off"""
    recomputes: bool = True
    """the responder chooses again from its present list; else from the one that the initiator saw"""
    prologue: bool = True
    """mechanisms that bind bind the answered offer"""
    signed: bool = True
    """offers are signed, with the public bytes in them"""
    pins: bool = True
    """an older offer never takes the place of a newer one"""
    bad_is_bare: bool = False
    """an offer that is refused counts as none"""
    falls_back: bool = False
    """a beginning that failed makes the next best be tried"""
    hides: bool = False
    """and is kept from the responder"""


class Mine(NamedTuple):
    """A session at the initiator, who began it."""

    name: str
    view: View
    effective: tuple[str, ...]
    state: State


class Theirs(NamedTuple):
    """The same at the responder."""

    session: int
    """its number at the initiator"""
    claimed: bytes
    """the offer that the opening said it answers"""
    state: State
    record: tuple[object, ...] | None


class Message(NamedTuple):
    """Everything that was ever said, and can be delivered at any time."""

    kind: str
    """opening, reply, confirm, answer"""
    session: int
    said: object = None
    """reply: the offer bound by it; answer: the ruling, or None for one without a confirmation"""


class Scene(NamedTuple):
    view: View | None
    mine: tuple[Mine, ...]
    theirs: frozenset[Theirs]
    said: frozenset[Message]
    texts: frozenset[tuple[str, bool]]
    """under which mechanisms texts have left, and whether the view then was made by the network"""
    gone: frozenset[str] = frozenset()
    """mechanisms that failed, where failures count"""
    failures: int = 0


@frozen
class Case:
    """One configuration, with one stale offer that the responder once made (None: this was its first)."""

    initiator: Side
    responder: Side
    stale: tuple[str, ...] | None
    rules: Rules = Rules()
    shows_something: bool = False
    """the network is restricted: it never keeps everything from the initiator"""
    breaks: int = 0
    """how many handshakes the network makes fail for good"""
    best: str | None = field(init=False)

    @best.default
    def _best(self) -> str | None:
        """What both really allow for one another."""
        name = self.rightly_chosen
        return None if name is None or name in self.responder.forbids else name

    @property
    def rightly_chosen(self) -> str | None:
        """What an initiator tries that was shown everything: it cannot know what the responder forbids for it."""
        asks = effective(self.initiator.device, self.initiator.setting)
        return choose(asks, self.responder.names or (X,))

    # --- what the network can show -----------------------------------------------------------------------------------

    def views(self) -> list[View]:
        """Offers that the initiator takes for good when it is shown them."""
        if self.responder.names is None:
            found = []
        else:
            found = [View(CURRENT, self.responder.names, 2)]
            if self.stale is not None:
                found.append(View(STALE, self.stale, 1))
        if not self.rules.signed:
            found += [View(EDITED + bytes([n]), names, 1, False) for n, names in enumerate(ordered_subsets())]
        return found

    def shown(self, scene: Scene) -> Iterator[Scene]:
        before = scene.view
        if before is None and not self.shows_something:
            yield self.go_on(scene._replace(view=View(BARE, (X,), 0)))
        if before is None and self.rules.bad_is_bare:  # an edited or a foreign offer, which is refused
            yield self.go_on(scene._replace(view=View(BARE, (X,), 0)))
        for view in self.views():
            if before is None or view.seq > before.seq or (not self.rules.pins and view != before):
                yield self.go_on(self.noted(scene, view))

    def noted(self, scene: Scene, view: View) -> Scene:
        """`noting._note_offer`: openings that bind an older offer with other names are given up."""
        before = scene.view
        if before is None or before.names == view.names:
            return scene._replace(view=view)
        mine = (given_up(session) if binds_older(session, view) else session for session in scene.mine)
        return scene._replace(view=view, mine=tuple(mine), failures=0, gone=frozenset())

    # --- the initiator -----------------------------------------------------------------------------------------------

    def go_on(self, scene: Scene) -> Scene:
        """A text waits for the whole time: `sealing._seal_for_device`."""
        view = scene.view
        if view is None:
            return scene
        name, asks = what_is_chosen(self.initiator, view, scene.gone)
        if name is None:
            return scene
        for session in scene.mine:
            if session.name == name and session.state in (State.OPENING, State.PROVISIONAL, State.OPEN):
                return scene
        if any(one.view == view and one.name == name for one in scene.mine) and not self.breaks and self.rules.pins:
            return scene  # the same again, later, comes to the same
        if len(scene.mine) > ROUNDS + self.breaks or scene.failures > self.breaks:
            return scene
        told = asks if self.rules.hides else effective(self.initiator.device, self.initiator.setting)
        number = len(scene.mine)
        offline = name in OFFLINE
        begun = after(State.NOTHING, Cause.BEGIN_READY if offline else Cause.BEGIN)
        scene = scene._replace(
            mine=(*scene.mine, Mine(name, view, told, begun)), said=scene.said | {Message("opening", number)}
        )
        return self.speak(scene, number) if offline else scene

    def speak(self, scene: Scene, number: int) -> Scene:
        """A text leaves, with the confirmation."""
        session = scene.mine[number]
        return scene._replace(texts=scene.texts | {(session.name, session.view.genuine)})

    def moved(self, scene: Scene, number: int, cause: Cause) -> Scene:
        session = scene.mine[number]
        state = after(session.state, cause)
        mine = (*scene.mine[:number], session._replace(state=state), *scene.mine[number + 1 :])
        return scene._replace(mine=mine)

    def broken_off(self, scene: Scene) -> Iterator[Scene]:
        """A handshake that the network never lets through comes to nothing."""
        for number, session in enumerate(scene.mine):
            if session.state is State.OPENING and scene.failures < self.breaks:
                scene = self.moved(scene, number, Cause.ENDED)
                scene = scene._replace(failures=scene.failures + 1)
                if self.rules.falls_back:
                    scene = scene._replace(gone=scene.gone | {session.name})
                yield self.go_on(scene)

    def hear_reply(self, scene: Scene, message: Message) -> Scene | None:
        """`opening._ready`: the handshake is complete; the confirmation leaves, and then the text."""
        number = message.session
        session = scene.mine[number]
        if session.state is not State.OPENING:
            return None
        if self.rules.prologue and message.said != session.view.digest:
            return None
        scene = self.moved(scene, number, Cause.READY)
        return self.speak(scene._replace(said=scene.said | {Message("confirm", number)}), number)

    def hear_answer(self, scene: Scene, number: int, ruling: object) -> Scene | None:
        """`confirming._hear_as_initiator`."""
        session = scene.mine[number]
        if session.state not in UNANSWERED:
            return None
        if ruling is None:
            if self.rules.confirms and session.view.digest != BARE:
                return self.go_on(self.moved(scene, number, Cause.CONTRADICTED))
            return self.go_on(self.moved(scene, number, Cause.CONFIRMED))
        if session.view.digest != CURRENT and self.responder.names is not None:
            current = View(CURRENT, self.responder.names, 2)
            if scene.view is None or scene.view.seq < current.seq:
                scene = self.noted(scene, current)
        return self.go_on(self.moved(scene, number, Cause.CONFIRMED if ruling is Ruling.ACCEPTED else Cause.REFUSED))

    # --- the responder -----------------------------------------------------------------------------------------------

    def names_of(self, digest: bytes) -> tuple[str, ...] | None:
        """The list of an offer of the responder's own; None: it is none."""
        if digest == CURRENT:
            return self.responder.names
        return self.stale if digest == STALE else None

    def claims(self, session: Mine) -> list[bytes]:
        """What the network can make an opening say that it answers: it stands there in clear."""
        honest = [session.view.digest]
        return [*honest, *({CURRENT, STALE, BARE} - set(honest))] if session.name in BINDING else honest

    def hear_opening(self, scene: Scene, number: int, claimed: bytes) -> Scene | None:
        """`bare._answer_opening`, `opening._accept`."""
        session = scene.mine[number]
        if any(one.session == number and one.claimed == claimed for one in scene.theirs):
            return None
        begun = Theirs(number, claimed, after(State.NOTHING, Cause.ACCEPT), None)
        if session.name in BINDING:
            names = self.names_of(claimed)
            if self.responder.names is None or not session.view.genuine:
                return None
            if names is None and not (claimed == BARE and session.name in OFFLINE):
                return None
            if session.name not in self.responder.names:
                return None  # nothing there understands it
            if self.rules.recomputes and names is not None and names != self.responder.names:
                return None  # a hint, which is the present offer: the network can show that anyhow
        if session.name not in OFFLINE:
            reply = Message("reply", number, claimed)
            return scene._replace(theirs=scene.theirs | {begun}, said=scene.said | {reply})
        if session.name in BINDING and self.rules.prologue and claimed != session.view.digest:
            return None  # other keys on both ends
        return self.hear_confirm(scene, begun, session)

    def hear_confirm(self, scene: Scene, begun: Theirs, session: Mine, *, stripped: bool = False) -> Scene:
        """`judging.hear_as_responder`: the first payload decides."""
        kexkit = self.initiator.names is not None and self.responder.names is not None
        record = None if stripped or not kexkit else (begun.session, session.name, session.view, session.effective)
        if self.responder.names is None:
            ruling, answer = Ruling.ACCEPTED, None
        elif record is None or not self.rules.confirms:
            ruling = Ruling.ACCEPTED if permits(self.responder, session.name) else Ruling.POLICY
            answer = None
        else:
            ruling = answer = self.rule(session)
        state = after(begun.state, Cause.CONFIRMED if ruling is Ruling.ACCEPTED else Cause.REFUSED)
        theirs = (scene.theirs - {begun}) | {begun._replace(state=state, record=record)}
        said = scene.said
        if answer is not None or ruling is Ruling.ACCEPTED:
            said |= {Message("answer", begun.session, answer)}
        return scene._replace(theirs=theirs, said=said)

    def rule(self, session: Mine) -> Ruling:
        assert self.responder.names is not None
        current = self.responder.names
        if not self.rules.recomputes:
            current = session.view.names
        issued = frozenset({BARE, STALE, CURRENT} if self.stale is not None else {BARE, CURRENT})
        stand = Stand(session.name, current, CURRENT, issued, permits(self.responder, session.name))
        return judge(Claim(session.name, session.effective, session.view.digest), stand)

    # --- everything that can happen next -----------------------------------------------------------------------------

    def next(self, scene: Scene) -> Iterator[Scene]:
        yield from self.shown(scene)
        yield from self.broken_off(scene)
        for message in scene.said:
            yield from self.delivered(scene, message)

    def delivered(self, scene: Scene, message: Message) -> Iterator[Scene]:
        number = message.session
        session = scene.mine[number]
        found: list[Scene | None] = []
        if message.kind == "opening":
            found = [self.hear_opening(scene, number, claimed) for claimed in self.claims(session)]
            if not self.rules.inside and session.name in OFFLINE:
                found.append(self.stripped(scene, number))
            if not session.view.genuine and session.name in BINDING and session.state is State.OPENING:
                found.append(self.hear_reply(scene, Message("reply", number, session.view.digest)))  # by the network
        elif message.kind == "reply":
            found = [self.hear_reply(scene, message)]
        elif message.kind == "confirm":
            for begun in scene.theirs:
                ours = begun.session == number and begun.state is State.OPENING
                if ours and (begun.claimed == session.view.digest or not self.rules.prologue):
                    found.append(self.hear_confirm(scene, begun, session))
                    if not self.rules.inside:
                        found.append(self.hear_confirm(scene, begun, session, stripped=True))
        else:
            found = [self.hear_answer(scene, number, message.said)]
            if not self.rules.inside:
                found.append(self.hear_answer(scene, number, None))
        yield from (one for one in found if one is not None)

    def stripped(self, scene: Scene, number: int) -> Scene | None:
        """The opening without what stands outside its ciphertext."""
        session = scene.mine[number]
        if any(one.session == number for one in scene.theirs) or not session.view.genuine:
            return None
        begun = Theirs(number, session.view.digest, after(State.NOTHING, Cause.ACCEPT), None)
        if session.name in BINDING and self.names_of(session.view.digest) != self.responder.names:
            return None
        return self.hear_confirm(scene, begun, session, stripped=True)


def given_up(session: Mine) -> Mine:
    """What the responder may have accepted is still heard."""
    cause = Cause.REFUSED if session.state is State.OPENING else Cause.OUTDATED
    return session._replace(state=after(session.state, cause))


def binds_older(session: Mine, view: View) -> bool:
    unheard = session.state in (State.OPENING, State.PROVISIONAL)
    return unheard and session.view.digest != view.digest and session.name in BINDING
