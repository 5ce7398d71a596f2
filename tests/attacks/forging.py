"""What attackers can make: envelopes under any identity that they hold, with any contents, out of anything they saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from random import Random

from attrs import evolve
from kexkit._engine.chatting import Composed
from kexkit._wire import payload26, topics
from kexkit._wire.protocol_message import Frame, ProtocolMessage, encode, parse
from kexkit.api import Envelope
from kexkit.events import FrameRefused, TextReceived

from tests.world.ledger import Dump, assert_quarantine_only
from tests.world.mechanisms import Mechanism
from tests.world.peer import Peer
from tests.world.world import World, a_world

_numbers = count(1)
PEOPLE = ("alice", "bob", "mallory")


@contextmanager
def a_talk(mechanism: Mechanism, seed: int = 1, names: tuple[str, ...] = PEOPLE) -> Iterator[World]:
    """All have added one another; Alice and Bob have exchanged texts, Mallory has with both."""
    with a_world(seed, mechanism, names=names) as world:
        world.introduce()
        for who, whom in (("alice", "bob"), ("bob", "alice"), ("mallory", "bob"), ("mallory", "alice")):
            world.send(who, whom)
            world.settle()
        for name in names:
            while world.peers[name].read_inbox():
                world.ack(name)
        yield world


def envelope_of_text(world: World, who: str, whom: str, text: str | None = None) -> Envelope:
    """A genuine envelope with a text, on its way and not delivered."""
    world.send(who, whom, text)
    departure = world.peers[who].queue[-1]
    return departure.envelope


def contents(world: World, envelope: Envelope) -> ProtocolMessage:
    """What is inside, as its maker knew it."""
    data = world.ledger.ciphers.inside(envelope.payload)
    assert data is not None
    return parse(data)


def posted(maker: Peer, to: bytes, inside: ProtocolMessage | bytes, timestamp: int = 1) -> Envelope:
    """An envelope signed by `maker`, which anybody can send: what it holds need not be theirs."""
    data = inside if isinstance(inside, bytes) else encode(inside)
    random = Random(maker.me.identity + data + timestamp.to_bytes(16, "big", signed=True))
    payload = payload26.seal_asymmetric(data, to, sign=maker.identity, rng=random.randbytes)
    topic = topics.content_topic(topics.partitioned_name(to))
    return Envelope(topic, payload, 1, maker.now() * 10**6 + timestamp)


def frame_of(message: ProtocolMessage) -> bytes:
    (frame,) = [*message.slots.values(), *(one.frame for one in message.frames)]
    return frame


def with_frame(message: ProtocolMessage, frame: bytes) -> ProtocolMessage:
    slots = dict.fromkeys(message.slots, frame)
    frames = tuple(Frame(one.installation, one.mechanism, frame) for one in message.frames)
    return evolve(message, slots=slots, frames=frames)


def addressed_to(message: ProtocolMessage, installation: str) -> ProtocolMessage:
    slots = dict.fromkeys([installation], frame_of(message)) if message.slots else {}
    frames = tuple(Frame(installation, one.mechanism, one.frame) for one in message.frames)
    return evolve(message, slots=slots, frames=frames)


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def some_bits(raw: bytes, random: Random, count: int) -> list[int]:
    """One bit of every byte, or of as many as wanted."""
    places = list(range(len(raw)))
    if len(places) > count:
        places = sorted(random.sample(places, count))
    return [place * 8 + random.randrange(8) for place in places]


def seal_body(peer: Peer, to: bytes, body: bytes) -> Envelope:
    """Anything at all through a genuine session: what a peer whose program is evil can do."""
    composed = Composed(next(_numbers).to_bytes(32, "big"), body, 1)
    peer.perform(lambda: peer.engine.send(to, composed, peer.moment()))
    return peer.queue[-1].envelope


# --- what must come of it --------------------------------------------------------------------------------------------


def receive(world: World, who: str, envelope: Envelope) -> tuple[list[str], Dump, Dump]:
    """Deliver an envelope by itself. The causes of refusals, and the whole store before and after."""
    peer = world.peers[who]
    peer.take_events()
    before = peer.rows.dump()
    peer.receive(envelope)
    return peer.refusals(), before, peer.rows.dump()


def assert_refused(world: World, who: str, envelope: Envelope, *, silently: bool = False) -> list[str]:
    """Refused with a typed cause (or, where anybody's mail may lie, passed over), and nothing changed but, at most,
    the quarantine. No text is told."""
    causes, before, after = receive(world, who, envelope)
    assert causes or silently, "it was not refused"
    assert_quarantine_only(before, after)
    assert not any(isinstance(event, TextReceived) for event in world.peers[who].told_once)
    return causes


def assert_no_effect(world: World, who: str, envelope: Envelope) -> None:
    """Not even the quarantine changed."""
    _, before, after = receive(world, who, envelope)
    assert after == before


def assert_still_talking(world: World, who: str = "alice", whom: str = "bob") -> None:
    """The next genuine messages open, both ways."""
    for a, b in ((who, whom), (whom, who)):
        text = f"still {world.texts}"
        world.send(a, b, text)
        world.settle()
        assert text in world.told(b)


def refusal_of(world: World, who: str) -> FrameRefused:
    return next(event for event in world.peers[who].told_once if isinstance(event, FrameRefused))
