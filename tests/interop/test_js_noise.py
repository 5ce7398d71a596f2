"""Live with npm @waku/noise: five handshakes, sessions, pairing, each in both roles, as whole WakuMessages."""

from __future__ import annotations

import os
import time
from typing import Final

import pytest
from attrs import define
from kexkit._wire import waku
from kexkit.api import Envelope
from kexkit.errors import Refusal
from kexkit_noise import payload
from kexkit_noise.pairing import Pairing
from kexkit_noise.payload import PayloadV2
from kexkit_noise.waku import KeyPair, Keys, Pattern, PlainSession, WakuHandshake, key_pair

from tests.interop.js_peer import JsError, JsPeer

SIZES: Final = (5, 0, 1, 246, 247, 248, 249, 495, 496, 497, 1000, 20_000)
"""Padding is to 248, so a text of 247 fills a block and one of 248 begins the next. The first is no empty text: js
returns that for what it cannot read, too."""
PROLOGUE: Final = b"a prologue of both"
TOPIC: Final = "/peer/1/x/proto"
ROLES = pytest.mark.parametrize("ours", [True, False], ids=["we-begin", "js-begins"])


def wrapped(frame: bytes, topic: str = TOPIC) -> str:
    return waku.encode(Envelope(topic=topic, payload=frame, version=2, timestamp=time.time_ns())).hex()


def unwrapped(message: str, topic: str = TOPIC) -> bytes:
    envelope, _ = waku.parse(bytes.fromhex(message))
    assert (envelope.topic, envelope.version) == (topic, 2)
    return envelope.payload


@define
class Meeting:
    """A handshake of ours with js's, and the session after it."""

    js: JsPeer
    side: WakuHandshake

    @classmethod
    def begin(cls, js: JsPeer, pattern: Pattern, *, ours: bool) -> Meeting:
        """`ours`: we are the initiator."""
        static, theirs = key_pair(os.urandom(32)), bytes.fromhex(js.ask("key")["public"])
        if pattern is Pattern.WAKU_PAIRING:
            return cls._showing(js, static, ours=ours)
        psk = os.urandom(32) if pattern is Pattern.XXPSK0 else None
        statics = (static.public, theirs) if ours else (theirs, static.public)
        known = [key.hex() for key, names in zip(statics, pattern.pre_messages, strict=True) if "s" in names]
        secret = psk.hex() if psk else ""
        js.ask("begin", pattern=pattern.short, initiator=not ours, prologue=PROLOGUE.hex(), psk=secret, known=known)
        remote = theirs if "s" in pattern.pre_messages[ours] else None
        return cls._with(js, pattern, Keys(static, remote_static=remote, psk=psk), ours=ours)

    @classmethod
    def _showing(cls, js: JsPeer, static: KeyPair, *, ours: bool) -> Meeting:
        """The responder's ephemeral key is known beforehand."""
        if ours:
            shown = bytes.fromhex(js.ask("begin_showing", prologue=PROLOGUE.hex())["ephemeral"])
            keys = Keys(static, remote_ephemeral=shown)
        else:
            keys = Keys(static, ephemeral=key_pair(os.urandom(32)))
            assert keys.ephemeral is not None
            known = [keys.ephemeral.public.hex()]
            js.ask("begin", pattern="WakuPairing", initiator=True, prologue=PROLOGUE.hex(), psk="", known=known)
        return cls._with(js, Pattern.WAKU_PAIRING, keys, ours=ours)

    @classmethod
    def _with(cls, js: JsPeer, pattern: Pattern, keys: Keys, *, ours: bool) -> Meeting:
        tag = os.urandom(16)
        side = WakuHandshake.begin(pattern, initiator=ours, keys=keys, nametag=tag, prologue=PROLOGUE)
        return cls(js, side)

    def write(self, content: bytes) -> None:
        tag = self.side.nametag
        self.side, frame = self.side.write(content, ephemeral=os.urandom(32))
        heard = self.js.ask("read", message=wrapped(frame), nametag=tag.hex())
        assert heard["payload"] == content.hex()

    def read(self, content: bytes) -> None:
        answer = self.js.ask("write", payload=content.hex(), nametag=self.side.nametag.hex())
        frame = unwrapped(answer["message"])
        for spoiled in (frame[:-1] + bytes((frame[-1] ^ 1,)), bytes((frame[0] ^ 1,)) + frame[1:]):
            with pytest.raises(Refusal):
                self.side.read(spoiled)
        self.side, read = self.side.read(frame)
        assert read == content

    def complete(self, contents: list[bytes]) -> None:
        for content in contents:
            (self.write if self.side.writes else self.read)(content)
            self.side = WakuHandshake.decode(self.side.encode())
            assert self.js.ask("nametag")["nametag"] == self.side.nametag.hex()
            assert self.js.ask("code")["code"] == self.side.code

    def session(self) -> PlainSession:
        assert self.js.ask("finish")["h"] == self.side.h.hex()
        return self.side.session()


def talk(js: JsPeer, session: PlainSession, topic: str = TOPIC) -> None:
    """Both ways, several at a time, across the borders of padding. Ours read js's in the reverse order."""
    for turn in range(2):
        for size in SIZES:
            text = os.urandom(size)
            session, frame = session.seal(text)
            assert js.ask("open", message=wrapped(frame, topic))["text"] == text.hex(), (turn, size)
        texts = [os.urandom(size) for size in SIZES]
        frames = [unwrapped(js.ask("seal", text=text.hex())["message"], topic) for text in texts]
        for text, frame in reversed(list(zip(texts, frames, strict=True))):
            opened = session.open(frame)
            assert opened.plaintext == text
            session = PlainSession.restore(opened.successor.snapshot())
            with pytest.raises(Refusal):
                session.open(frame)


@ROLES
@pytest.mark.parametrize("pattern", Pattern, ids=str)
def test_a_handshake_with_js_ends_in_a_session(js_peer: JsPeer, pattern: Pattern, ours: bool) -> None:
    for size in (32, 0, 247, 248, 700):
        meeting = Meeting.begin(js_peer, pattern, ours=ours)
        meeting.complete([os.urandom(size) for _ in range(pattern.messages)])
        session = meeting.session()
    talk(js_peer, session)


@pytest.mark.parametrize("pattern", Pattern, ids=str)
def test_js_takes_no_message_of_a_healing_mechanism_for_its_own(js_peer: JsPeer, pattern: Pattern) -> None:
    """Their protocol ids have the highest bit, which js does not know."""
    side = Meeting.begin(js_peer, pattern, ours=True).side
    _, frame = side.write(b"", ephemeral=os.urandom(32))
    plain = payload.decode(frame, pattern.protocol_id)
    healing = payload.encode(PayloadV2(plain.nametag, 0x80 | pattern.protocol_id, plain.fields, plain.transport))
    with pytest.raises(JsError):
        js_peer.ask("read", message=wrapped(healing), nametag=side.nametag.hex())
    assert js_peer.ask("read", message=wrapped(frame), nametag=side.nametag.hex())["payload"] == ""


# --- pairing, with the package's own WakuPairing ---------------------------------------------------------------------


def paired(js: JsPeer, pairing: Pairing) -> None:
    result = js.ask("pair_result")
    assert pairing.done
    assert result["h"] == pairing.split().h.hex()
    assert pairing.remote_static is not None
    talk(js, PlainSession.begin(pairing.split(), session=bytes(32), initiator=pairing.initiator), pairing.topic)


def test_js_scans_our_code(fresh_js_peer: JsPeer) -> None:
    js, now = fresh_js_peer, 0
    theirs, static = js.ask("key")["public"], key_pair(os.urandom(32))
    ours = Pairing.show("kexkit", "1", "10", static=static, random=os.urandom(80), now=now)
    assert js.ask("pair_scan", qr=ours.qr.text, nametag=ours.nametag.hex())["topic"] == ours.topic
    first = ours.receive(unwrapped(js.ask("pair_sent")["message"], ours.topic), now)
    assert first.refused is None
    assert js.ask("pair_code")["code"] == first.pairing.auth_code
    answer = first.pairing.confirm(now)
    assert answer.frame is not None
    js.ask("pair_confirm", valid=True)
    js.ask("pair_deliver", message=wrapped(answer.frame, ours.topic))
    last = answer.pairing.receive(unwrapped(js.ask("pair_sent")["message"], ours.topic), now)
    assert last.refused is None
    assert last.pairing.remote_static == bytes.fromhex(theirs)
    paired(js, last.pairing)


def test_we_scan_the_code_of_js(fresh_js_peer: JsPeer) -> None:
    js, now = fresh_js_peer, 0
    theirs, static = js.ask("key")["public"], key_pair(os.urandom(32))
    shown = js.ask("pair_show", application="kexkit", version="1", shard="10")
    first = Pairing.scan(
        shown["qr"],
        bytes.fromhex(shown["nametag"]),
        application="kexkit",
        version="1",
        static=static,
        random=os.urandom(64),
        now=now,
    )
    ours, topic = first.pairing, shown["topic"]
    assert ours.topic == topic
    assert first.frame is not None
    js.ask("pair_deliver", message=wrapped(first.frame, topic))
    assert js.ask("pair_code")["code"] == ours.auth_code
    js.ask("pair_confirm", valid=True)
    answer = ours.receive(unwrapped(js.ask("pair_sent")["message"], topic), now)
    assert answer.refused is None
    last = answer.pairing.confirm(now)
    assert last.frame is not None
    js.ask("pair_deliver", message=wrapped(last.frame, topic))
    assert last.pairing.remote_static == bytes.fromhex(theirs)
    paired(js, last.pairing)


def test_js_gives_up_when_its_user_says_that_the_codes_differ(fresh_js_peer: JsPeer) -> None:
    js, static = fresh_js_peer, key_pair(os.urandom(32))
    js.ask("key")
    ours = Pairing.show("kexkit", "1", "10", static=static, random=os.urandom(80), now=0)
    js.ask("pair_scan", qr=ours.qr.text, nametag=ours.nametag.hex())
    js.ask("pair_sent")
    js.ask("pair_code")
    js.ask("pair_confirm", valid=False)
    with pytest.raises(JsError, match="not confirmed"):
        js.ask("pair_result")
