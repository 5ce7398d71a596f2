"""Who may be called what: the grammar of names, and the mechanisms whose names need no domain.

A mechanism's name is on the wire and selects cryptography, so it is compared byte by byte and never guessed: `x3dh/2`
is unrelated to `x3dh/1`. `docs/mechanisms.md` is this table for people; a test keeps the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

NAME_LENGTH: Final = 80
"""bytes of a mechanism's name: it stands in every offer and frame, and its length there is one byte"""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}(@[a-z0-9.-]{3,60})?/[1-9][0-9]{0,2}")
_SHORT_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")


@frozen
class Registered:
    """A name of this project's own."""

    name: str
    plugin: str
    reference: str


def _noise(pattern: str) -> tuple[Registered, Registered]:
    return (
        Registered(f"healing-noise-{pattern}/1", "kexkit-noise", f"Noise {pattern.upper()}, then a Double Ratchet"),
        Registered(f"noise-{pattern}/1", "kexkit-noise", f"Noise {pattern.upper()} as Waku's specification 35 uses it"),
    )


REGISTRY: Final = (
    Registered("x3dh/1", "kexkit-x3dh", "Status's specifications 53 and 54"),
    Registered("x3dh-opk/1", "kexkit-x3dh", "X3DH with one-time prekeys"),
    Registered("pqxdh/1", "kexkit-x3dh", "X3DH with a post-quantum key encapsulation"),
    *(entry for pattern in ("xk1", "xx", "k1k1", "xxpsk0") for entry in _noise(pattern)),
)
_OURS: Final = frozenset(entry.name for entry in REGISTRY)

PREFERENCE: Final = ("healing-noise-xk1/1", "x3dh/1", "noise-xk1/1", "noise-xx/1")
"""What an application that says nothing else prefers, best first: what heals and hides who begins, then what reaches a
device that is offline, then what does not heal"""


def in_preference(names: Iterable[str]) -> tuple[str, ...]:
    """The same names: ours of PREFERENCE in its order, whatever plugins they came with, and each other in its place."""
    given = tuple(names)
    ranked = iter(sorted((name for name in given if name in PREFERENCE), key=PREFERENCE.index))
    return tuple(next(ranked) if name in PREFERENCE else name for name in given)


def mechanism_problem(name: object) -> str | None:
    """What is wrong with a mechanism's name; None: nothing."""
    if not isinstance(name, str):
        return f"a mechanism's name is a string, not {type(name).__name__}"
    if len(name) > NAME_LENGTH:
        return f"the name of a mechanism has at most {NAME_LENGTH} characters, this one {len(name)}"
    if not _NAME.fullmatch(name):
        return f"{name!r} is not the name of a mechanism: it looks like 'psk@example.org/1'"
    if "@" not in name and name not in _OURS:
        return f"{name!r} is not in kexkit's registry: name it after a domain of yours, '{_qualified(name)}'"
    return None


def _qualified(name: str) -> str:
    stem, version = name.split("/")
    return f"{stem}@example.org/{version}"


def short_name_problem(name: object) -> str | None:
    """What is wrong with the name of a store, a transport or a command; None: nothing."""
    if not isinstance(name, str) or not _SHORT_NAME.fullmatch(name):
        return f"{name!r} is not a name: lower-case letters, digits and '-', a letter first, at most 32"
    return None
