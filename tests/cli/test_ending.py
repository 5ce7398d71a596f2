"""`kexkit end`: a person ends the sessions with somebody, and goes on in another."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Invoke

Two = tuple[str, str]


@pytest.fixture
def mechanisms() -> str:
    return '["x3dh/1"]'


def test_sessions_end_once_and_the_next_text_comes_in_another(invoke: Invoke, two: Two) -> None:
    invoke("--profile", "bob", "send", "alice", "hello")
    invoke("--profile", "alice", "listen", "--once", "--for", "20")
    told = invoke("--profile", "bob", "devices", "alice", "--json").json
    assert told["in_use"] == ["x3dh/1"]
    ended = invoke("--profile", "bob", "end", "alice", "--json")
    assert (ended.code, ended.json["ended"], ended.json["name"], ended.json["in_use"]) == (0, 1, "alice", [])
    again = invoke("--profile", "bob", "end", "alice")
    assert (again.code, again.out, again.err) == (0, "Ended: 0 sessions with alice.\n", "")
    invoke("--profile", "bob", "send", "alice", "anew")
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert heard.json["text"] == "anew", "what was not answered is said again, and known by its id"
    shown = invoke("--profile", "alice", "history", two[1][:12], "--json").json["texts"]
    assert [text["text"] for text in shown] == ["hello", "anew"]


def test_it_says_how_many_and_that_a_goodbye_waits_for_the_network(invoke: Invoke, two: Two) -> None:
    invoke("--profile", "bob", "send", "alice", "hello")
    ran = invoke("--profile", "bob", "end", "alice")
    assert (ran.code, ran.out) == (0, "Ended: 1 session with alice.\n")
    assert "leaves when you are next online" in ran.err


def test_nobody_is_guessed(invoke: Invoke, two: Two) -> None:
    assert invoke("--profile", "bob", "end", "carol").code == 3
    assert invoke("--profile", "bob", "end").code == 2
