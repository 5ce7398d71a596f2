"""Every object of kexkit's that hangs on some roots, and what a pickle of one would write."""

from __future__ import annotations

import gc
import pickle
import pickletools
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

OURS = "kexkit"
NOT_FOLLOWED = ("tests", "_pytest", "pytest", "pluggy", "hypothesis")
"""A test's own objects know every secret, and that is what they are for."""


def reachable(*roots: object) -> Iterator[object]:
    """All instances of our classes below the roots: in fields, containers, closures, frames of what is under way."""
    rest, done = [*roots], dict[int, object]()
    while rest:
        one = rest.pop()
        if id(one) in done or isinstance(one, ModuleType | type | CodeType):
            continue
        done[id(one)] = one  # kept, so that no other object gets its id
        module = type(one).__module__
        if module.split(".")[0] in NOT_FOLLOWED:
            continue
        if module.startswith(OURS):
            yield one
        if isinstance(one, FunctionType):  # not its globals: they lead to everything
            rest += [one.__closure__, one.__defaults__, one.__kwdefaults__]
        else:
            rest += gc.get_referents(one)


def pickles(one: object) -> Iterator[str]:
    """What each protocol writes, as text in which bytes stand as latin-1. Nothing: it refuses."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            written = pickle.dumps(one, protocol)
        except Exception:  # whoever refuses has written nothing
            continue
        parts = (content for _, content, _ in pickletools.genops(written) if content is not None)
        yield "\n".join(part.decode("latin-1") if isinstance(part, bytes | bytearray) else str(part) for part in parts)
