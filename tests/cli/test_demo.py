"""The demo tells the truth, and says so in its exit code."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kexkit import Node, SessionOpened, TextReceived
from kexkit.errors import TransportError
from kexkit_cli.demo import play, relay
from kexkit_cli.demo.peer import Peer
from kexkit_cli.demo.play import Choice, Play, Schedule
from kexkit_cli.limits import (
    AWAY_SECONDS,
    DEMO_MESSAGES,
    NO_NEWS_SECONDS,
    RELAY_START_SECONDS,
    RELAY_STOP_SECONDS,
)
from kexkit_cli.negotiating import is_called

from tests.cli.conftest import PSK, Invoke, Start, execute, write_config

HEALING, X3DH = "healing-noise-xk1/1", "x3dh/1"


def test_two_peers_lose_nothing() -> None:
    ran = execute("demo", "--json")
    assert ran.code == 0
    told = ran.json
    assert (told["mechanism"], told["chosen"], told["confirmed"]) == (HEALING, HEALING, True)
    assert (told["sent"], told["delivered"], told["lost"], told["duplicated"]) == (14, 14, 0, 0)
    assert (told["offline_sent"], told["forward_secret"]) == (4, 14)
    assert told["offers"] == {"alice": [HEALING, X3DH], "bob": [HEALING, X3DH]}
    assert {"forward_secrecy", "secret"} <= set(told["guarantees"])
    assert ran.err == ""


NO_FORWARD_SECRECY = {"noise-xk1/1", "noise-xx/1"}


@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        (HEALING, HEALING),
        ("healing-noise", HEALING),
        (X3DH, X3DH),
        ("x3dh", X3DH),
        ("noise", "noise-xk1/1"),
        ("noise-xx/1", "noise-xx/1"),
        ("noise-xk1", "noise-xk1/1"),
    ],
)
def test_each_mechanism_loses_nothing_and_doubles_nothing(invoke: Invoke, wanted: str, used: str) -> None:
    """By its full name, its name without a version, or its family; Bob goes offline and comes back in each."""
    ran = invoke("demo", "--mechanism", wanted, "--messages", "7", "--json")
    assert ran.code == 0
    told = ran.json
    assert (told["mechanism"], told["confirmed"]) == (used, True)
    assert (told["sent"], told["delivered"], told["lost"], told["duplicated"]) == (7, 7, 0, 0)
    assert told["offline_sent"] == 2
    assert ("forward_secrecy" in told["guarantees"]) is (used not in NO_FORWARD_SECRECY)
    assert ("gives no forward secrecy" in told["why"]) is (used in NO_FORWARD_SECRECY)


def test_what_gives_no_forward_secrecy_is_offered_and_used_with_plain_words(invoke: Invoke) -> None:
    told = invoke("demo", "--mechanism", "noise", "--messages", "3").out
    assert "Alice offers  noise-xk1/1, noise-xx/1" in told
    assert "beware        noise-xk1/1 gives NO forward secrecy." in told
    assert "3 of them had no forward secrecy" in told
    assert "NO forward secrecy" not in invoke("demo", "--mechanism", "x3dh", "--messages", "1").out


def test_the_story_tells_the_negotiation(invoke: Invoke) -> None:
    ran = invoke("demo", "--messages", "6")
    assert ran.code == 0
    told = ran.out
    assert "\x1b" not in told
    found = [
        told.index(said)
        for said in (
            f"Bob offers    {HEALING}, {X3DH}",
            f"Alice offers  {HEALING}, {X3DH}",
            f"both choose   {HEALING}",
            "1 with Alice, 1 with Bob",
            "begun         by Alice, and not confirmed yet",
            "Bob agrees    session ",
            "Alice knows   session ",
            "it gives      secret, from peer, to peer, forward secrecy",
            "goes offline",
            "comes back",
            "6 sent, 6 delivered, 0 lost, 0 duplicated",
            f"over {HEALING}, confirmed by both.",
        )
    ]
    assert found == sorted(found)
    sessions = re.findall(r"session ([0-9a-f]{10})…", told)
    assert len(sessions) == 2
    assert len(set(sessions)) == 1


def test_the_choice_is_what_both_lists_come_to() -> None:
    assert Choice.of(("a", "b"), ("b", "c", "a"), "").name == "a"
    assert Choice.of(("a", "b"), ("b", "a"), "").why.endswith("1 with Alice, 2 with Bob")
    assert Choice.of(("a", "b"), ("c", "b"), "asked") == Choice("b", "the only one that both offer; asked")
    assert Choice.of(("a",), ("b",), "").name == ""


def test_a_choice_that_one_of_them_does_not_confirm_is_a_failure(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play, "NO_NEWS_SECONDS", 0.5)
    take = Peer._take

    def deaf(self: Peer, event: object) -> None:
        if not (isinstance(event, SessionOpened) and event.ours):
            take(self, event)  # type: ignore[arg-type]  # any event

    monkeypatch.setattr(Peer, "_take", deaf)
    ran = invoke("demo", "--messages", "2", "--json")
    assert (ran.code, ran.json["confirmed"]) == (1, False)
    assert "the choice not confirmed" in ran.err


@pytest.mark.parametrize("count", [1, 2])
def test_few_messages_are_enough(invoke: Invoke, count: int) -> None:
    ran = invoke("demo", "--messages", str(count), "--json")
    told = ran.json
    assert (ran.code, told["confirmed"]) == (0, True)
    assert (told["sent"], told["delivered"], told["offline_sent"]) == (count, count, 0 if count == 1 else 1)


def test_the_demo_does_not_end_before_both_have_confirmed(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(self: Peer, node: Node) -> None:
        async for event in node.events():
            if isinstance(event, SessionOpened) and event.ours:
                await anyio.sleep(0.5)
            self._take(event)
            await node.ack(event)
            self._bell.set()

    monkeypatch.setattr(Peer, "_read", slow)
    assert invoke("demo", "--messages", "1", "--json").json["confirmed"] is True


@given(st.integers(1, DEMO_MESSAGES))
def test_a_schedule_sends_what_was_asked_for(messages: int) -> None:
    schedule = Schedule.of(messages)
    assert schedule.talk + schedule.offline + schedule.back == messages
    assert min(schedule.talk, schedule.offline + (messages == 1)) >= 1


@pytest.mark.parametrize(
    ("count", "code"), [(0, 2), (DEMO_MESSAGES - 1, 7), (DEMO_MESSAGES, 7), (DEMO_MESSAGES + 1, 2)]
)
def test_a_demo_has_an_end(invoke: Invoke, home: Path, count: int, code: int) -> None:
    """7: the number was taken, and what this profile loads is refused before anything begins."""
    write_config(home, "default", f'load = ["psk", "sqlite", "relay"]\n[plugins.psk]\nsecret = "{PSK}"\n')
    assert invoke("demo", "--messages", str(count)).code == code


@pytest.mark.parametrize("name", ["psk@example.org/1", "psk"])
def test_another_key_exchange_is_used_when_it_is_named(invoke: Invoke, home: Path, name: str) -> None:
    write_config(home, "default", f'load = ["x3dh", "psk", "sqlite", "relay"]\n[plugins.psk]\nsecret = "{PSK}"\n')
    ran = invoke("demo", "--mechanism", name, "--messages", "4", "--json")
    assert ran.code == 0
    told = ran.json
    assert (told["mechanism"], told["lost"], told["forward_secret"]) == ("psk@example.org/1", 0, 0)
    assert told["offers"] == {"alice": ["psk@example.org/1"], "bob": ["x3dh/1", "psk@example.org/1"]}
    assert "the only one that both offer" in told["why"]
    assert "both policies allow what gives no forward secrecy" in told["why"]


def test_another_store_is_used_when_it_is_enabled(invoke: Invoke) -> None:
    told = invoke("--plugins", "x3dh,lmdb,relay", "demo", "--messages", "3", "--json").json
    assert (told["store"], told["delivered"]) == ("lmdb", 3)


@pytest.mark.parametrize("name", ["huh", "noise-k1k1/1", "nois", "x3dh/2", "psk", "xk1", "NOISE", ""])
def test_a_mechanism_that_is_not_there_is_named_with_what_is(invoke: Invoke, name: str) -> None:
    ran = invoke("demo", "--mechanism", name, "--json")
    assert (ran.code, ran.json["exit"]) == (8, 8)
    assert f"No key exchange {name!r} is loaded here" in ran.err
    assert "there are: healing-noise-xk1/1, x3dh/1, noise-xk1/1, noise-xx/1." in ran.err
    assert "Installed but not enabled: lmdb, psk." in ran.err


def test_a_mechanism_that_a_plugin_brings_only_when_it_is_named_can_be_used_then(invoke: Invoke, home: Path) -> None:
    write_config(home, "default", '[plugins.noise]\nmechanisms = "healing-noise-k1k1/1"\n')
    told = invoke("demo", "--mechanism", "healing-noise", "--messages", "2", "--json").json
    assert (told["mechanism"], told["delivered"]) == ("healing-noise-k1k1/1", 2)


def test_a_plugin_that_is_not_there_is_named(invoke: Invoke) -> None:
    ran = invoke("--plugins", "x3dh,sqlite,relay,huh", "demo")
    assert ran.code == 8
    assert "There is no plugin 'huh' here" in ran.err
    assert invoke("--plugins", "sqlite,relay", "demo").code == 8


def test_what_the_policy_forbids_is_refused_unless_it_is_named(invoke: Invoke, home: Path) -> None:
    write_config(home, "default", f'load = ["psk", "sqlite", "relay"]\n[plugins.psk]\nsecret = "{PSK}"\n')
    ran = invoke("demo")
    assert ran.code == 7
    assert "--mechanism psk@example.org/1" in ran.err


def test_a_lost_text_is_a_failure(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    assert NO_NEWS_SECONDS == 20
    monkeypatch.setattr(play, "NO_NEWS_SECONDS", 0.5)
    say = Play._say

    async def swallowed(self: Play, speaker: Peer, hearer: Peer, text: str) -> bytes:
        if len(self.sent[speaker]) == 1:
            self.sent[speaker][b"swallowed"] = text
            return b"swallowed"
        return await say(self, speaker, hearer, text)

    monkeypatch.setattr(Play, "_say", swallowed)
    ran = invoke("demo", "--json")
    assert ran.code == 1
    assert (ran.json["lost"], ran.json["duplicated"]) == (1, 0)
    assert "1 lost" in ran.err


def test_a_text_that_comes_twice_is_a_failure(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Peer._take

    def twice(self: Peer, event: object) -> None:
        take(self, event)  # type: ignore[arg-type]  # any event
        if isinstance(event, TextReceived) and len(self.times) == 1:
            take(self, event)

    monkeypatch.setattr(Peer, "_take", twice)
    ran = invoke("demo", "--messages", "3", "--json")
    assert ran.code == 1
    assert (ran.json["lost"], ran.json["duplicated"]) == (0, 2)


def test_what_the_network_does_not_take_in_time_waits_with_alice(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert AWAY_SECONDS == 5
    monkeypatch.setattr(play, "AWAY_SECONDS", 0)
    assert "4 delivered, 0 lost" in invoke("demo", "--messages", "4").out


def test_an_interrupted_demo_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    demo = start("demo", "--messages", str(DEMO_MESSAGES), env={"TMPDIR": str(tmp_path)})
    while not (found := re.search(r"ws://127\.0\.0\.1:(\d+)", demo.line())):
        pass
    assert list(tmp_path.glob("kexkit-demo-*"))
    assert demo.interrupt().code == 130
    assert is_closed(int(found[1]))
    assert list(tmp_path.glob("kexkit-demo-*")) == []


def test_the_relay_of_a_killed_demo_ends_too(start: Start, tmp_path: Path) -> None:
    demo = start("demo", "--messages", str(DEMO_MESSAGES), env={"TMPDIR": str(tmp_path)})
    while not (found := re.search(r"ws://127\.0\.0\.1:(\d+)", demo.line())):
        pass
    demo.kill()
    deadline = time.monotonic() + 10
    while not is_closed(int(found[1])):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_relay_that_does_not_start_in_time_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RELAY_START_SECONDS == 20
    monkeypatch.setattr(relay, "RELAY_START_SECONDS", 0)

    async def begin() -> None:
        async with relay.own_relay(tmp_path):
            raise AssertionError("it cannot have started")

    with pytest.raises(TransportError, match="did not start"):
        anyio.run(begin)


def test_a_relay_that_does_not_end_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RELAY_STOP_SECONDS == 5
    monkeypatch.setattr(relay, "RELAY_STOP_SECONDS", 0)
    ports = []

    async def begin() -> None:
        async with relay.own_relay(tmp_path) as url:
            ports.append(int(url.rpartition(":")[2]))
            assert not is_closed(ports[0])

    anyio.run(begin)
    assert is_closed(ports[0])


@pytest.mark.parametrize(
    ("name", "wanted", "is_it"),
    [
        ("psk@example.org/1", "psk@example.org/1", True),
        ("psk@example.org/1", "psk@example.org", True),
        ("psk@example.org/1", "psk", True),
        ("psk@example.org/1", "ps", False),
        ("noise-xk1/1", "noise", True),
        ("noise-xk1/1", "noise-", False),
        ("healing-noise-xk1/1", "noise", False),
        ("healing-noise-xk1/1", "healing-noise", True),
        ("x3dh/1", "x3dh", True),
        ("x3dh/1", "x3dh/2", False),
        ("x3dh/1", "", False),
    ],
)
def test_a_family_is_the_beginning_of_a_name_up_to_a_dash(name: str, wanted: str, is_it: bool) -> None:
    assert is_called(name, wanted) is is_it
