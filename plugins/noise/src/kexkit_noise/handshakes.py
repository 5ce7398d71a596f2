"""A handshake as a session that cannot seal yet: three messages, and what each side keeps between them.

    1  I -> R   tag of the offer   opening.to          empty; in K1K1 the initiator's statement, in clear
    2  R -> I   second_tag         handshake topic     ratchet key of R, statement of R where its static is sent
    3  I -> R   third_tag          handshake topic     ratchet key of I, statement of I unless message 1 said it

Texts are never in them. Whatever is refused leaves the value as it was, so a forged message is followed by the genuine
one. The initiator repeats message 1 until it is answered; the responder repeats message 2 when message 1 comes again,
and by no clock of its own: who replays message 1 gets no more than they send.

Randomness is drawn in this order: `call`: the 32 bytes of the ephemeral key; `answer`: the ephemeral key, then (if it
heals) the ratchet key; the initiator's `receive` of message 2: the ratchet key, if it heals. Nothing else draws any.
"""

from __future__ import annotations

from typing import NoReturn

from kexkit.api import Context, Guarantee, Row, Step
from kexkit.errors import InvalidInput

from kexkit_noise import limits, statement
from kexkit_noise.statement import Statement


class Handshaking:
    """What both sides have in common: nothing to seal with, and little to be asked."""

    __slots__ = ()

    grade: Guarantee | None = None

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        del plaintext  # or the traceback would show it
        raise InvalidInput("The handshake is under way: nothing can be sealed yet.")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not pickled; store snapshot() where secrets are kept")


def pin(stated: Statement, now: int) -> Row:
    return Row(statement.pin_value(stated), min(stated.not_after * 1000, now + limits.PIN_MS))
