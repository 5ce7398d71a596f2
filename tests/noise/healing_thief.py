"""Who stole an end's snapshot and drawer, and listens to everything: what can he open? And what should he?

The thief knows the document alone, not the plugin's code, but for where the keys stand in a snapshot. He combines all
root keys, private keys and public keys that he has or comes by, whether or not an honest end would. The table is that
of docs/protocols/healing-noise.md ("What a stolen state opens"), put as a rule over places in chains: it knows no keys.
"""

from __future__ import annotations

from struct import Struct

from attrs import define, evolve, field
from kexkit.api import Row

from tests.noise.healing_support import SESSION
from tests.vectors import healing_noise_reference as reference

_SNAPSHOT = Struct(">BBB32s32s16s B32s32s32sH32s32sH32s32s32sH32s32sQQHI I")
FURTHEST = 60
"""places in a chain to which the thief follows it: more than conversations here have"""


@define
class Thief:
    frames: dict[bytes, bytes]
    """everything that was ever sent, by its nametag"""
    sid: bytes = b""
    roots: set[bytes] = field(factory=set)
    privates: set[bytes] = field(factory=set)
    publics: set[bytes] = field(factory=set)
    chains: set[tuple[bytes, bytes, int]] = field(factory=set)
    """chain key, header key, number of its next message"""
    headers: set[bytes] = field(factory=set)
    """of chains that he may not have, but whose messages he can tell"""
    opened: dict[bytes, bytes] = field(factory=dict)
    """texts, by nametag"""
    _places: dict[bytes, dict[int, bytes]] = field(factory=dict)
    """by header key: which messages of its chain there are, with their nametags"""

    def steal(self, snapshot: bytes, drawer: dict[bytes, Row]) -> None:
        read = _SNAPSHOT.unpack(snapshot)
        self.sid = read[4]
        flags, root, private, public, _, send_chain, send_header, sent, next_send, receive_header = read[6:16]
        receive_chain, received, peer, next_receive = read[16:20]
        assert flags < 4
        self.roots = {root}
        self.privates = {private} - {bytes(32)}
        self.publics = {public, peer} - {bytes(32)}
        self.chains = {(send_chain, send_header, sent), (receive_chain, receive_header, received)}
        self.headers = {send_header, next_send, receive_header, next_receive} - {bytes(32)}
        for row, kept in drawer.items():
            if row.startswith(SESSION + b"k"):
                self._try(row[len(SESSION) + 1 :], kept.value[1:])

    def work(self) -> dict[bytes, bytes]:
        """Until nothing new turns up."""
        known = -1
        tried: set[tuple[bytes, bytes, bytes]] = set()
        while known != len(self.chains) + len(self.publics):
            known = len(self.chains) + len(self.publics)
            for chain, header, n in self.chains:
                self._follow(chain, header, n)
            for header in self.headers:
                self._read_headers(header)
            for root, private, public in self._combinations() - tried:
                tried.add((root, private, public))
                self._step(root, private, public)
        return self.opened

    def _combinations(self) -> set[tuple[bytes, bytes, bytes]]:
        return {(root, private, public) for root in self.roots for private in self.privates for public in self.publics}

    def _step(self, root: bytes, private: bytes, public: bytes) -> None:
        after, chain, next_header = reference.root_step(root, reference.agree(private, public))
        self.chains |= {(chain, header, 0) for header in self.headers}
        reads = [header for header in self.headers if self._opens(chain, header)]
        if reads or self._sent(
            next_header
        ):  # else the combination was none of the conversation's, and leads to nothing
            self.roots.add(after)
            self.headers.add(next_header)

    def _opens(self, chain: bytes, header: bytes) -> bool:
        before = len(self.opened)
        self._follow(chain, header, 0)
        return len(self.opened) > before

    def _sent(self, header: bytes) -> dict[int, bytes]:
        if header not in self._places:
            tags = {n: reference.nametag(header, n) for n in range(FURTHEST)}
            self._places[header] = {n: tag for n, tag in tags.items() if tag in self.frames}
        return self._places[header]

    def _follow(self, chain: bytes, header: bytes, n: int) -> None:
        sent = self._sent(header)
        for place in range(n, max(sent, default=-1) + 1):
            if place in sent:
                self._try(sent[place], reference.message_key(chain))
            chain = reference.next_chain(chain)

    def _read_headers(self, header: bytes) -> None:
        for n, tag in self._sent(header).items():
            public = reference.open_header(self.sid, header, n, self.frames[tag])
            if public is not None:
                self.publics.add(public)

    def _try(self, tag: bytes, key: bytes) -> None:
        frame = self.frames.get(tag)
        if frame is None or tag in self.opened:
            return
        opened = reference.open_text(self.sid, key, frame)
        if opened is not None:
            self.opened[tag] = opened[1]


# --- the table -------------------------------------------------------------------------------------------------------

Place = tuple[str, int, int]
"""Who sealed it, in which of its chains, as which of that chain."""
INITIATOR, RESPONDER = "initiator", "responder"


@define
class View:
    """An end as a count of chains and messages, without a key."""

    name: str
    speaking: bool
    """it has a chain of its own that the peer has not answered to"""
    chain: int
    """our chain: the present, or else the last; -1: none yet"""
    sent: int = 0
    pn: int = 0
    heard: int = -1
    """the peer's present chain; -1: it has sent nothing"""
    received: int = 0
    """places of it that are behind"""
    missing: frozenset[Place] = frozenset()
    """keys that are kept"""
    over: bool = False
    """it has said goodbye, and seals no more"""
    parted: bool = False
    """and has heard the peer's"""

    @property
    def peer(self) -> str:
        return RESPONDER if self.name == INITIATOR else INITIATOR

    def seal(self) -> tuple[Place, int]:
        """Where the text stands, and how long our chain before was."""
        if not self.speaking:
            self.speaking, self.chain, self.sent, self.pn = True, self.chain + 1, 0, self.sent
        self.sent += 1
        return (self.name, self.chain, self.sent - 1), self.pn

    def take(self, place: Place, length_before: int) -> bool:
        """False: it was taken already, or its place is no more. `length_before`: of the peer's chain before it."""
        _, chain, n = place
        if place in self.missing:
            self.missing -= {place}
            return True
        if self.parted:
            return False
        if chain < self.heard or (chain == self.heard and n < self.received):
            return False
        if chain > self.heard:
            assert chain == self.heard + 1
            assert self.speaking
            self.missing |= {(self.peer, self.heard, each) for each in range(self.received, length_before)}
            self.speaking, self.heard, self.received = False, chain, 0
        self.missing |= {(self.peer, chain, each) for each in range(self.received, n)}
        self.received = n + 1
        return True

    def stolen(self, place: Place) -> bool:
        """The table: does a thief of this end's state open what stands there?"""
        who, chain, n = place
        if who == self.name:
            return self.speaking and chain == self.chain and n >= self.sent
        if place in self.missing or self.parted:
            return place in self.missing
        if chain == self.heard:
            return n >= self.received
        return chain == self.heard + 1 and self.speaking

    def copy(self) -> View:
        return evolve(self)


def views() -> dict[str, View]:
    """After the handshake: the initiator's first chain is there, and the responder hears it."""
    return {
        INITIATOR: View(INITIATOR, speaking=True, chain=0),
        RESPONDER: View(RESPONDER, speaking=False, chain=-1, heard=0),
    }
