"""What a durable message costs when the peer has left a thousand gaps, against none."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from kexkit._engine.requests import LiveSession

from bench.durable import ours
from bench.measuring import Contestant

GAPS: Final = 1000
"""as many as x3dh/1 follows at once"""
TEXTS: Final = 400
"""a run has at most so many: well below those after which kept keys are let go"""


class Gapped:
    """Two ends on stores of their own; before each run the receiver's session is put where the gaps are new."""

    def __init__(self, gaps: int, folder: Path, synchronous: str, exits: ExitStack, body: bytes) -> None:
        self._body = body
        self._alice, self._bob = ours(folder, synchronous, exits)
        for _ in range(gaps):
            self._alice.seal(body)
        assert self._bob.open(self._alice.seal(body)) == body
        self._places = [(end, end.session.session) for end in (self._alice, self._bob)]

    def prepare(self, times: int) -> None:
        """A session is a value: it can be begun from again, at the revision that its row has now."""
        for end, session in self._places:
            end.session = LiveSession(session, end.session.mechanism, end.session.revision)

    def run(self, times: int) -> None:
        alice, bob, body = self._alice, self._bob, self._body
        for _ in range(times):
            bob.open(alice.seal(body))


def contestant(name: str, gaps: int, folder: Path, synchronous: str, exits: ExitStack, body: bytes) -> Contestant:
    gapped = Gapped(gaps, folder, synchronous, exits, body)
    return Contestant(name, gapped.run, gapped.prepare, most=TEXTS)
