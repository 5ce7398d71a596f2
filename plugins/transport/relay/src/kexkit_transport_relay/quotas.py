"""Who may do how much: plain counters that are told the time."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from functools import lru_cache

from attrs import define, field

from kexkit_transport_relay.limits import ARRIVAL_COST, MAX_ADDRESSES, SITE_SHARE, STORED_COST, Quotas

SITE_PREFIX = 48
"""the most that an IPv6 customer is given as a rule (RFC 6177)"""


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


@lru_cache(maxsize=1024)
def site_of(source: str) -> str:
    """The /48 around an IPv6 source; any other source is a site of its own."""
    if not source.endswith("/64"):
        return source
    return str(ipaddress.IPv6Network(source).supernet(new_prefix=SITE_PREFIX))


def charge_of(payload: int) -> int:
    """What an address is charged for storing a payload of so many bytes."""
    return max(payload + ARRIVAL_COST, STORED_COST)


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
    size: int = 0
    count: int = 0


@define
class _Windows:
    """What was stored by whom lately; at most MAX_ADDRESSES of them."""

    _windows: OrderedDict[str, _Window] = field(factory=OrderedDict)

    def of(self, name: str, now: float, length: float) -> _Window:
        window = self._windows.get(name)
        if window is None or now >= window.ends:
            self._windows.pop(name, None)
            window = self._windows[name] = _Window(now + length)
            while len(self._windows) > MAX_ADDRESSES:
                self._windows.popitem(last=False)
        return window


@define
class Sources:
    """Connections, watched topics and stored bytes by source, and by the site around it, which may do SITE_SHARE times
    as much. Sites have windows of their own, so that none gets rid of it by using many sources.
    """

    quotas: Quotas
    connections: int = 0
    watches: int = 0
    _open: Counter[str] = field(factory=Counter)
    _watching: Counter[str] = field(factory=Counter)
    _windows: _Windows = field(factory=_Windows)
    _site_windows: _Windows = field(factory=_Windows)

    def enter(self, source: str) -> str | None:
        """None: admitted, to be given back by `leave`; otherwise why not."""
        if self.connections >= self.quotas.connections:
            return f"This relay serves {self.quotas.connections} connections and is full."
        if _used_up(self._open, source, self.quotas.address_connections):
            return f"This relay allows {self.quotas.address_connections} connections from one address."
        self.connections += 1
        self._open.update(_names(source))
        return None

    def leave(self, source: str) -> None:
        self.connections -= 1
        _give_back(self._open, source)

    def watch(self, source: str) -> str | None:
        """None: granted, to be given back by `unwatch`; otherwise why not."""
        if self.watches >= self.quotas.watches:
            return f"This relay watches {self.quotas.watches} topics and is full."
        if _used_up(self._watching, source, self.quotas.address_topics):
            return f"This relay lets one address watch {self.quotas.address_topics} topics."
        self.watches += 1
        self._watching.update(_names(source))
        return None

    def unwatch(self, source: str) -> None:
        self.watches -= 1
        _give_back(self._watching, source)

    def store(self, source: str, payload: int, now: float) -> float:
        """0.0: granted and charged; otherwise the seconds until the source may store again."""
        quotas, size = self.quotas, charge_of(payload)
        site, length = site_of(source), quotas.address_window
        asked = [(self._site_windows.of(site, now, length), _share(source))]
        if site != source:
            asked.append((self._windows.of(source, now, length), 1))
        wait = 0.0
        for window, share in asked:
            if window.size + size > quotas.address_bytes * share or window.count >= quotas.address_count * share:
                wait = max(wait, window.ends - now)
        if not wait:
            for window, _ in asked:
                window.size += size
                window.count += 1
        return wait


def _names(source: str) -> set[str]:
    """Those by whom a source is counted."""
    return {source, site_of(source)}


def _share(source: str) -> int:
    """Times what one address may do, for the site around it."""
    return 1 if site_of(source) == source else SITE_SHARE


def _used_up(counter: Counter[str], source: str, limit: int) -> bool:
    return counter[source] >= limit or counter[site_of(source)] >= limit * _share(source)


def _give_back(counter: Counter[str], source: str) -> None:
    counter.subtract(_names(source))
    for name in _names(source):
        if not counter[name]:
            del counter[name]
