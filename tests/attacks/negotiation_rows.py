"""What several of the attacks by number are made with.

Alice and Bob both have healing Noise and Status's own exchange, unless a test says otherwise, under the default policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from attrs import evolve
from kexkit.api import Envelope
from kexkit.contact import ContactCode
from kexkit.policy import Policy

from tests.attacks.man_in_the_middle import (
    HEALING,
    HOUR,
    SECOND,
    X3DH_NAME,
    Middle,
    a_middle,
    able,
)
from tests.world.mechanisms import Mechanism

BOTH = (HEALING, X3DH_NAME)
PAUSES = (SECOND, 61 * SECOND, 11 * 60 * SECOND, HOUR)


def two(
    ours: Policy | None = None, theirs: Policy | None = None, **others: Mechanism
) -> AbstractContextManager[Middle]:
    return a_middle(alice=able(*BOTH, policy=ours or Policy()), bob=able(*BOTH, policy=theirs or Policy()), **others)


def open_over(middle: Middle, who: str = "alice", whom: str = "bob") -> set[str]:
    return {*middle.mechanisms(who, whom), *middle.mechanisms(whom, who)}


def outdated_code(middle: Middle, before: Sequence[str], now: Sequence[str] = BOTH) -> ContactCode:
    """Bob's code from the time when he had other plugins."""
    policy = middle.bob.mechanism.policy
    middle.becomes("bob", able(*before, policy=policy))
    old = middle.bob.code()
    middle.becomes("bob", able(*now, policy=policy))
    return old


def talking(middle: Middle) -> None:
    """Both know each other, and have a session that both confirmed."""
    middle.adds("alice", "bob")
    middle.adds("bob", "alice")
    middle.says("alice", "bob", "hello")
    middle.says("bob", "alice", "hello back")
    assert open_over(middle) == {middle.best("alice", "bob")}


def stripping(middle: Middle) -> Callable[[str, Envelope], Sequence[Envelope]]:
    def hook(sender: str, envelope: Envelope) -> Sequence[Envelope]:
        message = middle.inside(envelope)
        if message is None:
            return [envelope]
        return [middle.remade(sender, "bob" if sender == "alice" else "alice", evolve(message, offers=()))]

    return hook
