"""Who may do how much: plain counters that are told the time."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict

from attrs import define, field

from kexkit_transport_relay.limits import MAX_ADDRESSES, Quotas


def source_of(address: str) -> str:
    """What is counted as one source: an IPv4 address, or the /64 that one IPv6 customer usually has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


@define
class TokenBucket:
    """`rate` a second, `burst` at once."""

    rate: float
    burst: int
    then: float
    """when `tokens` was right"""
    tokens: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = float(self.burst)

    def take(self, now: float) -> float:
        """0.0: granted; otherwise the seconds until the next one is."""
        self.tokens = min(float(self.burst), self.tokens + max(0.0, now - self.then) * self.rate)
        self.then = now
        if self.tokens >= 1.0:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate


@define
class _Window:
    ends: float
    stored: int = 0


@define
class Sources:
    """Connections and stored bytes by source. Remembers at most MAX_ADDRESSES sources that have no connection."""

    quotas: Quotas
    connections: int = 0
    watches: int = 0
    _open: dict[str, int] = field(factory=dict)
    _watching: Counter[str] = field(factory=Counter)
    _windows: OrderedDict[str, _Window] = field(factory=OrderedDict)

    def enter(self, source: str) -> str | None:
        """None: admitted, to be given back by `leave`; otherwise why not."""
        if self.connections >= self.quotas.connections:
            return f"This relay serves {self.quotas.connections} connections and is full."
        if self._open.get(source, 0) >= self.quotas.address_connections:
            return f"This relay allows {self.quotas.address_connections} connections from one address."
        self.connections += 1
        self._open[source] = self._open.get(source, 0) + 1
        return None

    def leave(self, source: str) -> None:
        self.connections -= 1
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]

    def watch(self, source: str) -> str | None:
        """None: granted, to be given back by `unwatch`; otherwise why not."""
        if self.watches >= self.quotas.watches:
            return f"This relay watches {self.quotas.watches} topics and is full."
        if self._watching[source] >= self.quotas.address_topics:
            return f"This relay lets one address watch {self.quotas.address_topics} topics."
        self.watches += 1
        self._watching[source] += 1
        return None

    def unwatch(self, source: str) -> None:
        self.watches -= 1
        self._watching[source] -= 1
        if not self._watching[source]:
            del self._watching[source]

    def store(self, source: str, size: int, now: float) -> float:
        """0.0: granted and charged; otherwise the seconds until the source's window ends."""
        window = self._windows.get(source)
        if window is None or now >= window.ends:
            self._windows.pop(source, None)
            window = self._windows[source] = _Window(now + self.quotas.address_window)
            while len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)
        if window.stored + size > self.quotas.address_bytes:
            return window.ends - now
        window.stored += size
        return 0.0
