"""Which key exchange two devices use: pure decisions, told apart from the rows in which they are remembered.

    choose    both ends compute it from both lists: neither can be talked into less by whoever edits one of them
    judge     the responder's answer to the initiator's confirmation
    answered  what the initiator makes of that answer
    weaker    whether a choice gives less than the best session ever did

The claim: if a session is open at an honest end whose peer is honest, its mechanism is `choose` of what both really
allow, whatever the network did to the offers on their way. `tests/attacks/negotiation_model.py` explores that.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

from attrs import frozen

from kexkit._wire.confirms import Ruling
from kexkit.api import Guarantee

BARE: Final = ("x3dh/1",)
"""What a device offers that makes no offers: Status's own key exchange"""

FLOOR: Final = (
    Guarantee.SECRET | Guarantee.FROM_PEER | Guarantee.TO_PEER | Guarantee.FORWARD_SECRECY | Guarantee.POST_COMPROMISE
)
"""The guarantees of which less is a downgrade. The others are conveniences, or matter only while a session begins."""


class Confirming(IntEnum):
    """Where the two confirmations of a session stand. Stored as its number: never renumber."""

    SETTLED = 0
    """nothing is attached any more"""
    ASKING = 1
    """we began it: our confirmation is in every payload until they answer"""
    EXPECTING = 2
    """they began it: their first payload decides"""
    ANSWERING = 3
    """our answer is in every payload until one of theirs comes without a confirmation"""


@lru_cache(maxsize=256)  # pairs of lists: as many as there are kinds of device
def choose(initiator: tuple[str, ...], responder: tuple[str, ...]) -> str | None:
    """The name with the least (worse rank, sum of ranks, bytes); ranks count names that both have. None: no such name.

    Symmetric, best for both as far as both can have it, and unmoved by names that only one end knows.
    """
    mine = [name for name in initiator if name in responder]
    theirs = [name for name in responder if name in initiator]
    if not mine:
        return None

    def cost(name: str) -> tuple[int, int, bytes]:
        one, other = mine.index(name), theirs.index(name)
        return max(one, other), one + other, name.encode()

    return min(mine, key=cost)


def weaker(guarantees: Guarantee, floor: Guarantee) -> bool:
    """Does this give less than what was had before?"""
    return floor & FLOOR not in guarantees


def raised(floor: Guarantee, guarantees: Guarantee) -> Guarantee:
    """What is pinned once a session with these guarantees is open: the better of the two, if one is."""
    reached = guarantees & FLOOR
    return reached if floor & FLOOR in reached else floor


@frozen
class Claim:
    """What an initiator's confirmation says of the choice."""

    name: str
    """the mechanism that it believes in, which is also the session's"""
    effective: tuple[str, ...]
    """what it allows for us, in order: its own offer without what the mask leaves out"""
    answers: bytes
    """D of the offer of ours that it saw, or that of a device without one"""


@frozen
class Stand:
    """What the responder knows."""

    mechanism: str
    """the session's"""
    current: tuple[str, ...]
    """what we offer now, in order"""
    current_digest: bytes
    issued: frozenset[bytes]
    """D of each offer of ours that is still answered, and of a device without one"""
    permitted: bool
    """does our own policy take this mechanism from this device?"""


def judge(claim: Claim, stand: Stand) -> Ruling:
    """Recomputed from what we offer *now*: that needs nothing that came through the network."""
    best = choose(claim.effective, stand.current)
    if claim.name != stand.mechanism or best != stand.mechanism:
        return Ruling.NOT_BEST if claim.answers == stand.current_digest else Ruling.STALE
    if claim.answers not in stand.issued:
        return Ruling.STALE
    return Ruling.ACCEPTED if stand.permitted else Ruling.POLICY
