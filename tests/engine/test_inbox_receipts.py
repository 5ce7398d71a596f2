"""A receipt takes out of the inbox what it was given for, and nothing that has come to stand at the same place."""

from __future__ import annotations

import pytest
from kexkit import _records as records
from kexkit._engine.inboxes import put_in_inbox, take_from_inbox
from kexkit._engine.requests import Draft, Load, Moment
from kexkit.api import Key, Versioned

ENTRIES = [
    records.Inbox(text=bytes(range(32))),
    records.Inbox(text=bytes(range(1, 33))),
    records.Inbox(unreadable=records.Unreadable(cause="why"), mark=b"one payload's digest"),
    records.Inbox(unreadable=records.Unreadable(cause="why"), mark=b"another's"),
    records.Inbox(question=records.Question(kind="code"), mark=b"a session's id"),
]


def put(entry: records.Inbox) -> tuple[bytes, Key, bytes]:
    """Always under one number, as after a clock that was set back."""
    draft, copy = Draft(), records.Inbox()
    copy.CopyFrom(entry)
    receipt = put_in_inbox(draft, copy, Moment(None, lambda: 7))  # type: ignore[arg-type]  # it asks for a number alone
    ((key, content),) = draft.put.items()
    return receipt, key, content


def taken(receipt: bytes, key: Key, content: bytes | None) -> bool:
    draft = Draft()
    flow = take_from_inbox(draft, receipt)
    request = next(flow)
    assert isinstance(request, Load)
    assert tuple(request.keys) == (key,)
    with pytest.raises(StopIteration):
        flow.send({key: Versioned(content, 3)} if content is not None else {})
    assert draft.given == ({key: 3} if draft.drop else {})
    assert draft.drop <= {key}
    return bool(draft.drop)


def test_a_row_stands_under_its_number_and_its_receipt_also_says_what_it_is() -> None:
    receipts = set()
    for entry in ENTRIES:
        receipt, key, _ = put(entry)
        assert key == ("inbox", (7).to_bytes(8, "big"))
        assert len(receipt) == 16
        receipts.add(receipt)
    assert len(receipts) == len(ENTRIES)


@pytest.mark.parametrize("given", range(len(ENTRIES)))
@pytest.mark.parametrize("there", range(len(ENTRIES)))
def test_a_receipt_takes_what_it_was_given_for_alone(given: int, there: int) -> None:
    receipt, key, _ = put(ENTRIES[given])
    assert taken(receipt, key, put(ENTRIES[there])[2]) == (given == there)


def test_a_receipt_that_comes_twice_takes_nothing_the_second_time() -> None:
    receipt, key, _ = put(ENTRIES[0])
    assert not taken(receipt, key, None)


def test_a_damaged_row_is_taken_by_its_place_and_by_no_receipt_of_before() -> None:
    receipt, key, _ = put(ENTRIES[0])
    assert taken(key[1], key, b"\xff\xff")
    assert not taken(receipt, key, b"\xff\xff")
    assert not taken(key[1], key, put(ENTRIES[0])[2])
