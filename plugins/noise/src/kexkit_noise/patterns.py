"""The five handshakes that Waku's specifications 35 and 43 have, as data."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

MESSAGES: Final = 3
"""Of every one of them."""


class Pattern(Enum):
    """Noise name, Waku's protocol id, keys that each side knows before (initiator's first), and the messages' tokens.

    14 is in no specification, but in all implementations.
    """

    XX = ("XX", 12, "", "", ("e", "e ee s es", "s se"))
    XK1 = ("XK1", 11, "", "s", ("e", "e ee es", "s se"))
    K1K1 = ("K1K1", 10, "s", "s", ("e", "e ee es", "se"))
    XXPSK0 = ("XXpsk0", 13, "", "", ("psk e", "e ee s es", "s se"))
    WAKU_PAIRING = ("WakuPairing", 14, "", "e", ("e ee", "s es", "s se ss"))

    def __init__(self, short: str, protocol_id: int, initiators: str, responders: str, tokens: Sequence[str]) -> None:
        self.short: Final = short
        self.noise_name: Final = f"Noise_{short}_25519_ChaChaPoly_SHA256".encode("ascii")
        self.protocol_id: Final = protocol_id
        self.messages: Final = MESSAGES
        self.pre_messages: Final = (tuple(initiators.split()), tuple(responders.split()))
        self.tokens: Final = tuple(tuple(message.split()) for message in tokens)

    def __repr__(self) -> str:
        return str(self)


def _flags(pattern: Pattern) -> tuple[tuple[int, ...], ...]:
    """Of each message's keys: an ephemeral is clear, a static is sealed as soon as there is a key."""
    keyed, found = False, []
    for message in pattern.tokens:
        flags = []
        for word in message:
            if word in ("e", "s"):
                flags.append(int(keyed and word == "s"))
            else:
                keyed = True
        found.append(tuple(flags))
    return tuple(found)


def _held(pattern: Pattern, initiator: bool, step: int) -> tuple[str, ...]:
    """Which keys one side has after so many messages: this is what is stored, in this order."""
    said = set(pattern.pre_messages[0]), set(pattern.pre_messages[1])
    for index, message in enumerate(pattern.tokens[:step]):
        said[index % 2].update(message)
    ours, theirs = said if initiator else said[::-1]
    keyed = any(word not in ("e", "s") for message in pattern.tokens[:step] for word in message)
    done = step == MESSAGES
    holds = {
        "k": keyed and not done,
        "psk": "psk" in pattern.tokens[0] and step == 0,
        "s": not done,
        "e": "e" in ours,
        "rs": "s" in theirs,
        "re": "e" in theirs,
    }
    return tuple(name for name, there in holds.items() if there)


FLAGS: Final = {pattern: _flags(pattern) for pattern in Pattern}
HELD: Final = {
    (pattern, initiator, step): _held(pattern, initiator, step)
    for pattern in Pattern
    for initiator in (True, False)
    for step in range(MESSAGES + 1)
}
