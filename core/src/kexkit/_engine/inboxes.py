"""What the application is told until it acknowledges it: put in by number, taken out by receipt."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.requests import Draft, Flow, Moment, load_one
from kexkit.errors import StoreCorrupt, StoreNewer


def put_in_inbox(draft: Draft, entry: records.Inbox, moment: Moment) -> bytes:
    """Its receipt."""
    key = records.sequence_key("inbox", moment.sequence())
    entry.mark = entry.mark[: records.RECEIPT_MARK_BYTES]
    draft.write(key, records.write(entry))
    return records.inbox_receipt(key[1], entry)


def take_from_inbox(draft: Draft, receipt: bytes) -> Flow[None]:
    """What this receipt was given for, if it is still there; never another thing that has come to stand there."""
    key = ("inbox", receipt[: records.SEQUENCE_BYTES])
    row = yield from load_one(draft, key)
    if row is None:
        return
    try:
        present = records.inbox_receipt(key[1], records.read_inbox(row.value))
    except (StoreCorrupt, StoreNewer):  # it was shown as such, under its place alone
        present = key[1]
    if present == receipt:
        draft.rely(key, row)
        draft.remove(key)
