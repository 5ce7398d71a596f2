"""What was sent and what was told, kept outside of every peer; and the rules that hold after every step."""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen
from kexkit import _records as records
from kexkit import limits
from kexkit._wire.protocol_message import parse
from kexkit.api import Envelope, Key
from kexkit.events import TextReceived, Unreadable
from kexkit.secp256k1 import keccak256
from kexkit_x3dh import frames

from tests.world.ciphers import Ciphers
from tests.world.peer import Peer

Dump = dict[Key, tuple[bytes, int]]
QUARANTINE = frozenset({"held", "inbox", "peer", "timer"})


@frozen
class SentText:
    author: bytes
    peer: bytes
    text: str
    at: int


@define
class Ledger:
    """A failed rule is an AssertionError that names it."""

    ciphers: Ciphers
    sent: dict[bytes, SentText] = field(factory=dict)
    told: dict[tuple[str, bytes], bytes] = field(factory=dict)
    """(peer, message id): the receipt under which it was told"""
    unreadable: Counter[str] = field(factory=Counter)
    left: dict[tuple[bytes, ...], bytes] = field(factory=dict)
    """a place in a session: the sealed bytes that left for it"""
    wire: dict[tuple[str, Key], Envelope] = field(factory=dict)

    def note_sent(self, peer: Peer, to: bytes, message_id: bytes, text: str) -> None:
        assert message_id not in self.sent, "two texts have one id"
        self.sent[message_id] = SentText(peer.me.identity, to, text, peer.now())

    # --- after each step ---------------------------------------------------------------------------------------------

    def check_told(self, peer: Peer) -> None:
        """Only what was sent, as it was sent; each text under one receipt; nothing after it was acknowledged."""
        for event in peer.read_inbox():
            assert event.receipt not in peer.acked, "told again after it was acknowledged"
            if isinstance(event, Unreadable):
                self.unreadable[peer.name] += 1
                continue
            assert isinstance(event, TextReceived)
            sent = self.sent.get(event.message_id)
            assert sent is not None, "a text was told that nobody sent"
            assert (event.author, event.text) == (sent.author, sent.text), "a text was told otherwise than it was sent"
            assert peer.me.identity in (sent.peer, sent.author), "a text was told to somebody else"
            receipt = self.told.setdefault((peer.name, event.message_id), event.receipt)
            assert receipt == event.receipt, "a text was told twice"

    def check_ciphers(self) -> None:
        assert not self.ciphers.reused, self.ciphers.reused

    def check_left(self, peer: Peer, envelope: Envelope) -> None:
        """A place in a session's chain is used for one ciphertext, however often that is repeated."""
        data = self.ciphers.inside(envelope.payload)
        if data is None:
            return
        message = parse(data)
        frames_inside = [("x3dh/1", frame) for frame in message.slots.values()]
        for mechanism, frame in [*frames_inside, *((one.mechanism, one.frame) for one in message.frames)]:
            place = place_of(mechanism, frame)
            if place is not None:
                digest = keccak256(frame)
                known = self.left.setdefault((message.installation.encode(), *place), digest)
                assert known == digest, "one place in a chain left with two ciphertexts"

    def check_refusal(self, peer: Peer, before: Dump) -> None:
        """If a step refused something, it changed nothing but the quarantine."""
        causes = [cause for cause in peer.refusals() if not cause.startswith("contents:")]
        if causes:
            assert_quarantine_only(before, peer.rows.dump())

    def check_bounds(self, peer: Peer) -> None:
        check_bounds(peer)


def place_of(mechanism: str, frame: bytes) -> tuple[bytes, ...] | None:
    """The session and the number of a sealed frame, for mechanisms whose frames show them."""
    if mechanism == "psk@example.org/1":
        return (b"psk", frame[:32])
    if mechanism == "x3dh/1":
        read = frames.read(frame)
        if isinstance(read, frames.RatchetFrame):
            return (b"x3dh", read.prekey, read.key, read.n.to_bytes(4, "big"))
    return None


def changed_rows(before: Dump, after: Dump) -> set[Key]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def assert_quarantine_only(before: Dump, after: Dump) -> None:
    """Nothing changed but a placeholder, the held frame with its end, and the count of such frames; or that a copy of a
    session's end was told of."""
    for key in changed_rows(before, after):
        assert key[0] in QUARANTINE, f"a refusal changed a row of {key[0]}"
        if key[0] == "timer":
            kind = records.split_timer(key[1])[1]
            assert kind == records.Timer.HELD_EXPIRY, "a refusal set a timer"
            assert key not in before, "a refusal changed a timer"
            continue
        if key[0] != "peer":
            assert key not in before, f"a refusal changed or dropped a row of {key[0]}"
            continue
        was, now = records.read_peer(before[key][0]), records.read_peer(after[key][0])
        told = _marked(now) - _marked(was)
        assert now.held == was.held + 1 or (told and now.held == was.held), "a refusal counted wrongly"
        now.held = was.held
        for device in now.devices:
            for ref in device.sessions:
                ref.cloned = ref.cloned and ref.id not in told
        assert now == was, "a refusal changed what is known of a peer"


def _marked(person: records.Peer) -> set[bytes]:
    return {ref.id for device in person.devices for ref in device.sessions if ref.cloned}


def check_bounds(peer: Peer) -> None:
    """No row, and no number of rows, grows with what others send."""
    sessions, held = set[bytes](), Counter[bytes]()
    for identity, row in peer.table("peer").items():
        person = records.read_peer(row.value)
        assert len(person.devices) <= limits.DEVICES_PER_PEER, "too many devices are kept"
        for device in person.devices:
            by_mechanism = Counter(ref.mechanism for ref in device.sessions)
            assert max(by_mechanism.values(), default=0) <= limits.SESSIONS_PER_DEVICE, "too many sessions are kept"
        assert len(person.forgotten) <= limits.DEVICES_PER_PEER, "too many forgotten devices are heard"
        assert all(device.sessions for device in person.forgotten), "a forgotten device is kept for nothing"
        sessions |= {ref.id for device in (*person.devices, *person.forgotten) for ref in device.sessions}
        assert person.held <= limits.HELD_PER_PEER, "too many frames are held"
        held[identity] = person.held
    stored = set(peer.table("session")) - set(peer.table("half"))
    assert stored == sessions, "sessions are stored that no device has, or the reverse"
    assert set(peer.table("place")) == sessions, "a session's place is kept that is no session's, or the reverse"
    counted = Counter(id_[:33] for id_ in peer.table("held"))
    assert +counted == +held, "held frames are miscounted"
    assert len(peer.table("half")) <= limits.HALF_OPEN, "too many half-open sessions are kept"
