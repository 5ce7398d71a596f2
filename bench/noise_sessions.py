"""Sessions of kexkit-noise, alone and through the seam, and noiseprotocol, the library beneath, bare."""

from __future__ import annotations

import os
import tracemalloc
from typing import Any, Final

from attrs import frozen
from kexkit._engine.drawer import Fetched, ask, take
from kexkit._engine.requests import Draft, Flow, LiveSession
from kexkit._wire.offers import bare_digest, hello_tag
from kexkit.api import NOTHING, Hear, Opening, Session, Step
from kexkit_noise._noise import Pattern
from kexkit_noise.exchange import NoiseExchange
from kexkit_noise.limits import CHAIN_MESSAGES
from noise.connection import Keypair, NoiseConnection

from bench.conversation import settled
from bench.measuring import Contestant
from bench.seam import ALICE, BOB, Party, Talker, bind_of

LIVE_SESSIONS: Final = 1000
FEW_SESSIONS: Final = 20
"""when it only has to run"""
KB: Final = 1000


class KexkitNoise:
    """Two installations of one mechanism; its three messages pass through the seam as in an open node."""

    def __init__(self, mechanism: str) -> None:
        self.name = f"kexkit {mechanism}"
        self._mechanism = mechanism
        self.alice = Party(ALICE, exchange=NoiseExchange(mechanism))
        self.bob = Party(BOB, exchange=NoiseExchange(mechanism))

    def meet(self, body: bytes) -> tuple[Talker, Talker]:
        alice, bob = self.alice, self.bob
        bind, digest = bind_of(self._mechanism, bob.me), bare_digest(bob.me.identity, bob.me.installation)
        to = Hear("/kexkit/1/bench/proto", hello_tag(self._mechanism, digest))
        opening = Opening(bob.me, alice.read_bundle(bob), bind, to=to)
        calling, first = _stepped(alice, None, lambda have, ctx: alice.exchange.initiate(opening, have, ctx=ctx))
        there = Opening(None, None, bind, to=to, offered=bob.bundle)
        answering, second = _stepped(bob, None, lambda have, ctx: bob.exchange.accept(first, there, have, ctx=ctx))
        ours, third = _received(alice, calling, second)
        theirs, _ = _received(bob, answering, third)
        ends = Talker(alice, bob.me, ours), Talker(bob, alice.me, theirs)
        assert ends[1].open(ends[0].seal(body)) == body
        return ends


def _received(party: Party, session: LiveSession, frame: bytes) -> tuple[LiveSession, bytes]:
    return _stepped(party, session, lambda have, ctx: session.session.receive(frame, have, ctx=ctx))


def _stepped(party: Party, before: LiveSession | None, call: Any) -> tuple[LiveSession, bytes]:
    """Ask, fetch, take, store. The session after it, and the frame that leaves."""
    draft, moment = Draft(), party.moment()
    fetched: Fetched = {}
    flow: Flow[Step] = ask(draft, party.exchange.name, lambda have: call(have, moment.context), fetched)
    step = party.drive(flow)
    after = take(draft, party.exchange, before, step, fetched, moment)
    assert after is not None
    party.rows.apply(draft.outcome().change)
    return after, step.frames[0] if step.frames else b""


def talkers(library: KexkitNoise) -> tuple[Talker, Talker]:
    alice, bob = settled(library)
    assert isinstance(alice, Talker)
    assert isinstance(bob, Talker)
    return alice, bob


class OneWay:
    """Texts in one direction. A healing chain ends after a thousand without an answer, so each run begins from the same
    two sessions: they are values."""

    def __init__(self, mechanism: str, size: int) -> None:
        self._ends = talkers(KexkitNoise(mechanism))
        self._places = [(end, end.session.session) for end in self._ends]
        self._body = b"x" * size

    def prepare(self, times: int) -> None:
        for end, session in self._places:
            end.session = LiveSession(session, end.session.mechanism, end.session.revision)

    def run(self, times: int) -> None:
        (alice, bob), body = self._ends, self._body
        for _ in range(times):
            bob.open(alice.seal(body))


def one_way(name: str, mechanism: str, size: int) -> Contestant:
    talk = OneWay(mechanism, size)
    return Contestant(name, talk.run, talk.prepare, most=CHAIN_MESSAGES - 100, least=300)


# --- without an engine around it, and the library beneath, bare ------------------------------------------------------


def bare_texts(size: int) -> Contestant:
    """noiseprotocol alone: no padding, no additional data, no window, no store."""
    writer, reader = (NoiseConnection.from_name(Pattern.XX.noise_name) for _ in range(2))
    writer.set_as_initiator()
    reader.set_as_responder()
    for connection in (writer, reader):
        connection.set_keypair_from_private_bytes(Keypair.STATIC, os.urandom(32))
        connection.start_handshake()
    reader.read_message(writer.write_message())
    writer.read_message(reader.write_message())
    reader.read_message(writer.write_message())
    body = b"x" * size

    def run(times: int) -> None:
        for _ in range(times):
            reader.decrypt(writer.encrypt(body))

    return Contestant("noiseprotocol", run)


class Alone:
    """The session as any engine meets it: `seal` and `receive`, a Step each, and nothing of ours around it."""

    def __init__(self, size: int, *, stored: bool) -> None:
        alice, bob = talkers(KexkitNoise("noise-xx/1"))
        self._ends = alice.session.session, bob.session.session
        self._context = alice.moment.context
        self._body, self._stored = b"x" * size, stored

    def run(self, times: int) -> None:
        (one, other), body, context, stored = self._ends, self._body, self._context, self._stored
        for _ in range(times):
            sent = one.seal(body, ctx=context)
            took = other.receive(sent.frames[0], NOTHING, ctx=context)
            assert isinstance(took, Step)
            assert sent.session is not None
            assert took.session is not None
            one, other = sent.session, took.session
            if stored:
                one.snapshot()
                other.snapshot()
        self._ends = one, other


def alone(name: str, size: int, *, stored: bool) -> Contestant:
    return Contestant(name, Alone(size, stored=stored).run)


# --- memory ----------------------------------------------------------------------------------------------------------


@frozen
class Footprint:
    """Of one live session that has sealed and opened in both directions, with all that it caches."""

    name: str
    bytes: int
    most: int


def footprints(sessions: int) -> list[Footprint]:
    """Python's memory, over so many sessions. What the cryptography library holds for a key comes on top."""
    return [Footprint(name, _footprint(name, sessions), 5 * KB) for name in ("healing-noise-xk1/1", "noise-xx/1")]


def _footprint(mechanism: str, sessions: int) -> int:
    library = KexkitNoise(mechanism)
    exchange = library.alice.exchange
    stored = [[end.state() for end in settled(library)] for _ in range(sessions)]
    _used(library, *(exchange.restore(raw) for raw in stored[0]))  # what is made once is made now
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    live = [_used(library, *(exchange.restore(raw) for raw in ends)) for ends in stored]
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(live) == sessions
    return (after - before) // sessions


def _used(library: KexkitNoise, ours: Session, theirs: Session) -> Session:
    """Sealed once and opened once since it was restored, so that its caches are filled."""
    context = library.alice.moment().context
    sent = ours.seal(b"x" * 100, ctx=context)
    assert sent.session is not None
    took = theirs.receive(sent.frames[0], {}, ctx=context)
    assert isinstance(took, Step)
    assert took.session is not None
    answer = took.session.seal(b"x" * 100, ctx=context)
    back = sent.session.receive(answer.frames[0], {}, ctx=context)
    assert isinstance(back, Step)
    assert back.session is not None
    after = back.session.seal(b"x" * 100, ctx=context)
    assert after.session is not None
    return after.session
