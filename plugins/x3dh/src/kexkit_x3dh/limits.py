"""Every bound of this distribution: its name, its reason, its source. Each has a test at one less, itself, one more."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import ge

_DAY_MS: Final = 24 * 3600 * 1000

# --- frames ----------------------------------------------------------------------------------------------------------

FRAME_BYTES: Final = 1024 * 1024
"""A frame cannot be larger than the payload that carries it; status-go's maximum message size is 1 MiB."""

BODY_BYTES: Final = FRAME_BYTES - 512
"""A body leaves room for headers (at most 157 bytes), initialisation vector and MAC (48), and the tags around them."""

INSTALLATION_BYTES: Final = 255
"""An installation id enters the session id behind a length of one byte. status-go's are UUIDs, 36 bytes."""

CHAIN_MESSAGES: Final = 2**32
"""Messages of one chain: their number is a uint32 on the wire."""

# --- bundles ---------------------------------------------------------------------------------------------------------

BUNDLE_BYTES: Final = 4096
"""A bundle: 110 bytes and 83 for each installation. It travels in every message."""

BUNDLE_INSTALLATIONS: Final = 16
"""Installations in a bundle. status-go lists its own and two more, and core keeps 16 devices of a person."""

SIBLINGS: Final = 2
"""Other installations of ours in our bundle: status-go activates 3 installations of a person."""

VERSION_MAX: Final = 999_999
"""A prekey's version grows by one a day. More than 6 digits could only be digits shifted from a neighbour."""

TIMESTAMP_DIGITS: Final = 19
"""Of a bundle's timestamp in nanoseconds: what makes the end of the signed text unambiguous, from 2001 to 2262."""

AHEAD_MS: Final = 120_000
"""How far a bundle's timestamp may lead our clock: status-go's two minutes for message clocks. Beyond it, a bundle
could make all its genuine successors look old."""

# --- time ------------------------------------------------------------------------------------------------------------

PREKEY_MS: Final = _DAY_MS
"""A signed prekey is published for 24 hours (status-go), then the next one is."""

PREKEY_GRACE_MS: Final = 7 * _DAY_MS
"""A replaced prekey still opens first messages for a week: what was sent to it while we or the sender were offline.
Then its private part goes, and with it the means to open recorded first messages (reliability A03, SG15)."""

ADVERT_MS: Final = 30 * _DAY_MS
"""A prekey starts sessions until 30 days after its bundle's timestamp, as long as store nodes and signed offers live.
A live device re-signs daily, so an older bundle is a device that is gone, or a relay that withholds the newer ones."""

PREKEY_END_MS: Final = PREKEY_MS + ADVERT_MS + PREKEY_GRACE_MS
"""The private part goes at this age even if no successor was made, because we were offline: nobody who keeps to
ADVERT_MS starts with it any more. Rows of seen openings live exactly as long."""

SKIPPED_MS: Final = 14 * _DAY_MS
"""A key kept for a message that has not arrived: two weeks is longer than a sender's retransmission goes on, and each
kept key is a text that a thief of the store could open."""

# --- skipped keys ----------------------------------------------------------------------------------------------------

GAP_KEYS: Final = 64
"""Skipped keys that are forgotten together: so many rows at most outlive their usefulness, and 2000 fill 32 records."""


@frozen
class Limits:
    """How far out of order a session follows. The defaults are status-go's (encryptor.go, at c72f4913)."""

    max_skip: int = field(default=1000, validator=ge(0))
    """messages left out at once, in the rest of the previous chain and in the current one separately"""
    max_keep: int = field(default=3000, validator=ge(1))
    """of all receiving keys made, used ones included, the newest so many less one stay usable"""
    max_stored: int = field(default=2000, validator=ge(0))
    """and the newest so many: whichever is less"""

    @property
    def window(self) -> int:
        """A skipped key is gone once this many receiving keys, its own included, have been made since."""
        return min(self.max_stored, self.max_keep - 1)


PRODUCTION: Final = Limits()
