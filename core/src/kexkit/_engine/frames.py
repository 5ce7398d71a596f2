"""Frames that sessions made, before they are put in envelopes."""

from __future__ import annotations

from attrs import frozen

from kexkit._engine.drawer import sealed_by, take
from kexkit._engine.requests import Draft, LiveSession, Moment, broken
from kexkit.api import KeyExchange, Step, value
from kexkit.events import Skip


@value
class Sealed:
    """One frame for one device, not yet in an envelope."""

    installation: str
    """empty: whichever device the peer has"""
    exchange: KeyExchange
    frame: bytes
    to: str | None = None
    """the content topic of a BARE frame"""
    heard: bool = False
    """the device has answered in this session, so it has all that we published"""
    flight: bool = False
    """it carries no text: a handshake's own, or a confirmation alone"""
    answers: bytes = b""
    """D of the offer that the session answers, in clear, until the peer has been heard in it"""


@frozen
class Postponed:
    """No frame for this device now, and why."""

    installation: str
    reason: str
    cause: str = ""
    """the name of the error behind it"""
    skip: Skip | None = None
    """why the device is left out, where time alone will not change that"""


def seal_in(
    draft: Draft,
    exchange: KeyExchange,
    session: LiveSession,
    installation: str,
    body: bytes,
    moment: Moment,
    *,
    heard: bool = False,
    flight: bool = False,
    answers: bytes = b"",
) -> Sealed:
    step = sealed_by(exchange, session, body, moment)
    if len(step.frames) != 1:
        raise broken(exchange.name, "seal() made no single frame")
    take(draft, exchange, session, step, {}, moment)
    return Sealed(installation, exchange, step.frames[0], step.to, heard, flight, answers)


def flights(installation: str, exchange: KeyExchange, step: Step, answers: bytes = b"") -> list[Sealed]:
    """The frames of a Step that is not a seal()'s: a handshake's, or an answer."""
    return [Sealed(installation, exchange, frame, step.to, flight=True, answers=answers) for frame in step.frames]
