"""Each reader of stored rows: 100,000 random and mutated inputs give values and errors of the store, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kexkit import _records as records
from kexkit._pb.record import record_pb2 as pb
from kexkit.api import Device, Row
from kexkit.errors import StoreCorrupt, StoreNewer

from tests.spoiling import total
from tests.wire.samples import ALICE

READERS: dict[str, Callable[[bytes], object]] = {
    name: reader for name, reader in vars(records).items() if name.startswith("read_")
}
GENUINE: dict[str, bytes] = {
    "read_chat": records.write(pb.Chat(clock=2**40)),
    "read_held": records.write(pb.Held(cause="Forged", inbox=b"place")),
    "read_inbox": records.write(pb.Inbox(text=bytes(32))),
    "read_offered": records.write(pb.Offered()),
    "read_outgoing": records.write(pb.Outgoing(topic="/topic", payload=b"payload", version=1, timestamp=2**60)),
    "read_own": records.write(pb.Own(public=b"public")),
    "read_peer": records.write(pb.Peer(format=records.FORMAT)),
    "read_place": records.write_place(Device(ALICE.public, "a11ce000-0000-4000-8000-000000000001")),
    "read_route": records.write(pb.Route(topic="/topic")),
    "read_row": records.write_row(Row(b"value", 2**40)),
    "read_self": records.write(pb.Self(format=records.FORMAT)),
    "read_session": records.drawer_prefix("x3dh/1") + bytes(200),
    "read_text": records.write(pb.Text(wrapped=b"wrapped")),
    "read_withheld": records.write(pb.Withheld()),
}
LOOSE = {"read_row", "read_place", "read_session"}
"""These take nearly all bytes: what is in them is a plugin's, or a name."""


def test_every_reader_is_here() -> None:
    assert READERS.keys() == GENUINE.keys()


@pytest.mark.parametrize("name", GENUINE)
def test_any_bytes_are_a_row_or_an_error_of_the_store(name: str) -> None:
    least = 0.0001 if name in LOOSE else 0.1
    total(READERS[name], [GENUINE[name]], (StoreCorrupt, StoreNewer), seed=name, refused_at_least=least)
