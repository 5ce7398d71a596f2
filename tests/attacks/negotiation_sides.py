"""The two ends of a modelled negotiation, and the engine's own decisions about them."""

from __future__ import annotations

from functools import cache
from itertools import chain, combinations, permutations
from typing import NamedTuple, cast

from attrs import frozen
from kexkit import _records as records
from kexkit._engine.judging import _permitted
from kexkit._engine.negotiating import chosen, effective, may_begin
from kexkit._engine.requests import Moment
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Talk
from kexkit._negotiation import FLOOR, choose
from kexkit.api import Carriage, Device, Guarantee, KeyExchange
from kexkit.errors import LocalError, Refusal
from kexkit.policy import Policy

X, A, B = "x3dh/1", "alpha@example.org/1", "beta@example.org/1"
ALL = (X, A, B)
BINDING = frozenset({A, B})
OFFLINE = frozenset({X, B})
"""their first flight carries a text"""
LACKS = {X: Guarantee.TO_PEER, A: Guarantee.FORWARD_SECRECY, B: Guarantee.POST_COMPROMISE}
"""one guarantee for each, so that floors can forbid any set of them"""


@frozen
class Mechanism:
    """As much of a key exchange as decisions look at."""

    name: str
    carriage: Carriage
    guarantees: Guarantee


LOADED = {
    name: Mechanism(
        name,
        Carriage.SLOT if name == X else Carriage.FRAME if name in OFFLINE else Carriage.BARE,
        FLOOR & ~LACKS[name] | (Guarantee.BINDS if name in BINDING else Guarantee.NONE),
    )
    for name in ALL
}


@frozen
class Side:
    """One end: what it offers, best first, and what it forbids for the other. `names` is None: it makes no offers."""

    names: tuple[str, ...] | None
    forbids: frozenset[str] = frozenset()

    @property
    def setting(self) -> Setting:
        return _setting(self.names or (X,))

    @property
    def device(self) -> records.PeerDevice:
        """The other end as this one remembers it: nothing yet but what was had before."""
        floor = Guarantee.NONE
        for name in self.forbids:
            floor |= LACKS[name]
        return records.PeerDevice(installation="other", floor=floor.value)


@cache
def _setting(names: tuple[str, ...]) -> Setting:
    policy = Policy(require=Guarantee.NONE)
    loaded = cast(tuple[KeyExchange, ...], tuple(LOADED[name] for name in names))  # so much of each is looked at
    return Setting(Device(bytes(33), "me"), loaded, policy)


def ordered_subsets() -> tuple[tuple[str, ...], ...]:
    return tuple(chain.from_iterable(permutations(ALL, size) for size in (1, 2, 3)))


def sides() -> tuple[Side, ...]:
    """All 79: every ordered list with every set of it forbidden, and the end that makes no offers."""
    found = [Side(None)]
    for names in ordered_subsets():
        for size in range(len(names) + 1):
            found += [Side(names, frozenset(forbidden)) for forbidden in combinations(names, size)]
    return tuple(found)


class View(NamedTuple):
    """What the initiator believes of the responder's offer."""

    digest: bytes
    names: tuple[str, ...]
    seq: int
    genuine: bool = True
    """the public bytes in it are the responder's"""


@cache
def permits(side: Side, name: str) -> bool:
    """The real question, of a real row."""
    talk = Talk(None, side.device, None, LOADED[name])  # type: ignore[arg-type]  # it looks at these two
    return _permitted(talk, side.setting)


@cache
def what_is_chosen(side: Side, view: View, gone: frozenset[str]) -> tuple[str | None, tuple[str, ...]]:
    """`chosen` and `may_begin` over a real row."""
    if side.names is None:
        return X, (X,)  # a device that makes no offers knows nothing of all this
    device = side.device
    if view.seq:
        device.offer_seq, device.offer_until, device.offered[:] = view.seq, 2**62, view.names
    asks = effective(device, side.setting)
    if gone:
        left = tuple(name for name in asks if name not in gone)
        return choose(left, view.names), left
    try:
        exchange = chosen(device, side.setting)
        may_begin(device, exchange, side.setting, _NOW)
    except (LocalError, Refusal):
        return None, asks
    return exchange.name, asks


_NOW = Moment(type("Now", (), {"now": 0})(), lambda: 0)
