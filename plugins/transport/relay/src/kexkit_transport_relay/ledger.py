"""The relay's store: envelopes by topic and sequence in SQLite, on the disk before `append` returns.

A cursor is (relay id, sequence in the topic, first bytes of that envelope's hash). The id tells another relay's cursor,
the sequence one from the future, the hash one of a history that a restored backup has forgotten: all three mean
"from the beginning", because an envelope twice is harmless and a skipped one is lost.

When there is too much, the oldest of the largest share go: see `shares`.

One connection writes, another reads. `append` and `expire` may run in a thread, one at a time; the rest is quick.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from attrs import field
from kexkit.api import Envelope, value
from kexkit.errors import TransportError

from kexkit_transport_relay.limits import ARRIVAL_COST, CLOCK_SLACK, EXPIRE_COUNT, Quotas
from kexkit_transport_relay.messages import RELAY_ID_BYTES
from kexkit_transport_relay.shares import KEY_BYTES, Shares, give_way, share_of

SCHEMA_VERSION = 2
SET_VERSION = "PRAGMA user_version = 2"
"""SCHEMA_VERSION again: a pragma takes no parameter, and no statement here is put together from values"""
ENVELOPES = (
    """CREATE TABLE envelope (
        id INTEGER PRIMARY KEY,
        topic INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        hash BLOB NOT NULL UNIQUE,
        received INTEGER NOT NULL,
        size INTEGER NOT NULL,
        share INTEGER NOT NULL,
        version INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        payload BLOB NOT NULL,
        UNIQUE (topic, sequence)
    )""",
    "CREATE INDEX envelope_share ON envelope (share, id, size)",
)
SCHEMA = (
    "CREATE TABLE relay (id BLOB NOT NULL, floor INTEGER NOT NULL)",
    "CREATE TABLE topic (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL)",
    *ENVELOPES,
)
FROM_VERSION_1 = (
    "ALTER TABLE envelope RENAME TO older",
    *ENVELOPES,
    "INSERT INTO envelope"
    " SELECT id, topic, sequence, hash, received, size, -topic, version, timestamp, payload FROM older",
    "DROP TABLE older",
)
"""Version 1 did not know from whom an envelope came: there each topic is a share. Other shares are above zero"""
DATABASE = "relay.db"
LOCK = "relay.lock"
CHECK_BYTES = 8
"""of an envelope's hash in a cursor: against mix-ups, not against enemies; a relay can lie about its own cursors"""


DAMAGE = (sqlite3.Error, TypeError, ValueError, OverflowError)
"""what a database raises, the others where a damaged row holds what no relay writes: a text for a number, say"""


class LedgerFailed(TransportError):
    """The relay's database failed. What was not acknowledged may or may not be stored."""


class LedgerUnusable(TransportError):
    """The relay's folder cannot be used."""


@value
class Kept:
    """An envelope as stored, without its topic."""

    sequence: int
    cursor: bytes
    payload: bytes = field(repr=False)
    version: int
    timestamp: int

    @property
    def cost(self) -> int:
        return len(self.payload) + ARRIVAL_COST


def envelope_hash(envelope: Envelope) -> bytes:
    """Equal for equal envelopes only: a publication sent twice is stored once."""
    digest = hashlib.sha256(b"kexkit-relay/1 envelope")
    topic = envelope.topic.encode()
    digest.update(len(topic).to_bytes(2, "big") + topic)
    digest.update(envelope.version.to_bytes(4, "big") + envelope.timestamp.to_bytes(8, "big", signed=True))
    digest.update(envelope.payload)
    return digest.digest()


class Ledger:
    def __init__(self, folder: Path, quotas: Quotas, *, clock: Callable[[], float]) -> None:
        self._folder, self._quotas, self._clock = folder, quotas, clock
        self._key = secrets.token_bytes(KEY_BYTES)
        self._shares = Shares()
        _own_folder(folder)
        self._connections = [_lock(folder / LOCK)]
        try:
            self._writer = self._connect()
            self._migrate()
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only = ON")
            self.relay_id = self._own_id()
            for share, size, count in self._reader.execute(
                "SELECT share, sum(size), count(*) FROM envelope GROUP BY share"
            ):
                self._shares.add(share, size, count)
        except (*DAMAGE, OSError) as error:
            self.close()
            raise LedgerUnusable(f"The relay's database in {folder} cannot be opened ({error}).") from None
        except TransportError:
            self.close()
            raise

    @property
    def count(self) -> int:
        return self._shares.count

    @property
    def stored_bytes(self) -> int:
        return self._shares.size

    def _connect(self) -> sqlite3.Connection:
        path = self._folder / DATABASE
        path.touch(mode=0o600)
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        self._connections.append(database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        return database

    def _own_id(self) -> bytes:
        rows = self._reader.execute("SELECT id FROM relay").fetchall()
        if len(rows) != 1 or type(rows[0][0]) is not bytes or len(rows[0][0]) != RELAY_ID_BYTES:
            raise ValueError("its own id is damaged")
        return bytes(rows[0][0])

    def _migrate(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise LedgerUnusable("The relay's database was written by a newer version.", advice="Upgrade the relay.")
        if version == SCHEMA_VERSION:
            return
        self._writer.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA if version == 0 else FROM_VERSION_1:
            self._writer.execute(statement)
        if version == 0:
            self._writer.execute("INSERT INTO relay VALUES (?, 0)", (secrets.token_bytes(RELAY_ID_BYTES),))
        self._writer.execute(SET_VERSION)
        self._writer.execute("COMMIT")

    # --- writing ---

    def append(self, envelopes: Sequence[Envelope], sites: Sequence[str] = ()) -> list[bool]:
        """Store them in one commit, each for the site it came from; those without one are of one site together.
        False: was here already. On LedgerFailed perhaps none is, perhaps all are.
        """
        now = int(self._clock() * 1000)
        shares = [share_of(site, self._key) for site in sites or [""] * len(envelopes)]
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            fresh = [self._insert(one, share, now) for one, share in zip(envelopes, shares, strict=True)]
            self._writer.execute("COMMIT")
        except DAMAGE as error:
            self._give_up(error)
        for one, share, new in zip(envelopes, shares, fresh, strict=True):
            if new:
                self._shares.add(share, _size(one))
        return fresh

    def _insert(self, envelope: Envelope, share: int, now: int) -> bool:
        run, digest = self._writer.execute, envelope_hash(envelope)
        if run("SELECT 1 FROM envelope WHERE hash = ?", (digest,)).fetchone():
            return False
        found = run("SELECT id, last FROM topic WHERE name = ?", (envelope.topic,)).fetchone()
        if found is None:
            (floor,) = run("SELECT floor FROM relay").fetchone()
            found = run("INSERT INTO topic (name, last) VALUES (?, ?)", (envelope.topic, floor)).lastrowid, floor
        topic, sequence, size = found[0], found[1] + 1, _size(envelope)
        row = (topic, sequence, digest, now, size, share, envelope.version, envelope.timestamp, envelope.payload)
        run(
            "INSERT INTO envelope (topic, sequence, hash, received, size, share, version, timestamp, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        run("UPDATE topic SET last = ? WHERE id = ?", (sequence, topic))
        return True

    def expire(self) -> bool:
        """Delete what is too old, then what is too much, at most EXPIRE_COUNT; True when there may be more."""
        shares = self._shares.copy()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            topics = self._drop_old(shares)
            topics |= self._drop_excess(shares, EXPIRE_COUNT - (self.count - shares.count))
            for topic in topics:
                self._forget_if_empty(topic)
            self._writer.execute("COMMIT")
        except DAMAGE as error:
            self._give_up(error)
        more = self.count - shares.count == EXPIRE_COUNT
        self._shares = shares
        return more

    def _drop_old(self, shares: Shares) -> set[int]:
        """In order of storing, up to the first that is not too old. The topics they were of.

        What came while the clock was ahead would keep all behind it for as long: its time begins again.
        """
        now = self._clock()
        cutoff, last = int((now - self._quotas.keep_seconds) * 1000), 0
        topics: set[int] = set()
        for number, topic, size, share, received in self._writer.execute(
            "SELECT id, topic, size, share, received FROM envelope ORDER BY id LIMIT ?", (EXPIRE_COUNT,)
        ).fetchall():
            if received > cutoff:
                if received > (now + CLOCK_SLACK) * 1000:
                    ahead = int(now * 1000)
                    self._writer.execute("UPDATE envelope SET received = ? WHERE received > ?", (ahead, ahead))
                break
            last = number
            topics.add(topic)
            shares.remove(share, size)
        self._writer.execute("DELETE FROM envelope WHERE id <= ?", (last,))
        return topics

    def _drop_excess(self, shares: Shares, most: int) -> set[int]:
        """From the largest shares. The topics they were of."""
        run, quotas = self._writer.execute, self._quotas
        topics: set[int] = set()

        def drop_oldest_of(share: int) -> None:
            found = run("SELECT id, topic, size FROM envelope WHERE share = ? ORDER BY id LIMIT 1", (share,)).fetchone()
            if found is None:  # a commit that failed was perhaps one after all: the database is right
                shares.forget(share)
                return
            number, topic, size = found
            run("DELETE FROM envelope WHERE id = ?", (number,))
            topics.add(topic)
            shares.remove(share, size)

        most -= give_way(shares.counts, lambda: shares.count > quotas.keep_count, drop_oldest_of, most)
        give_way(shares.sizes, lambda: shares.size > quotas.keep_bytes, drop_oldest_of, most)
        return topics

    @property
    def overfull(self) -> bool:
        return self.count > self._quotas.keep_count or self.stored_bytes > self._quotas.keep_bytes

    def _forget_if_empty(self, topic: int) -> None:
        """Its sequence must not start again below an old cursor, so the relay keeps the highest one forgotten."""
        run = self._writer.execute
        if run("SELECT 1 FROM envelope WHERE topic = ? LIMIT 1", (topic,)).fetchone():
            return
        run("UPDATE relay SET floor = max(floor, (SELECT last FROM topic WHERE id = ?))", (topic,))
        run("DELETE FROM topic WHERE id = ?", (topic,))

    def _give_up(self, error: Exception) -> NoReturn:
        if self._writer.in_transaction:
            try:
                self._writer.execute("ROLLBACK")
            except sqlite3.Error as second:
                raise LedgerFailed(f"The relay's database failed twice ({error}; {second}).") from None
        raise LedgerFailed(f"The relay's database failed ({error}).", advice="Check disk space and rights.") from None

    # --- reading ---

    def page(self, topic: str, after: int, *, count: int, size: int) -> tuple[list[Kept], bool]:
        """What follows in the topic, at least one if there is any; True when more may follow."""
        kept: list[Kept] = []
        try:
            rows = self._reader.execute(
                "SELECT sequence, hash, payload, version, timestamp FROM envelope"
                " WHERE topic = (SELECT id FROM topic WHERE name = ?) AND sequence > ? ORDER BY sequence LIMIT ?",
                (topic, after, count),
            )
            for sequence, digest, payload, version, timestamp in rows:
                size -= len(payload) + ARRIVAL_COST
                if kept and size < 0:
                    rows.close()
                    return kept, True
                kept.append(Kept(sequence, self._cursor(sequence, digest), payload, version, timestamp))
        except DAMAGE as error:
            raise LedgerFailed(f"The relay's database cannot be read ({error}).") from None
        return kept, len(kept) == count

    def resume(self, topic: str, cursor: bytes | None) -> tuple[int, bytes]:
        """The sequence after which to go on, and its cursor: the given one if it is of this history."""
        beginning = 0, self._cursor(0, bytes(CHECK_BYTES))
        if cursor is None or len(cursor) != RELAY_ID_BYTES + 8 + CHECK_BYTES or cursor[:8] != self.relay_id:
            return beginning
        sequence, check = int.from_bytes(cursor[8:16], "big"), cursor[16:]
        if sequence >= 2**63:
            return beginning
        try:
            found = self._reader.execute(
                "SELECT last, (SELECT hash FROM envelope WHERE topic = topic.id AND sequence = ?)"
                " FROM topic WHERE name = ?",
                (sequence, topic),
            ).fetchone()
            last, digest = found or self._reader.execute("SELECT floor, NULL FROM relay").fetchone()
            foreign = sequence > last or (digest is not None and digest[:CHECK_BYTES] != check)
        except DAMAGE as error:
            raise LedgerFailed(f"The relay's database cannot be read ({error}).") from None
        return beginning if foreign else (sequence, cursor)

    def _cursor(self, sequence: int, digest: bytes) -> bytes:
        return self.relay_id + sequence.to_bytes(8, "big") + digest[:CHECK_BYTES]

    def close(self) -> None:
        for connection in reversed(self._connections):
            connection.close()


def _size(envelope: Envelope) -> int:
    return len(envelope.payload) + ARRIVAL_COST


def _own_folder(folder: Path) -> None:
    """Make it, or take it over if it is empty or a relay's; nobody else may look inside."""
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / LOCK).exists():
            raise LedgerUnusable(f"{folder} holds other files.", advice="Give the relay a folder of its own.")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise LedgerUnusable(f"The relay cannot use {folder} ({error.strerror}).") from None


def _lock(path: Path) -> sqlite3.Connection:
    """SQLite's own file lock, on a file that holds nothing: the system frees it when the process dies."""
    try:
        path.touch(mode=0o600)
        lock = sqlite3.connect(path, isolation_level=None, timeout=0.0, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnusable(f"The relay cannot use {path.parent} ({error}).") from None
    try:
        lock.execute("PRAGMA journal_mode = OFF")
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if "locked" in str(error):
            raise LedgerUnusable(
                f"Another relay uses {path.parent}.", advice="Stop it, or give this one another folder with --data."
            ) from None
        raise LedgerUnusable(f"The relay cannot use {path.parent} ({error}).") from None
    return lock
