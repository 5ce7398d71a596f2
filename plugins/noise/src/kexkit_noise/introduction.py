"""What two people who have paired their devices say about themselves: an identity, bound to this one pairing.

    introduction = statement 162 || SIG(identity, T("kexkit/pairing/1", h || body))        226 bytes

body is the statement's. Here the identity signs h too, which no statement does (it is to prove an installation, not a
conversation): the code that both people compared vouches for h, so the second signature says that the person is in
front of us, and cannot be shown to anybody else as more. It is the first text of the pairing's session, each way, and
the session ends with it: h is public to whoever saw the QR code.

The code protects who scans at once (see `pairing`). Who shows has met the right person when the other device, too, says
whom it has met: whoever slipped in between has left that one without an end.
"""

from __future__ import annotations

from typing import Final

from kexkit import secp256k1
from kexkit.api import Context
from kexkit.errors import Forged, InvalidInput, Malformed
from kexkit.identity import tagged_digest

from kexkit_noise import statement
from kexkit_noise.pairing import Pairing
from kexkit_noise.statement import STATEMENT_BYTES, Statement

LABEL: Final = b"kexkit/pairing/1"
INTRODUCTION_BYTES: Final = STATEMENT_BYTES + 64


def introduce(pairing: Pairing, own: Statement, ctx: Context) -> bytes:
    """Ours. `own` is our statement about the static that we paired with."""
    if own.static != pairing.static or own.device != ctx.me:
        raise InvalidInput("A device introduces itself by the static that it paired with.")
    return own.encoded + ctx.identity.sign(LABEL, _material(pairing, own))


def introduced(pairing: Pairing, raw: bytes, ctx: Context) -> Statement:
    """Whom we have met. Any failure is a Refusal, and says nothing of the pairing itself."""
    if len(raw) != INTRODUCTION_BYTES:
        raise Malformed(f"An introduction has {INTRODUCTION_BYTES} bytes.")
    remote = _done(pairing)
    stated = statement.check(raw[:STATEMENT_BYTES], static=remote, own_static=pairing.static, meant=None, ctx=ctx)
    if stated.device.identity == ctx.me.identity:
        raise Forged("An introduction is in our own name: no contact has it.")
    try:
        secp256k1.verify(
            raw[STATEMENT_BYTES:], tagged_digest(LABEL, _material(pairing, stated)), stated.device.identity
        )
    except Forged:
        raise Forged("An introduction was not signed for this pairing.") from None
    return stated


def _material(pairing: Pairing, stated: Statement) -> bytes:
    _done(pairing)
    return pairing.split().h + stated.body


def _done(pairing: Pairing) -> bytes:
    remote = pairing.remote_static
    if remote is None:
        raise InvalidInput("Nobody is introduced before a pairing is done.")
    return remote
