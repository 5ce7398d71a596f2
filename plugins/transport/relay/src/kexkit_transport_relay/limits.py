"""Every bound of the relay and of its client, with its reason. Sizes are bytes, times are seconds unless named."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from kexkit.errors import InvalidInput

KIB = 1024
MIB = 1024 * KIB
DAY = 24 * 60 * 60

# --- one message --------------------------------------------------------------------------------------------------

MAX_PAYLOAD: Final = MIB
"""what status-go configures for its own nodes; the public Waku network takes 150 KiB"""
MAX_TOPIC: Final = 256
"""UTF-8 bytes of a topic: Waku's content topics (/application/version/name/encoding) are about 30"""
MAX_CURSOR: Final = 64
"""a relay's cursor is 24 bytes; a longer one is another transport's and means: from the beginning"""
MAX_MESSAGE: Final = MAX_PAYLOAD + 4 * KIB
"""one WebSocket message: the largest envelope with its topic, cursor and numbers"""
WATCHES_PER_MESSAGE: Final = 256
"""topics that the client asks for in one message: at most 85 KiB, well under MAX_MESSAGE"""
MAX_REASON: Final = 200
"""characters of a refusal's sentence that a client shows"""

# --- what travels to a reader -------------------------------------------------------------------------------------

PAGE_COUNT: Final = 64
"""arrivals in one message: enough that a page costs less than its envelopes do"""
PAGE_BYTES: Final = 256 * KIB
"""and bytes: what the relay holds in memory for one reader, besides one envelope"""
ARRIVAL_COST: Final = 64
"""bytes charged for an arrival beside its payload, so that empty payloads are not free"""
WINDOW: Final = 2 * MIB
"""what the client grants the relay: its own memory for arrivals that nobody has read yet (and two envelopes more)"""
MAX_GRANT: Final = 16 * MIB
"""what a relay remembers of grants: a client that grants more gets no more"""
EPHEMERAL_COUNT: Final = 256
"""ephemeral envelopes that wait for one reader; the oldest go first, nobody was promised them"""
EPHEMERAL_BYTES: Final = MIB
"""and their bytes"""

# --- what waits to be stored --------------------------------------------------------------------------------------

IN_FLIGHT: Final = 256
"""publications that one client has under way; others wait in `publish`"""
PENDING_COUNT: Final = 512
"""unanswered publications of one connection at the relay; then it stops reading that connection until some are"""
PENDING_BYTES: Final = 4 * MIB
"""and their bytes: the same"""
PENDING_TOTAL: Final = 64 * MIB
"""bytes of all connections that wait for the disk; then it stops reading publishers. The server's memory"""
BATCH_COUNT: Final = 256
"""publications in one commit: from there on a commit's cost is that of its rows"""
BATCH_BYTES: Final = 4 * MIB
"""and bytes, so that one commit stays short"""
CONTROL_BYTES: Final = 64 * KIB
"""unsent answers to pings; who pings without reading the answers is cut off"""

# --- time ---------------------------------------------------------------------------------------------------------

HANDSHAKE_SECONDS: Final = 10.0
"""from connecting to the first message: bounds what a slow-loris holds"""
STALL_SECONDS: Final = 30.0
"""a connection that does not take CHUNK bytes in this time is dropped; its topics keep their place by cursor"""
CHUNK: Final = 64 * KIB
"""bytes handed to the socket at once, so that a slow but moving reader is told from a stalled one"""
SEND_BUFFER: Final = 256 * KIB
"""what the system may hold for one reader (Linux doubles it): without it a thousand stalled ones hold gigabytes, and
only every few megabytes tell that a slow one moves"""
PING_SECONDS: Final = 20.0
"""silence after which either side asks whether the other is there; under the 60 s of common proxies"""
SILENCE_SECONDS: Final = 60.0
"""silence after which the connection counts as dead: three pings"""
CLOSE_SECONDS: Final = 1.0
"""for a goodbye; then the connection is cut"""
HOUSEKEEPING_SECONDS: Final = 60.0
"""between two looks for envelopes that are too old or too many"""
CLOCK_SLACK: Final = 3600.0
"""seconds by which an envelope may seem to come from the future before the relay's clock counts as having been set
back: the search for all such reads the whole database once"""
EXPIRE_COUNT: Final = 500
"""envelopes deleted in one commit, so that publishers wait a few milliseconds at most"""


@frozen
class Pace:
    """How long one connection waits; tests make it short."""

    handshake: float = HANDSHAKE_SECONDS
    stall: float = STALL_SECONDS
    ping: float = PING_SECONDS
    silence: float = SILENCE_SECONDS


PACE = Pace()

# --- the client's patience ----------------------------------------------------------------------------------------

PATIENCE_SECONDS: Final = 5.0
"""for the relay's answer, connecting included; then `publish` raises and core keeps the envelope in its outbox"""
CONNECT_SECONDS: Final = 10.0
"""for one attempt: TCP, TLS, handshake and welcome"""
RETRY_FIRST: Final = 0.5
"""the first pause after a lost connection, and the shortest between two attempts; like all, drawn between half and
whole"""
RETRY_MOST: Final = 30.0
"""the longest: a thousand clients of a restarted relay come back over half a minute"""
STEADY_SECONDS: Final = 5.0
"""a connection that lasted this long starts the pauses anew"""

# --- who may store how much ---------------------------------------------------------------------------------------

HANDSHAKES_BEYOND: Final = 64
"""connections over `Quotas.connections` that are told so; any further ones are cut off unheard"""
MAX_ADDRESSES: Final = 10_000
"""source addresses remembered, and as many /48s; the ones whose window ends first are forgotten"""
STORED_COST: Final = KIB
"""bytes charged at least for what an address stores: an envelope costs two rows and four entries of indexes, and a
payload of nothing must not be nearly free"""
SITE_SHARE: Final = 2
"""times what one address may do, for all of an IPv6 /48: a customer may have been given 65,536 addresses (RFC 6177),
and a mobile network may serve many people from one"""


def _positive(owner: object, attribute: object, number: float) -> None:
    if not number > 0:
        raise InvalidInput(f"A limit of a relay must be above zero, not {number}.")


def _fits_a_message(owner: object, attribute: object, number: int) -> None:
    _positive(owner, attribute, number)
    if number > MAX_PAYLOAD:
        raise InvalidInput(f"A relay's messages carry payloads of at most {MAX_PAYLOAD} bytes, not {number}.")


@frozen
class Quotas:
    """What one relay allows. The defaults suit a small relay on the open Internet, or two people on one desk."""

    max_payload: int = field(default=MAX_PAYLOAD, validator=_fits_a_message)
    """bytes of an envelope's payload; above it the refusal is final"""
    topics: int = field(default=4096, validator=_positive)
    """topics watched on one connection: some three a contact, for over a thousand contacts"""
    address_topics: int = field(default=32_768, validator=_positive)
    """topics watched from one source address, on all its connections: eight full ones; about 20 MB of the relay's"""
    watches: int = field(default=500_000, validator=_positive)
    """topics watched in all: the relay's memory, some 300 MB"""
    publish_rate: float = field(default=200.0, validator=_positive)
    """publications a second on one connection, on average"""
    publish_burst: int = field(default=1000, validator=_positive)
    """publications at once: a message to a group of hundreds"""
    address_bytes: int = field(default=256 * MIB, validator=_positive)
    """bytes that one source address may store in a window; IPv6 counts by /64, and by /48 with SITE_SHARE times that"""
    address_count: int = field(default=50_000, validator=_positive)
    """envelopes that one source address may store in a window: a twentieth of `keep_count`, 14 a second"""
    address_window: float = field(default=3600.0, validator=_positive)
    """the window"""
    address_connections: int = field(default=128, validator=_positive)
    """connections from one source address: an office behind one router"""
    connections: int = field(default=1000, validator=_positive)
    """connections in all: about the 1024 open files that most systems allow a process"""
    keep_seconds: float = field(default=30.0 * DAY, validator=_positive)
    """the age at which an envelope is deleted: Status keeps messages for 30 days"""
    keep_bytes: int = field(default=1024 * MIB, validator=_positive)
    """bytes stored in all; above it the oldest of who stored most go"""
    keep_count: int = field(default=1_000_000, validator=_positive)
    """envelopes stored in all; above it the oldest of who stored most go"""
