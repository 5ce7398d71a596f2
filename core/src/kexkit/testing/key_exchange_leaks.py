"""The part of `KeyExchangeKit` that looks for keys where they do not belong: reprs, pickles, tracebacks, keystreams."""

from __future__ import annotations

import ast
import base64
import pickle
import pickletools
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final

from kexkit.api import Carriage, Guarantee, Have
from kexkit.errors import KexkitError
from kexkit.identity import SoftwareIdentity
from kexkit.testing.key_exchange_case import KeyExchangeCase, altered, any_bytes, resized, talk
from kexkit.testing.key_exchange_party import Party
from kexkit.testing.key_exchange_rules import ask, demand
from kexkit.testing.pair import Pair

WINDOW: Final = 16
"""So many bytes running are no coincidence."""
PUBLIC: Final = 8
"""So many public bytes within a WINDOW, and it lies across the edge of what is secret: it tells nothing of that."""
DISTINCT: Final = 8
"""Fewer distinct bytes than this are padding or a counter, not a key."""
_LITERAL: Final = re.compile(r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*\"""")
_HEX: Final = re.compile(r"[0-9a-fA-F]{32,}")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{22,}")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_NUMBER: Final = re.compile(r"[0-9]{30,2000}")
_NUMBERS: Final = re.compile(r"[0-9]{1,3}(?:, ?[0-9]{1,3}){15,}")
_TESTING: Final = __file__.rpartition("key_exchange_leaks")[0]


class Leaks(KeyExchangeCase):
    def test_a_repr_shows_no_secret(self) -> None:
        pair = self._settled()
        secrets = _secrets(pair)
        for party in (pair.alice, pair.bob):
            session = party.session_with(pair.other(party).me)
            step = session.seal(b"a text", ctx=party.context)
            offer = party.issued[0].offer
            for thing in (session, step, step.session, offer, party.exchange):
                for shown in (repr(thing), str(thing), f"{thing}"):
                    demand(not _found(shown, secrets), f"the repr of a {type(thing).__name__} shows a secret")

    def test_a_pickle_holds_no_secret(self) -> None:
        pair = self._settled()
        public = [sent.frame for sent in pair.alice.initiate(pair.bob.me).sent]
        things: list[object] = []
        for party in (pair.alice, pair.bob):
            things += [party.issued[0].offer, *party.adverts.values(), *party.sessions.values(), *party.drawer.values()]
            step = party.session_with(pair.other(party).me).seal(b"a text", ctx=party.context)
            things += [step, step.session, *step.keep.values()]
            public += step.frames
        secrets = _secrets(pair, *public)
        for thing in (pair.alice.exchange, *things):
            demand(
                not any(window in secrets for window in _windows(_pickled(thing))),
                f"pickling a {type(thing).__name__} writes a secret: make it kexkit.api.Unpicklable",
            )
        shown = b"".join(_bytes_in(repr(pair.alice.exchange)))
        demand(
            all(len(held) < WINDOW or held in shown for held in _pickled(pair.alice.exchange)),
            "pickling the mechanism writes what its repr does not show: make it kexkit.api.Unpicklable",
        )

    def test_a_traceback_shows_no_secret_even_with_its_locals(self) -> None:
        pair = self._settled()
        fresh = pair.alice.initiate(pair.bob.me)
        opening = fresh.sent + (
            pair.alice.seal(b"first", pair.bob.me) if self.declares(Guarantee.OFFLINE_START) else ()
        )
        frames = [sent.frame for sent in opening]
        frames += [sent.frame for sent in pair.alice.seal(b"a text", pair.bob.me)]
        frames += [delivered.sent.frame for delivered in pair.log]
        secrets = _secrets(pair, *frames)
        told: dict[str, str] = {}
        for error in _errors(pair.bob, pair.alice, frames):
            told.setdefault(_where(error), _with_locals(error))
        demand(told, "no refusal could be provoked")
        for where, text in told.items():
            demand(not _found(text, secrets), f"the traceback of {where} shows a secret among its locals")

    def test_two_seals_of_one_session_never_share_a_keystream(self) -> None:
        """A restored backup seals from an old state again: then only fresh randomness keeps two texts apart."""
        if self.nonces_are_counted:
            return
        pair = self._settled()
        one, other = bytes(range(64)), bytes((number * 37 + 11) % 256 for number in range(64))
        difference = bytes(a ^ b for a, b in zip(one, other, strict=True))
        for party in (pair.alice, pair.bob):
            if Guarantee.SECRET not in (party.session_with(pair.other(party).me).grade or Guarantee.NONE):
                continue
            frames = []
            for seed, text in (("before", one), ("restored", other)):
                twin = party.copy(seed=seed)
                frames.append(b"".join(sent.frame for sent in twin.seal(text, pair.other(party).me)))
            mixed = bytes(a ^ b for a, b in zip(*frames, strict=False))
            demand(
                not any(difference[place : place + WINDOW] in mixed for place in range(0, 48, WINDOW)),
                "two seals of one session use one keystream: draw a nonce with ctx.rng",
            )

    def _settled(self) -> Pair:
        pair = self.pair()
        pair.meet()
        talk(pair, turns=2)
        return pair


def _secrets(pair: Pair, *frames: bytes) -> set[bytes]:
    """Every stretch of WINDOW bytes that only the two devices know.

    Not those that lie across the edge of something public: an altered frame, or a list of public parts, may show one by
    chance.
    """
    hidden: list[bytes] = []
    public: list[bytes] = list(frames)
    for party in (pair.alice, pair.bob):
        hidden += party.rng.drawn
        hidden += [row.value for row in party.drawer.values()]
        hidden += [session.snapshot() for session in party.sessions.values()]
        if isinstance(party.identity, SoftwareIdentity):
            hidden.append(party.identity.expose_secret())
        if party.secret is not None:
            hidden.append(party.secret)
        public += [issued.bind for issued in party.issued] + [issued.offer.public for issued in party.issued]
        public += [party.me.identity, party.me.installation.encode(), *party.drawer, *party.sessions]
        public += [delivered.sent.frame for delivered in pair.log]
        public += [stretch for delivered in pair.log for stretch in _bytes_in(delivered.sent.topic or "")]
    known = set(_windows(public, PUBLIC))
    return {
        window
        for window in _windows(hidden)
        if len(set(window)) >= DISTINCT and known.isdisjoint(_windows((window,), PUBLIC))
    }


def _windows(stretches: Iterable[bytes], size: int = WINDOW) -> Iterator[bytes]:
    for stretch in stretches:
        for place in range(len(stretch) - size + 1):
            yield stretch[place : place + size]


def _found(text: str, secrets: set[bytes]) -> bool:
    return any(window in secrets for window in _windows(_bytes_in(text)))


def _pickled(thing: object) -> Iterator[bytes]:
    """Everything in a pickle that is bytes, or may stand for some, whichever protocol wrote it."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            written = pickle.dumps(thing, protocol)
        except Exception:  # noqa: S112  # whatever refuses to be pickled does right
            continue
        for _, content, _ in pickletools.genops(written):
            if isinstance(content, str):
                if not content.isprintable():  # as protocols before the third write bytes; names are printable
                    yield content.encode("latin-1", "ignore")
                yield from (bytes.fromhex(digits[: len(digits) // 2 * 2]) for digits in _HEX.findall(content))
            elif isinstance(content, bytes | bytearray):
                yield bytes(content)
            elif isinstance(content, int):
                yield content.to_bytes((content.bit_length() + 8) // 8, "big", signed=True)


def _bytes_in(text: str) -> Iterator[bytes]:
    """Everything in a text that may stand for bytes: literals, hex, base64, one great number, many small ones."""
    for match in _LITERAL.finditer(text):
        with suppress(ValueError, SyntaxError):
            literal = ast.literal_eval(match[0])
            yield literal if isinstance(literal, bytes) else b""
    for match in _HEX.finditer(text):
        for start in (0, 1):
            digits = match[0][start:]
            yield bytes.fromhex(digits[: len(digits) // 2 * 2])
    for match in _BASE64.finditer(text):
        for start in range(4):
            digits = match[0][start:].translate(_URL_SAFE)
            yield base64.b64decode(digits[: len(digits) // 4 * 4])
    for match in _NUMBER.finditer(text):
        number = int(match[0])
        yield number.to_bytes((number.bit_length() + 7) // 8, "big")
    for match in _NUMBERS.finditer(text):
        yield bytes(number for number in map(int, match[0].split(",")) if number < 256)


def _errors(reader: Party, sender: Party, frames: list[bytes]) -> Iterator[KexkitError]:
    """Refusals of every kind, with their tracebacks."""
    bad = [variant for frame in frames[:6] for variants in (altered, resized) for variant in variants(frame)]
    bad += list(any_bytes(50)) + frames
    opening = reader.opening(None if reader.exchange.carriage is Carriage.BARE else sender.me, reader.issued[0].bind)
    context = reader.context
    takers: list[Callable[[bytes, Have], object]] = [
        lambda frame, have: reader.exchange.accept(frame, opening, have, ctx=context)
    ]
    for session in reader.sessions.values():
        takers.append(partial(session.receive, ctx=context))
    for frame in bad:
        for taker in takers:
            try:
                ask(partial(taker, frame), reader.look_up, reader.draws)
            except KexkitError as error:
                yield error
    for public in (b"", bytes(40), bytes(200), reader.issued[0].offer.public[:-1]):
        try:
            reader.exchange.read_offer(public, maker=sender.me, ctx=reader.context)
        except KexkitError as error:
            yield error


def _outside(error: BaseException) -> TracebackType | None:
    """The traceback from the plugin's first line on: the kit's own locals are full of secrets."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_TESTING):
        trace = trace.tb_next
    return trace


def _where(error: BaseException) -> str:
    lines = [f"{line.name}:{line.lineno}" for line in traceback.extract_tb(_outside(error))]
    return f"{type(error).__name__} at {' > '.join(lines)}"


def _with_locals(error: BaseException) -> str:
    told = traceback.TracebackException(type(error), error, _outside(error), capture_locals=True)
    return "".join(told.format())
