"""Every bound of this plugin, with its reason."""

from __future__ import annotations

from typing import Final

from kexkit.limits import PAYLOAD_BYTES as PAYLOAD_BYTES  # what the network carries bounds a version-2 payload too

# --- wire ------------------------------------------------------------------------------------------------------------

FIELDS_BYTES: Final = 255
"""Keys of a handshake message: their length is one byte on the wire (35)."""

HANDSHAKE_PAYLOAD_BYTES: Final = 32 * 248 - 1
"""Payload of a handshake message: what fills 32 blocks of padding. Ours carry a key and a statement of 162 bytes; a
stranger's message 1 is read before anything is authentic. The Noise specification would allow 65535."""

# --- statements and statics ------------------------------------------------------------------------------------------

STATEMENT_LIFETIME_S: Final = 400 * 24 * 3600
"""The longest life of a statement about a static: how long a thief of an identity key's old signature may use it."""

STATEMENT_AHEAD_S: Final = 120
"""How far a statement's start may lead our clock: the two minutes that messages and offers have."""

STATIC_MS: Final = 180 * 24 * 3600 * 1000
"""A static is published for half a year. Forward secrecy comes from ephemeral keys, not from changing it; changing it
ends what a thief of the old one can do, and costs every peer a new handshake."""

STATIC_GRACE_MS: Final = 33 * 24 * 3600 * 1000
"""A static that was replaced still answers: offers that name it live at most 30 days, their makers keep them for two
more, and a day is for clocks."""

PIN_MS: Final = 90 * 24 * 3600 * 1000
"""How long a peer's last static is remembered: three lives of a session, so that whoever we talk to is never forgotten,
and what strangers make us remember is."""

# --- handshakes ------------------------------------------------------------------------------------------------------

HANDSHAKE_MS: Final = 48 * 3600 * 1000
"""How long an initiator waits, for message 2 and then to be heard: a weekend. Then it begins anew."""

ANSWERING_MS: Final = 30 * 24 * 3600 * 1000
"""How long a responder keeps what it needs to read message 3, and core what is half open: as long as store nodes keep
messages. The initiator seals as soon as message 3 is written, and those texts are lost if nobody can read it."""

RESEND_MS: Final = (30_000, 120_000, 600_000, 3_600_000, 21_600_000)
"""When a flight that nobody answered leaves again, counted from the last time; the last pause repeats until
HANDSHAKE_MS. The relay keeps flights, so this is for those that it lost."""

ANSWER_GAP_MS: Final = 20_000
"""A repeated first flight is answered again after this at the earliest: less than the shortest of RESEND_MS, and all
that whoever replays it can make us send."""

HINT_BYTES: Final = 4096
"""A hint that an offer is outdated holds one signed offer, which core limits to the same."""

# --- sessions -------------------------------------------------------------------------------------------------------

SESSION_LINGER_MS: Final = 30 * 24 * 3600 * 1000
"""A session that is worn out, or was ended, goes on receiving for as long as store nodes keep what was sent in it. Core
ends one that was ended sooner, once it was quiet for a week."""

GOODBYE_MS: Final = (60_000, 600_000, 3_600_000, 21_600_000, 86_400_000)
"""When a goodbye that was not answered is said again, counted from the last time; the last pause repeats. Whoever does
not read it writes into a session that is gone."""

GOODBYE_GAP_MS: Final = 20_000
"""A text that comes after our goodbye is answered with it again after this at the earliest, however many come."""

# --- plain sessions --------------------------------------------------------------------------------------------------

PLAIN_AHEAD: Final = 1000
"""How many messages of the peer's may be missing before the next one: its tags are looked for so far ahead. js-noise
keeps 50 tags and takes the first alone; ours is as far as a healing session follows."""

PLAIN_BEHIND: Final = 1024
"""How many places below the newest message are remembered, one bit each, and still open once: 128 bytes of state."""

PLAIN_MESSAGES: Final = 2**32 - 1
"""Messages of one direction: js-noise's counter ends here (nonce.ts), Noise's own at 2**64 - 1."""

# --- healing sessions ------------------------------------------------------------------------------------------------

CHAIN_MESSAGES: Final = 1000
"""Messages of one chain: so many go out without an answer, and none further on opens. Every bound on what one frame can
make us skip follows from it (reliability A43)."""

SESSION_MESSAGES: Final = 2**20
"""Messages sealed and opened after which a session seals no more: a new handshake ends an active thief's foothold."""

SESSION_MS: Final = 30 * 24 * 3600 * 1000
"""The age after which a session seals no more, for the same reason."""

SKIPPED_KEYS: Final = 2000
"""Keys kept for messages that have not arrived, of one session; the oldest go first. One turn leaves 1999 at most."""

SKIPPED_MS: Final = 14 * 24 * 3600 * 1000
"""How long: two weeks is longer than a sender goes on resending, and each kept key opens a text to a thief."""

SKIPPED_GROUP: Final = 32
"""Kept keys that are listed in one row, so that the oldest are found without a search: half a kilobyte."""

NEAR_TAGS: Final = 8
"""Places past the next at which a message is looked for one by one. Beyond them a list of marks of the whole chain is
made, once: it costs as much as a thousand tags, and from then on whoever knows the topic can make us do little work."""

# --- both ------------------------------------------------------------------------------------------------------------

BODY_BYTES: Final = PAYLOAD_BYTES - 512
"""A text leaves room for padding (up to 252 bytes with the count before it) and all that stands around it (103)."""

# --- pairing ---------------------------------------------------------------------------------------------------------

QR_CHARACTERS: Final = 1024
"""A QR code for pairing: 92 characters and three names. The largest QR code holds 2953 bytes and is hard to scan."""

PAIRING_MS: Final = 60_000
"""How long a shown or scanned QR code serves: js-noise's time-out. Specification 43 suggests 30 seconds."""

PAIRING_TRIES: Final = 1000
"""Frames with the right nametag that fit in nothing else. Each costs an agreement or two, 60 µs; whoever saw the QR
code can send them, so a few may not end a pairing."""
