"""Texts through a real relay: each comes once, and what is in the way is said."""

from __future__ import annotations

import time
from pathlib import Path

import click
import pytest
from kexkit_cli.commands.messages import send
from kexkit_cli.limits import TEXT_BYTES, WAIT_SECONDS

from tests.cli.conftest import PSK, Invoke, Start, write_config

NOWHERE = "ws://127.0.0.1:9"
Two = tuple[str, str]


@pytest.fixture
def mechanisms() -> str:
    """One that reaches a device that is offline: a text can leave before the other has ever been online."""
    return '["x3dh/1"]'


def bob(invoke: Invoke, *arguments: str, stdin: bytes = b"") -> int:
    return invoke("--profile", "bob", *arguments, stdin=stdin).code


def test_a_text_comes_once(invoke: Invoke, two: Two) -> None:
    sent = invoke("--profile", "bob", "send", "alice", "hello", "--json")
    assert (sent.code, sent.json["delivery"]) == (0, "stored")
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert heard.code == 0
    assert heard.json["text"] == "hello"
    assert heard.json["message_id"] == sent.json["message_id"]
    assert heard.json["peer"] == two[1]
    assert "receipt" not in heard.json
    assert invoke("--profile", "alice", "listen", "--for", "0.3", "--json").out == ""
    for profile, peer in (("bob", "alice"), ("alice", two[1][:12])):
        texts = invoke("--profile", profile, "history", peer, "--json").json["texts"]
        assert [(text["text"], text["outgoing"]) for text in texts] == [("hello", profile == "bob")]


def test_a_stranger_can_be_named_by_the_beginning_of_who_they_are(invoke: Invoke, two: Two) -> None:
    bob(invoke, "send", "alice", "hello")
    invoke("--profile", "alice", "listen", "--once", "--for", "20")
    (stranger,) = invoke("--profile", "alice", "contacts", "--json").json["contacts"]
    assert (stranger["added"], stranger["identity"]) == (False, two[1])
    named = invoke("--profile", "alice", "add", two[1][:10], "--name", "bob", "--json")
    assert (named.json["added"], named.json["name"]) == (True, "bob")
    assert invoke("--profile", "alice", "send", "bob", "hello yourself").out == "Sent to bob: the relay has it.\n"


def test_without_a_relay_a_text_stays_and_leaves_later(invoke: Invoke, two: Two) -> None:
    began = time.monotonic()
    ran = invoke("--profile", "bob", "--relay", NOWHERE, "send", "alice", "later", "--wait", "0.3", "--json")
    assert ran.code == 4
    assert (ran.json["delivery"] != "stored", ran.json["exit"]) == (True, 4)
    assert "stays queued" in ran.err
    assert time.monotonic() - began < WAIT_SECONDS
    assert bob(invoke, "send", "alice", "now") == 0
    heard = invoke("--profile", "alice", "listen", "--count", "2", "--for", "20", "--json")
    assert sorted(line["text"] for line in heard.lines) == ["later", "now"]


def test_the_default_wait_is_the_one_that_is_documented(invoke: Invoke) -> None:
    (wait,) = (option for option in send.params if option.name == "wait")
    assert isinstance(wait, click.Option)
    assert wait.default == WAIT_SECONDS
    assert f"default: {WAIT_SECONDS}" in invoke("send", "--help").out


def test_a_text_may_come_from_stdin(invoke: Invoke, two: Two) -> None:
    assert bob(invoke, "send", "alice", "-", stdin="zwei\nZeilen, 日本\n".encode()) == 0
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert heard.json["text"] == "zwei\nZeilen, 日本"


@pytest.mark.parametrize("text", ["", "\udcff", "x" * 4097])
def test_what_is_no_text_is_refused(invoke: Invoke, two: Two, text: str) -> None:
    assert bob(invoke, "send", "alice", text, "--relay", NOWHERE) == 2
    assert invoke("--profile", "bob", "history", "alice", "--json").json["texts"] == []


def test_stdin_that_is_not_utf8_is_refused(invoke: Invoke, two: Two) -> None:
    assert bob(invoke, "send", "alice", "-", stdin=b"\xff") == 2


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_stdin_is_read_as_far_as_a_text_can_go(invoke: Invoke, two: Two, more: int) -> None:
    ran = invoke("--profile", "bob", "--relay", NOWHERE, "send", "alice", "-", stdin=b"x" * (TEXT_BYTES + more))
    assert ran.code == 2
    assert ("What stdin brings is too long" in ran.err) == (more > 0)


def test_nobody_of_that_name_is_not_found(invoke: Invoke, two: Two) -> None:
    ran = invoke("--profile", "bob", "send", "carol", "hello")
    assert ran.code == 3
    assert "kexkit --profile bob contacts" in ran.err


def test_what_a_peer_wrote_commands_no_terminal_and_forges_no_line(invoke: Invoke, two: Two) -> None:
    bob(invoke, "send", "alice", "\x1b]0;owned\x07red\r\n12:00 you: I agree\u202e")
    listened = invoke("--profile", "alice", "listen", "--once", "--for", "20").out
    read = invoke("--profile", "alice", "history", two[1][:12]).out
    for shown in (listened, read):
        assert "\x1b" not in shown
        assert "\r" not in shown
        assert "␛]0;owned␇red␍\n" in shown
        assert "\n12:00" not in shown
        assert " 12:00 you: I agree<U+202E>" in shown


def test_listening_that_hears_too_little_is_told_apart(invoke: Invoke, two: Two) -> None:
    ran = invoke("--profile", "alice", "listen", "--count", "2", "--for", "0.2")
    assert ran.code == 4
    assert "0 of 2 messages came in " in ran.err
    assert invoke("--profile", "alice", "listen", "--for", "0.2").code == 0
    assert invoke("--profile", "alice", "listen", "--once", "--count", "2").code == 2


def test_what_cannot_be_decrypted_is_shown_with_its_cause(invoke: Invoke, two: Two, home: Path) -> None:
    """They share a secret until Alice changes hers."""

    def share(profile: str, secret: str) -> None:
        text = f'load = ["psk", "sqlite", "relay"]\nforward_secrecy = false\n[plugins.psk]\nsecret = "{secret}"\n'
        write_config(home, profile, text)

    share("alice", PSK)
    share("bob", PSK)
    assert bob(invoke, "add", invoke("--profile", "alice", "contact").out) == 0
    bobs = invoke("--profile", "bob", "contact").out
    assert invoke("--profile", "alice", "add", bobs, "--name", "bob").code == 0
    share("alice", PSK[::-1])
    assert bob(invoke, "send", "alice", "hello") == 0
    ran = invoke("--profile", "alice", "listen", "--once", "--for", "20")
    assert ran.code == 5
    assert "bob: [a message that cannot be decrypted: " in ran.out
    assert "1 could not be decrypted" in ran.err


def test_without_forward_secrecy_only_who_says_so_sends(invoke: Invoke, two: Two) -> None:
    """Of Alice nothing is known but her key: the fallback could reach her, and the policy forbids it."""
    invoke("--profile", "carol", "init")
    invoke("--profile", "carol", "add", two[0], "--name", "alice")
    online = ("--profile", "carol", "--relay", NOWHERE, "send", "alice", "hi", "--wait", "0.2")
    assert invoke(*online).code == 4
    weak = invoke("--profile", "carol", "send", "alice", "weak", "--without-forward-secrecy")
    assert weak.code == 0
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert (heard.json["text"] in ("weak", "hi"), heard.json["forward_secret"]) == (True, False)


def test_what_could_not_be_printed_is_not_acknowledged(invoke: Invoke, two: Two, start: Start) -> None:
    listening = start("--profile", "alice", "listen", "--json")
    assert "Listening" in listening.note()
    assert listening.process.stdout is not None
    listening.process.stdout.close()
    bob(invoke, "send", "alice", "hello")
    assert listening.process.wait(30) == 1
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert heard.json["text"] == "hello"


def test_control_c_ends_listening_with_its_own_code(two: Two, start: Start) -> None:
    listening = start("--profile", "alice", "listen")
    assert "Listening" in listening.note()
    assert listening.interrupt().code == 130


def test_a_relays_port_in_use_is_said(invoke: Invoke, relay: str, tmp_path: Path) -> None:
    ran = invoke("relay", "--port", relay.rpartition(":")[2], "--data", str(tmp_path / "other"))
    assert ran.code == 1
    assert "in use" in ran.err
