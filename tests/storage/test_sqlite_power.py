"""Power is cut at every disk operation of a store's life; what was acknowledged is there, whole, afterwards."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kexkit.api import Change, Key
from kexkit.errors import StorageError
from kexkit_storage_sqlite import _opening, _store
from kexkit_storage_sqlite._rows import Rows

from tests.storage.power import MODES, Disk, Machine, Mode

Answer = TypeVar("Answer")
TWINS: tuple[Key, Key] = (("session", b"left"), ("text", b"right"))
OUTBOX = "outbox"


def at_once(verb: Coroutine[Any, Any, Answer]) -> Answer:
    """A verb of this store never suspends unless another program is in the way."""
    try:
        verb.send(None)
    except StopIteration as end:
        answer: Answer = end.value
        return answer
    raise AssertionError("it waited")


def outbox(number: int) -> Key:
    return OUTBOX, number.to_bytes(8, "big")


def write(store: _store.SqliteStore, acknowledged: list[int], changes: int) -> None:
    """Sends: a session and a text that belong together, an outbox row put now and dropped two changes later."""
    for number in range(1, changes + 1):
        value = b"%d" % number * 300
        put = {**dict.fromkeys(TWINS, value), outbox(number): value}
        change = Change(dict.fromkeys(TWINS, number - 1), put, frozenset([outbox(max(0, number - 2))]))
        at_once(store.apply(change))
        acknowledged.append(number)
        if number == changes // 2:  # the log moves into the database while there is work
            store._rows.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()  # type: ignore[union-attr]  # it is open


def fault(file: Path, synchronous: str, acknowledged: int) -> str | None:
    """What a start after the cut finds wrong."""
    try:
        store = _store.SqliteStore(lambda: _opening.connect(str(file), synchronous))
        try:
            return wrong(store, acknowledged)
        finally:
            store.close()
    except StorageError as error:
        return f"unreadable: {error}"


def wrong(store: _store.SqliteStore, acknowledged: int) -> str | None:
    found = at_once(store.load(TWINS))
    revisions = {row.revision for row in found.values()}
    if len(revisions) > 1 or len(found) not in (0, 2):
        return f"half a change: {revisions}"
    last = revisions.pop() if revisions else 0
    queued = [int.from_bytes(row, "big") for row in at_once(_ids(store, OUTBOX))]
    if queued != [number for number in (last - 1, last) if number > 0]:
        return f"half a change: {last} {queued}"
    if not acknowledged <= last <= acknowledged + 1:
        return f"lost: {acknowledged} were acknowledged, {last} are there"
    at_once(store.apply(Change(dict.fromkeys(TWINS, last), dict.fromkeys(TWINS, b"on it goes"))))
    return None


async def _ids(store: _store.SqliteStore, table: str) -> list[bytes]:
    return [key[1] async for key, _ in store.scan(table)]


class Trial:
    """One life of a store, cut at a chosen operation, and one look at what is left."""

    def __init__(self, folder: Path, synchronous: str = "PRAGMA synchronous = FULL", changes: int = 6) -> None:
        self.synchronous, self.changes, self.folder, self.number = synchronous, changes, folder, 0
        self.base = folder / "base.sqlite"
        _opening._make(str(self.base), synchronous)

    def life(self, at: int) -> tuple[Disk, int]:
        self.number += 1
        file = self.folder / f"{self.number}" / "kexkit.sqlite"
        file.parent.mkdir()
        file.write_bytes(self.base.read_bytes())
        file.chmod(0o600)
        machine, acknowledged = Machine(Disk(at)), list[int]()
        machine.disk.holds(file)

        def connect() -> Any:
            connection = machine.connect(file)
            _opening.prepare(connection, str(file), self.synchronous)
            return connection

        def live() -> None:
            store = _store.SqliteStore(connect)
            write(store, acknowledged, self.changes)
            store.close()

        machine.run(live)
        return machine.disk, len(acknowledged)

    def faults(self, modes: tuple[Mode, ...], seeds: int, step: int = 1) -> tuple[int, list[str]]:
        """How many ends were tried, and what was wrong with them."""
        operations, tried, faults = self.life(0)[0].count, 0, []
        for at in range(1, operations + 1, step):
            disk, acknowledged = self.life(at)
            for mode in modes:
                for seed in range(1 if mode == "kill" else seeds):
                    tried += 1
                    found = self.look(disk, mode, seed, acknowledged)
                    if found is not None:
                        faults.append(f"operation {at} of {operations}, {mode}, seed {seed}: {found}")
        return tried, faults

    def look(self, disk: Disk, mode: Mode, seed: int, acknowledged: int) -> str | None:
        self.number += 1
        folder = self.folder / f"{self.number}"
        folder.mkdir()
        for name, content in disk.afterwards(mode, seed).items():
            (folder / name).write_bytes(content)
        return fault(folder / "kexkit.sqlite", self.synchronous, acknowledged)


def test_nothing_acknowledged_is_lost_or_halved_by_a_kill_a_torn_write_or_a_power_cut(quick_path: Path) -> None:
    tried, faults = Trial(quick_path).faults(MODES, seeds=4)
    assert faults == []
    assert tried > 300


def test_under_normal_a_kill_loses_nothing_and_a_power_cut_may_lose_but_never_halves(quick_path: Path) -> None:
    trial = Trial(quick_path, "PRAGMA synchronous = NORMAL")
    assert trial.faults(("kill", "torn"), seeds=2)[1] == []
    _, faults = trial.faults(("power",), seeds=6)
    assert faults
    assert all("lost" in each for each in faults), faults


def test_a_store_that_acknowledges_before_it_commits_is_caught(
    quick_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied, late = Rows.apply, list[Change]()

    def apply_the_one_before(rows: Rows, change: Change) -> None:
        if 0 in change.given.values():
            late.clear()  # another life
        late.append(change)
        if len(late) > 1:
            applied(rows, late.pop(0))

    monkeypatch.setattr(Rows, "apply", apply_the_one_before)
    _, faults = Trial(quick_path).faults(("kill",), seeds=1)
    assert any("lost" in each for each in faults)


def test_a_store_without_transactions_is_caught(quick_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply_row_by_row(rows: Rows, change: Change) -> None:
        rows.write(rows.db.cursor(), change)

    monkeypatch.setattr(Rows, "apply", apply_row_by_row)
    _, faults = Trial(quick_path).faults(("kill",), seeds=1)
    assert any("half a change" in each for each in faults)


def test_a_store_whose_log_is_never_synced_is_caught(quick_path: Path) -> None:
    _, faults = Trial(quick_path, "PRAGMA synchronous = OFF").faults(("power",), seeds=2)
    assert any("lost" in each for each in faults)
    assert any("half" in each or "unreadable" in each for each in faults)
