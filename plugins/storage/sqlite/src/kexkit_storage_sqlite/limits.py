"""Every bound of this store, with its reason."""

TABLE_MAX = 16
"""characters of a table's name, all ASCII. Source: `kexkit.api.Key`"""

ID_MAX = 240
"""bytes of an id. Source: `kexkit.api.Key`, which lets a table and an id together fit LMDB's 511-byte keys"""

VALUE_MAX = 16 * 1024 * 1024
"""bytes of one value: sixteen times the largest that the conformance kit asks for; a row is read whole into memory"""

NUMBERED_TABLES = 4
"""tables of the store whose ids of 8 bytes stand without an index, in tables of SQLite's that are there from the
beginning. kexkit has two such; those beyond stand with all other rows"""

PAGE_ROWS = 256
"""rows that a scan reads at once: past this, going back to the index costs less than a hundredth of the rows"""

PAGE_BYTES = 1024 * 1024
"""bytes of values after which a scan's page ends early, so that a page of large rows does not fill memory"""

BUSY_SECONDS = 5.0
"""how long opening waits for a foreign program (a backup, a browser of databases) before it says StoreBusy. Waiting
does not block other tasks"""

BUSY_PAUSE = 0.02
"""seconds between two tries while waiting"""

PAGE_SIZE = 2048
"""bytes of a page of a new database, half of SQLite's default: a commit copies and hashes whole pages, for rows of
some hundred bytes. Smaller ones would break the envelope of a common text in two"""

WAL_PAGES = 2000
"""pages of write-ahead log after which SQLite moves them into the database: 4 MiB, as by its own defaults. Fewer cost
more time per commit, more leave more old states of sessions in the -wal file"""

WHOLE_CHECK_BYTES = 32 * 1024 * 1024
"""size up to which the whole file is checked on opening, rows against index, at 3 to 6 milliseconds per MiB. In larger
ones each page is still checked when it is read, and each row has a checksum"""

LEASE_TEXT_MAX = 32
"""bytes read of a lock file: a process id and a line end need fewer"""
