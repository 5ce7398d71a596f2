"""The table of runners has no holes: what it does not name fails, and what it names exists."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.vectors.conftest import OWN_DATA
from tests.vectors.documents import Case, cases_of, documents, not_read
from tests.vectors.table import TABLE
from tests.vectors.test_vectors import test_a_recording_replays as replay

_ELSEWHERE = ("_test", "cacophony", "snow")  # other projects' files, which are not copied here


def test_a_case_that_nobody_named_fails() -> None:
    counted: Counter[str] = Counter()
    for stem, kind in (("topics", "new"), ("topics", None), ("new", None)):
        with pytest.raises(pytest.fail.Exception, match="name them in table"):
            replay(Case("x.json", stem, kind, "0", {}, {}), counted)
    assert not counted


def test_every_row_of_the_table_has_cases_in_our_own_data() -> None:
    found = {(case.stem, case.kind) for path in documents([OWN_DATA]) for case in cases_of(path)}
    assert {key for key in TABLE if not key[0].endswith(_ELSEWHERE)} == found


@pytest.mark.parametrize("text", ["{}", '{"cases": []}', '{"notes": {"a": 1}}', '{"testGroups": []}'])
def test_a_file_without_cases_is_a_mistake(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="no cases"):
        cases_of(path)


def test_a_folder_without_files_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        documents([OWN_DATA, tmp_path])


def test_a_list_of_cases_that_nobody_named_fails_wherever_it_stands(tmp_path: Path) -> None:
    """Beside cases that are run, and of any name: it is no layout of ours, and so nobody would miss it."""
    for known in ({"cases": [{"kind": "identity"}]}, {"vectors": [{}]}, {"testGroups": [{"tests": [{"tcId": 1}]}]}):
        path = tmp_path / "topics.json"
        path.write_text(json.dumps({"notes": {"a": "b"}, "header": ["text"], **known, "extra_cases": [{"n": 1}]}))
        *_, extra = cases_of(path)
        assert (extra.kind, extra.name, extra.content) == ("extra_cases", "0-extra_cases", {"n": 1})
        with pytest.raises(pytest.fail.Exception, match=r"extra_cases.*name them in table"):
            replay(extra, Counter())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"kind": "identity"}]', "a list at the top"),
        ('"cases"', "a str at the top"),
        ("[", "Expecting value"),
        ('{"cases": {"a": {}}}', "'cases' is no list of cases"),
        ('{"cases": [{}, "b"]}', "'cases' is no list of cases"),
        ('{"cases": [{}], "more": {"a": [{}]}}', "'more' is no list of cases"),
        ('{"cases": [{}], "more": ["a"]}', "'more' is no list of cases"),
        ('{"testGroups": [{"type": "T"}]}', "'tests' is no list of cases"),
        ('{"testGroups": [{"tests": [{}], "more": [{}]}]}', "'more' in one of the testGroups"),
    ],
)
def test_what_is_neither_cases_nor_named_as_none_is_a_mistake_that_names_the_file(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"odd\.json: .*{said}"):
        cases_of(path)


def test_files_that_are_not_read_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"cases": [{}]}')
    (tmp_path / "two.rsp").write_text("COUNT = 0")
    assert documents([tmp_path]) == [tmp_path / "one.json"]
    assert not_read([tmp_path]) == [tmp_path / "two.rsp"]


def test_cases_of_every_layout_are_found(tmp_path: Path) -> None:
    layouts = {
        "ours": ({"cases": [{"kind": "k", "name": "n"}]}, [("k", "0-n")]),
        "noise": ({"vectors": [{"protocol_name": "p"}]}, [("p", "0-p")]),
        "unnamed": ({"vectors": [{"id": "i"}]}, [(None, "0-i")]),
        "grouped": ({"testGroups": [{"type": "T", "tests": [{"tcId": 7}]}]}, [(None, "tcId-7")]),
        "sections": ({"note": "text", "qr": [{}, {}]}, [("qr", "0-qr"), ("qr", "1-qr")]),
    }
    for stem, (document, expected) in layouts.items():
        path = tmp_path / f"{stem}.json"
        path.write_text(json.dumps(document))
        assert [(case.kind, case.name) for case in cases_of(path)] == expected
