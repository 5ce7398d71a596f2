"""Every bound of this distribution: its name, its reason, its source. Each has a test at one less, itself, one more.

A bound on what a peer may send is a promise about memory and time spent on strangers; a bound on what we send keeps us
inside what others accept. "negotiation 1.2" is that section of docs/protocols/negotiation.md.
"""

from __future__ import annotations

from typing import Final

# --- wire: what is read from and written to the network --------------------------------------------------------------

PAYLOAD_BYTES: Final = 1024 * 1024
"""A sealed payload, padding and all. status-go's maximum message size is 1 MiB, and its nodes drop larger ones."""

WAKU_MESSAGE_BYTES: Final = PAYLOAD_BYTES + 1024
"""A whole WakuMessage: the payload, its topic (256), meta (64) and tags, rounded up."""

CONTENT_TOPIC_CHARACTERS: Final = 256
"""A content topic. Ours have at most 40; foreign ones are short paths. Longer ones only cost index space."""

META_BYTES: Final = 64
"""WakuMessage.meta: 14/WAKU2-MESSAGE."""

TOPIC_NAME_BYTES: Final = 1024
"""The name behind a topic, hashed and fed to PBKDF2. Contact-code names have 145; chat names are typed by people."""

PROTOCOL_MESSAGE_BYTES: Final = PAYLOAD_BYTES
"""A ProtocolMessage cannot be larger than the payload that carries it."""

SLOTS: Final = 64
"""Installations addressed by one message. status-go targets 3 a person (plus 'none'); 64 leaves room, not a scan."""

BUNDLES: Final = 4
"""Bundles in one message. status-go attaches one; each costs a signature check."""

OFFERS: Final = 3
"""Offers in one message or contact code: its own installation's and two siblings' (negotiation 1.3)."""

FRAMES: Final = 64
"""Frames beside the map, as many as SLOTS for the same reason."""

INSTALLATION_BYTES: Final = 64
"""An installation id, in UTF-8. status-go uses 36 (a UUID as text) and checks nothing; it becomes part of row ids."""

MECHANISM_NAME_BYTES: Final = 80
"""A mechanism's name (negotiation 1.1)."""

APPLICATION_BYTES: Final = PAYLOAD_BYTES
"""A wrapped application message cannot be larger than the payload that carries it."""

DATA_SYNC_MESSAGES: Final = 1024
"""Messages in one data sync payload. status-go puts all that is due for a person into one, also after a long absence,
and repeats it until it is acknowledged, so a low bound would lose them all; each costs a signature check."""

DATA_SYNC_RECORDS: Final = 4096
"""Ids in one data sync payload, of any kind: 128 KiB of them. status-go sends one for each message it received."""

TEXT_CHARACTERS: Final = 4096
"""Code points of a chat text: status-go refuses more."""

CHAT_ID_CHARACTERS: Final = 512
"""A chat id. A group's is a UUID and a key, 169; a public chat's is its name."""

CHAT_NAME_CHARACTERS: Final = 256
"""Display and ENS names, and the id that is answered to: 66 characters at most in Status."""

CLOCK_AHEAD_MS: Final = 120_000
"""How far a message's clock may lead ours: status-go's rule. Beyond it a peer could push a chat's clock to its end."""

CLOCK_MAX: Final = 2**64 - 1
"""The chat clock is an unsigned 64-bit field."""

OFFER_BYTES: Final = 4096
"""A signed offer (negotiation 1.2): it travels in every first message."""

OFFER_ENTRIES: Final = 16
"""Mechanisms in an offer (negotiation 1.2); the confirmation's mask has 16 bits."""

OFFER_SIBLINGS: Final = 2
"""Other devices of the same person in an offer: status-go activates 3 installations a person."""

OFFER_EXTENSIONS: Final = 8
"""Extensions in an offer (negotiation 1.2)."""

OFFER_SEQUENCE_MAX: Final = 2**63 - 1
"""Sequence numbers stay positive in stores with signed integers (negotiation 1.2)."""

OFFER_LIFETIME_S: Final = 30 * 24 * 3600
"""The longest life of an offer (negotiation 1.2): how long a thief of an old signed key set may use it."""

OFFER_AHEAD_S: Final = 120
"""How far an offer's start may lead our clock: the same two minutes as for messages."""

CONFIRM_BYTES: Final = 12_402
"""A confirmation or the answer to one (negotiation 1.6): the answer's 108 fixed bytes and three largest offers."""

CONFIRM_VIEWS: Final = 3
"""Devices of the other person that a confirmation tells of (negotiation 1.6): as many as one sends to."""

VERDICT_OFFERS: Final = 3
"""Offers in the answer to a confirmation (negotiation 1.6): as many as in a message."""

CONTACT_CODE_CHARACTERS: Final = 64 * 1024
"""A contact code as text. Three largest offers in base64 twice are 22 KiB, a bundle of 64 devices 15 KiB."""

CONTACT_CODE_BUNDLES: Final = 1
"""A contact code *is* one Status bundle (54/WAKU2-X3DH-SESSIONS), which lists all devices by itself."""

QR_BYTES: Final = 800
"""What goes into a QR code before its text form: still read by a phone from a screen (negotiation 1.3)."""

# --- engine: what is kept of people, sessions and frames -------------------------------------------------------------

WANTS_ROUNDS: Final = 4
"""How often a plugin may ask for rows in one step. Parse, key, seen-set, skipped key: no real one needs more."""

DRAWER_ID_BYTES: Final = 150
"""A drawer row's id. Stores take ids of 240; a timer for the row adds 9, the mechanism's name at most 81."""

DEVICES_PER_PEER: Final = 16
"""Devices remembered of one person. A flood of invented ones then displaces none that is in use (A26)."""

TARGETS: Final = 3
"""Devices of one person that a message is sealed for: status-go's number of active installations."""

SESSIONS_PER_DEVICE: Final = 8
"""Sessions kept with one device over one mechanism: two that crossed, of each of the last four days. A status-go device
begins anew every day, and so do we; with 4, letters that came two days late found their session displaced."""

DEVICE_DORMANT_MS: Final = 3 * 24 * 3600 * 1000
"""A device that has published nothing for so long may give its place to a new one. Live ones publish daily."""

STRANGERS: Final = 256
"""People kept who wrote and whom nobody has added. Each costs rows and topics; whoever has more can add some."""

HALF_OPEN: Final = 64
"""Sessions accepted from openings that do not say who sent them. Each costs a stranger one message, and us a row. When
there are more, the oldest goes: who wants to keep others out must go on flooding."""

HALF_OPEN_MS: Final = 30 * 24 * 3600 * 1000
"""How long such a session may take to prove its peer: as long as store nodes keep messages. Texts may be sealed behind
the flight that proves it, and would be lost with it."""

OVERDUE_MS: Final = 3600 * 1000
"""How late a session's timer may be before texts wait for it. A device that was asleep for months must not seal in what
the peer has long forgotten; a timer that is a moment late shall hold nothing up."""

BARE_TAG_BYTES: Final = 16
"""A BARE frame starts with its tag (PayloadV2's message nametag)."""

FLUSH_BATCH: Final = 64
"""Waiting texts sealed in one change set: a commit of bounded size; the rest follow by a timer at once."""

KEPT_ASIDE_MS: Final = 30 * 24 * 3600 * 1000
"""How long a text that other devices of a person have is kept for one that is left out: a month, as unreadable frames
are. In that time a sleeping device wakes, or a person decides; one that never comes costs no more than that."""

HELD_PER_PEER: Final = 64
"""Unreadable frames kept for a retry per person. Each is at most an envelope, and only a signed sender's are kept."""

HELD_BYTES: Final = 64 * 1024
"""The largest frame that is held: texts are a few KB. A larger one leaves its placeholder alone."""

HELD_MS: Final = 30 * 24 * 3600 * 1000
"""How long they are kept: the month for which status-go keeps what it cannot read. The placeholder stays."""

PURGE_BATCH: Final = 256
"""Rows of an ended session, or of an old day, deleted in one change set."""

SEEN_DAYS: Final = 30
"""How long the hash of a seen envelope is kept: the month for which status-go keeps its own. Later copies are still
refused by the session they belong to."""

TIMER_RETRY_MS: Final = 3600 * 1000
"""When a timer whose work failed comes again: a plugin's bug is not worth more of our time than that."""

OWN_OFFER_LIFETIME_MS: Final = 14 * 24 * 3600 * 1000
"""How long an offer that we sign is good; it is renewed at half of that (negotiation 1.2)."""

OWN_OFFERS: Final = 64
"""Offers of our own that openings may still answer (negotiation 1.2). The oldest goes first."""

OWN_OFFER_GRACE_MS: Final = 2 * 24 * 3600 * 1000
"""How long after its end an offer of ours is still answered: a weekend in a store node (negotiation 1.2)."""

PROVISIONAL_TEXTS: Final = 20
"""Texts sealed in a session whose choice the peer has not confirmed (negotiation 1.6)."""

PROVISIONAL_MS: Final = 48 * 3600 * 1000
"""For how long (negotiation 1.6). A relay that swallows every refusal gains no more than that."""

CONFIRM_AGAIN_MS: Final = 600_000
"""When a confirmation that was not answered is sent again; then after twice as long, and so on."""

ANSWER_AGAIN_MS: Final = 30_000
"""The answer to a confirmation that comes again is given again, but not more often: copies cost nothing."""

ATTEMPTS: Final = 5
"""Beginnings with one device that may fail before we stop trying (negotiation 1.7)."""

ATTEMPT_AGAIN_MS: Final = 60_000
"""When a beginning that failed is tried again; then after five times as long, and so on, up to a day."""

QUIET_MS: Final = 7 * 24 * 3600 * 1000
"""A session that another one replaced opens what still comes until it was quiet for so long (negotiation 1.7)."""

RESTING_MS: Final = 30 * 24 * 3600 * 1000
"""Then it goes, however much comes in it (negotiation 1.7). One that a newer key of the peer outdated goes when it was
quiet for so long: store nodes may still keep what was sealed in it, but no longer."""

WITHHELD_PER_PEER: Final = 64
"""Texts kept that came over a refused session, as many as unreadable frames."""

OFFER_CHECKS: Final = 10
"""Offers in clear that may cost a signature check at once (negotiation 1.3); who they speak for is not proven."""

OFFER_CHECK_MS: Final = 60_000
"""After so long one more may."""

ALLOWANCES: Final = 1024
"""People for whom the above is remembered, in memory; then the one longest silent starts afresh."""

ADVERTISE_EVERY_MS: Final = 6 * 3600 * 1000
"""How often our bundle goes to our contact-code topic: status-go's 21,600 s."""

ADVERTISE_AGAIN_MS: Final = 600_000
"""How soon again, when so many answer an outdated offer that not each can be told: one for all, 144 a day at most."""

# --- shell: what is in memory, and how long things wait --------------------------------------------------------------

BATCH: Final = 64
"""Operations that share one commit. More would make the first of them wait for the last."""

ROWS_CACHED: Final = 4096
"""Rows of people and chats kept in memory: about 4 MB at 1 KB each."""

SESSIONS_CACHED: Final = 1024
"""Live sessions kept in memory, at about 1.5 KB each; the others are restored when needed."""

CONFLICT_RETRIES: Final = 3
"""How often an operation is worked out again when a row it relied on moved. With one process, it never moves."""

EVENTS_KEPT: Final = 1000
"""Told-once events kept for a slow application; then the oldest go, counted. Durable ones stay in the store."""

INBOX_PAGE: Final = 64
"""Durable events read from the store at once."""

PUBLISH_WINDOW: Final = 8
"""Envelopes on their way to the transport at once."""

OUTBOX_PAGE: Final = 64
"""Outbox rows read at once when a node opens with a backlog."""

CONFIRM_LAG_S: Final = 0.05
"""How long 'the network has it' may wait for another commit to ride on. A crash meanwhile only repeats an envelope."""

BACKOFF_FIRST_S: Final = 0.5
BACKOFF_LAST_S: Final = 60.0
"""How soon a failed publication is tried again: at first, and at most."""

WATCH_CHUNK: Final = 256
"""Topics asked for at once: what a transport refuses, it refuses of so many at most."""

CLOCK_BACK_MS: Final = 120_000
"""A clock that is set back further while the node runs has what was planned by it looked at anew. Two minutes are what
clocks may differ by everywhere else."""

SLEEP_LONGEST_S: Final = 60.0
"""The timekeeper looks at the clock at least this often, so that a clock that was set is noticed."""

RECENT_ENVELOPES: Final = 512
"""Hashes of envelopes that we published, so that their echo on a shared topic costs nothing."""

CLOSE_GRACE_S: Final = 2.0
"""How long closing waits for envelopes on their way. What has not left by then leaves at the next start."""
