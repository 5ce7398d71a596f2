"""Every case of every file of vectors is replayed, or named with a reason."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

import pytest

from tests.vectors.documents import Case
from tests.vectors.table import TABLE, NotRun


def test_a_recording_replays(vector: Case, count_run: Counter[str]) -> None:
    runner = TABLE.get((vector.stem, vector.kind))
    if runner is None or isinstance(runner, NotRun):
        pytest.fail(f"{vector.file}: nothing here runs cases of kind {vector.kind!r}; name them in table.py")
    module, _, function = runner.partition(":")
    getattr(import_module(module), function)(vector.content, vector.document)
    count_run[vector.file] += 1
