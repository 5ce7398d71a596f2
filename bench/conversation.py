"""What is compared: two ends that talk, whoever made them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class End(Protocol):
    """One device's end of a session. What `seal` returns is passed to the other end as it is."""

    def seal(self, body: bytes) -> Any: ...

    def open(self, sealed: Any) -> bytes: ...

    def state(self) -> bytes:
        """What must be written so that the session survives a restart, in the library's own form."""
        ...


class Library(Protocol):
    """A library under comparison: its accounts are made once, its sessions as often as asked."""

    name: str

    def meet(self, body: bytes) -> tuple[End, End]:
        """A session from nothing but published keys, up to the first message opened at the other end."""
        ...


def settled(library: Library) -> tuple[End, End]:
    """Both ends have heard each other, so that what is special about first messages is over."""
    alice, bob = library.meet(b"how do you do")
    assert alice.open(bob.seal(b"and you")) == b"and you"
    assert bob.open(alice.seal(b"very well")) == b"very well"
    return alice, bob


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, without an event loop's price: no contestant is charged for one."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise RuntimeError("a coroutine that was to finish at once is waiting for something")
