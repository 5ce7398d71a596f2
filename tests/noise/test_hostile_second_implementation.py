"""The plugin against an implementation from the documents alone, both ways, byte for byte."""

from __future__ import annotations

from hashlib import sha256

import pytest
from kexkit.api import Advert, Context, Device, Have, Hear, Opening, Row, Session, Step, Wants
from kexkit.identity import SoftwareIdentity
from kexkit_noise.exchange import NoiseExchange

from tests.noise.healing_support import stream
from tests.noise.second_implementation import Healing, Plain, Shaking, public_of, statement_body, tagged

NOW = 1_760_000_000_000
DIGEST = sha256(b"a signed offer").digest()
TOPIC = "/waku/1/a-partition/rfc26"
NAMES = ("healing-noise-xk1/1", "healing-noise-xx/1", "noise-xk1/1", "noise-xx/1")


class Ours:
    """A device of the plugin's."""

    def __init__(self, name: str) -> None:
        self.exchange = NoiseExchange(name)
        self.rng = stream(f"ours {name}")
        self.identity = SoftwareIdentity.generate(self.rng)
        self.me = Device(self.identity.public, "b0b00000-0000-4000-8000-000000000002")
        self.drawer: dict[bytes, Row] = {}
        offer = self.exchange.offer({b"static": None}, siblings=(), ctx=Context(self.me, NOW, self.rng, self.identity))
        assert not isinstance(offer, Wants)
        self.drawer |= offer.keep
        self.public = offer.public

    @property
    def context(self) -> Context:
        return Context(self.me, NOW, self.rng, self.identity)

    def look(self, wants: Wants) -> Have:
        return {row: self.drawer[row].value if row in self.drawer else None for row in wants.rows}

    def through(self, answer: object, again: object) -> Step:
        have: dict[bytes, bytes | None] = {}
        while isinstance(answer, Wants):
            have |= self.look(answer)
            answer = again(have)  # type: ignore[operator]  # a call of the plugin's
        assert isinstance(answer, Step)
        self.drawer |= answer.keep
        return answer

    def accept(self, frame: bytes, opening: Opening) -> Step:
        def call(have: Have) -> object:
            return self.exchange.accept(frame, opening, have, ctx=self.context)

        return self.through(call({}), call)

    def initiate(self, opening: Opening) -> Step:
        def call(have: Have) -> object:
            return self.exchange.initiate(opening, have, ctx=self.context)

        return self.through(call({}), call)

    def receive(self, session: Session, frame: bytes) -> Step:
        def call(have: Have) -> object:
            return session.receive(frame, have, ctx=self.context)

        return self.through(call({}), call)


class Theirs:
    """A device of the other implementation's."""

    def __init__(self, name: str) -> None:
        draw = stream(f"theirs {name}")
        self.identity = SoftwareIdentity.generate(draw)
        self.me = Device(self.identity.public, "a11ce000-0000-4000-8000-000000000001")
        self.keys = draw(32), draw(32), draw(32)
        self.draw = draw
        self.window = NOW // 1000 - 5, NOW // 1000 + 1000
        self.static = public_of(self.keys[0])
        body = statement_body(self.me.identity, self.me.installation, self.static, *self.window)
        assert len(body) == 98
        self.signature = self.identity.sign(b"kexkit/noise-static/1", body)
        self.statement = body + self.signature

    def shaking(self, name: str, known: bytes) -> Shaking:
        heals, xk1 = name.startswith("healing"), "xk1" in name
        return Shaking.begin(xk1=xk1, heals=heals, digest=DIGEST, keys=self.keys, statement=self.statement, known=known)


def bind_of(name: str) -> bytes:
    return tagged(b"kexkit/opening/1", bytes((len(name),)) + name.encode() + DIGEST)


def talk(ours: Ours, session: Session | None, theirs: Healing | Plain, draw: Theirs, *, ours_first: bool) -> None:
    assert session is not None
    assert session.hears == frozenset({Hear(theirs.topic)})
    for turn in range(8):
        for number in range(3):
            text = f"text {number} of turn {turn}".encode()
            if (turn % 2 == 0) == ours_first:
                step = session.seal(text, ctx=ours.context)
                assert step.to == theirs.topic
                assert theirs.open(step.frames[0]) == text
            else:
                step = ours.receive(session, theirs.seal(text, draw.draw(32), draw.draw(12)))
                assert [plain.body for plain in step.plain] == [text]
            session = step.session
            assert session is not None


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_their_opening_is_answered_and_both_read_each_other(name: str, ours_first: bool) -> None:
    ours, theirs = Ours(name), Theirs(name)
    side = theirs.shaking(name, ours.public[:32])
    opening = Opening(None, None, bind_of(name), to=Hear(TOPIC, side.tag), offered=ours.public)
    second = ours.accept(side.first(), opening)
    assert second.session is not None
    assert second.to == side.topic(public_of(theirs.keys[1]))
    third = side.third(second.frames[0])
    assert second.session.hears == frozenset({Hear(second.to, third[:16])})
    if "xx" in name:
        stated = statement_body(
            ours.me.identity,
            ours.me.installation,
            side.theirs,
            int.from_bytes(ours.public[32:40], "big"),
            int.from_bytes(ours.public[40:48], "big"),
        )
        assert side.their_statement == stated + ours.public[48:]
    else:
        assert side.their_statement == b""
    done = ours.receive(second.session, third)
    assert done.session is not None
    assert done.session.peer == theirs.me
    made = (Healing if side.heals else Plain).after(side, initiator=True)
    talk(ours, done.session, made, theirs, ours_first=ours_first)


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_our_opening_is_understood_and_both_read_each_other(name: str, ours_first: bool) -> None:
    ours, theirs = Ours(name), Theirs(name)
    window = b"".join(moment.to_bytes(8, "big") for moment in theirs.window)
    public = theirs.static + window + theirs.signature
    assert len(public) == 112
    (advert,) = ours.exchange.read_offer(public, maker=theirs.me, ctx=ours.context)
    assert isinstance(advert, Advert)
    side = theirs.shaking(name, theirs.static)
    opening = Opening(theirs.me, advert, bind_of(name), to=Hear(TOPIC, side.tag))
    first = ours.initiate(opening)
    assert first.session is not None
    assert first.to == TOPIC
    second = side.second(first.frames[0])
    assert first.session.hears == frozenset({Hear(side.topic(side.their_ephemeral), second[:16])})
    third = ours.receive(first.session, second)
    side.take_third(third.frames[0])
    assert third.to == side.topic(side.their_ephemeral)
    assert len(side.their_statement) == 162
    assert side.their_statement[50:82] == side.theirs == ours.public[:32]
    made = (Healing if side.heals else Plain).after(side, initiator=False)
    talk(ours, third.session, made, theirs, ours_first=ours_first)
