"""How much of what a relay keeps came from whom, and whose goes first when it is too much. No I/O.

If the oldest of all went first, whoever fills a relay would empty it of everybody else's envelopes, which their senders
were told are stored. So what has the largest share gives way: a flood displaces itself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from heapq import heapify, heappop, heapreplace

from attrs import define, field

KEY_BYTES = 16


def share_of(site: str, key: bytes) -> int:
    """The number under which a site's envelopes are kept. Without the key it does not tell the site: nobody finds
    addresses in a relay's files, and a relay that starts again counts everybody anew.
    """
    digest = hashlib.blake2b(site.encode(errors="surrogatepass"), key=key, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@define
class Shares:
    """Envelopes and their bytes, in all and by share."""

    count: int = 0
    size: int = 0
    counts: Counter[int] = field(factory=Counter, repr=False)
    sizes: Counter[int] = field(factory=Counter, repr=False)

    def add(self, share: int, size: int, count: int = 1) -> None:
        self.count += count
        self.size += size
        self.counts[share] += count
        self.sizes[share] += size

    def remove(self, share: int, size: int) -> None:
        self.add(share, -size, -1)
        if self.counts[share] <= 0:
            self.forget(share)

    def forget(self, share: int) -> None:
        self.count -= self.counts.pop(share, 0)
        self.size -= self.sizes.pop(share, 0)

    def copy(self) -> Shares:
        return Shares(self.count, self.size, self.counts.copy(), self.sizes.copy())


def give_way(by: Counter[int], over: Callable[[], bool], drop_oldest_of: Callable[[int], None], most: int) -> int:
    """Drop one by one from the share that is the largest then, while there is too much; how many, at most `most`."""
    largest = [(-amount, share) for share, amount in by.items()]
    heapify(largest)
    dropped = 0
    while dropped < most and largest and over():
        share = largest[0][1]
        drop_oldest_of(share)
        dropped += 1
        if by[share] > 0:
            heapreplace(largest, (-by[share], share))
        else:
            heappop(largest)
    return dropped
