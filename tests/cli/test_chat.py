"""Chat: in a terminal what comes does not disturb what is typed; over pipes and for programs it is lines."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import pytest
from kexkit import Delivery, Guarantee, TextReceived
from kexkit.limits import TEXT_CHARACTERS
from kexkit_cli.chat import talk
from kexkit_cli.chat.face import piped_lines
from kexkit_cli.chat.terminal import Terminal
from kexkit_cli.console import Console
from kexkit_cli.invocation import Invocation
from kexkit_cli.limits import PARTING_SECONDS, PIPED_LINE_BYTES

from tests.cli.conftest import COMMAND, SECONDS, Invoke, Start

Two = tuple[str, str]
COLUMNS, ROWS = 70, 20


class Window:
    """A terminal of our own, with a command in it."""

    def __init__(self, *arguments: str, term: str = "xterm") -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            env={**os.environ, "TERM": term, "NO_COLOR": "1"},
        )
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def until(self, wanted: str) -> str:
        """What has been shown up to and with it; the rest is for the next time."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(wanted, self.seen)) is None:
            ready, _, _ = select.select([self.ours], [], [], 0.2)
            if ready:
                self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
            assert time.monotonic() < deadline, f"{wanted!r} is not in {self.seen!r}"
        shown, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return shown

    def end(self) -> int:
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            if select.select([self.ours], [], [], 0.05)[0]:
                self.seen += os.read(self.ours, 4096).decode("utf-8", "replace")
            assert time.monotonic() < deadline, self.seen
        assert "Traceback" not in self.seen
        assert termios.tcgetattr(self.theirs) == self.before, "the terminal is not what it was"
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def window() -> Iterator[Callable[..., Window]]:
    opened: list[Window] = []

    def window(*arguments: str, term: str = "xterm") -> Window:
        opened.append(Window(*arguments, term=term))
        return opened[-1]

    yield window
    for one in opened:
        one.close()


OFFLINE_START = '["x3dh/1"]'


@pytest.mark.parametrize(
    ("mechanisms", "over", "mark"),
    [("", "healing-noise-xk1/1 or x3dh/1", " "), (OFFLINE_START, "x3dh/1", "!")],
    ids=["healing", "offline_start"],
)
def test_two_people_in_two_terminals(two: Two, window: Callable[..., Window], over: str, mark: str) -> None:
    alice = window("--profile", "alice", "chat")
    alice.until("waiting for them to write")
    bob = window("--profile", "bob", "chat", "alice")
    bob.until(rf"You talk with alice [^>]*{over.split()[0]}")
    bob.type("Hello Alice\r")
    bob.until("you  Hello Alice")
    bob.until("Begun, and not confirmed yet")
    bob.until("Both ends have confirmed")
    alice.until("you have not added them")
    alice.until(rf"{mark} \d\d:\d\d \w+  Hello Alice")
    bob.type("half a li")
    bob.until("> half a li")
    alice.type("/name bob\r")
    alice.until("They are bob for you")
    alice.type("Hi \x1b[200~Bob\rsecond\x1b[201~\r")
    alice.until("you  Hi Bob")
    shown = bob.until("alice  Hi Bob")
    assert shown.count("\r\x1b[K") >= 1
    bob.until("> half a li")
    bob.type("ne\r")
    alice.until(r"  \d\d:\d\d bob  half a line")
    bob.type("/quit\r")
    assert bob.end() == 0
    alice.type("\x03")
    assert alice.end() == 130


@pytest.mark.parametrize(("how", "code"), [("\x04", 0), ("\x03", 130), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_however_it_ends_the_terminal_is_as_it_was(
    two: Two, window: Callable[..., Window], how: str | signal.Signals, code: int
) -> None:
    bob = window("--profile", "bob", "chat", "alice")
    bob.until("> ")
    if isinstance(how, str):
        bob.type(how)
    else:
        bob.process.send_signal(how)
    assert bob.end() == code


def test_commands_are_answered(two: Two, window: Callable[..., Window]) -> None:
    bob = window("--profile", "bob", "chat", "alice")
    bob.until("> ")
    for typed, answer in (
        ("/help", "/quit        leave"),
        ("/who", f"{two[0][:40]}"),
        ("/code", "eyJ"),
        ("/answer x", "Nothing has been asked"),
        ("/consent", "To what\\? /consent weaker, /consent bare"),
        ("/consent again", "Noted for 1 device of alice"),
        ("/consent release", "No text of alice was kept back"),
        ("/nonsense", "There is no command /nonsense"),
        ("/name a\x1b[31mb", "one visible line|They are"),
        ("x" * 4097, "Not sent: .*4096"),
        ("//slash", "you  /slash"),
    ):
        bob.type(f"{typed}\r")
        bob.until(answer)
    fcntl.ioctl(bob.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 30, 0, 0))
    bob.process.send_signal(signal.SIGWINCH)
    bob.type("a line that is longer than thirty columns")
    bob.until("> .*thirty columns")
    bob.type("\x04\x15\x04")
    assert bob.end() == 0


def test_a_dumb_terminal_gets_plain_lines(two: Two, window: Callable[..., Window], invoke: Invoke) -> None:
    bob = window("--profile", "bob", "chat", "alice", term="dumb")
    assert "\x1b" not in bob.until("You talk with alice")
    bob.type("hello\n")
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert heard.json["text"] == "hello"
    invoke("--profile", "alice", "send", two[1][:12], "hello yourself")
    assert "\x1b" not in bob.until("alice: hello yourself")
    bob.type("\x04")
    assert bob.end() == 0


@pytest.mark.parametrize("mechanisms", [OFFLINE_START])
def test_lines_from_a_pipe_are_sent_before_it_ends(two: Two, start: Start, invoke: Invoke) -> None:
    bob = start("--profile", "bob", "chat", "alice")
    bob.type("one\n\n//two")
    assert bob.end().code == 0
    heard = invoke("--profile", "alice", "listen", "--count", "2", "--for", "20", "--json")
    assert sorted(line["text"] for line in heard.lines) == ["/two", "one"]


def test_lines_that_nobody_takes_are_kept_and_said(two: Two, start: Start) -> None:
    bob = start("--profile", "bob", "--relay", "ws://127.0.0.1:9", "chat", "alice", "--wait", "0.3")
    bob.type("one\n")
    ended = bob.end()
    assert ended.code == 4
    assert "1 of your texts" in ended.err


@pytest.mark.parametrize("mechanisms", [OFFLINE_START])
@pytest.mark.parametrize("option", [[], ["--json"], ["--quiet"]], ids=["plain", "json", "quiet"])
def test_a_piped_line_that_is_no_text_is_a_failure_though_the_others_leave(
    two: Two, start: Start, invoke: Invoke, option: list[str]
) -> None:
    bob = start("--profile", "bob", "chat", "alice", *option)
    bob.type("x" * (TEXT_CHARACTERS + 1) + "\nshort enough\n")
    ended = bob.end()
    assert ended.code == 1
    assert "Not sent: 1 of your lines." in ended.err
    heard = invoke("--profile", "alice", "listen", "--once", "--for", "20", "--json")
    assert heard.json["text"] == "short enough"


def test_until_both_have_been_online_a_text_waits_for_the_handshake_and_says_so(two: Two, start: Start) -> None:
    bob = start("--profile", "bob", "chat", "alice", "--wait", "0.5")
    bob.type("one\n")
    ended = bob.end()
    assert ended.code == 4
    assert "It waits: the handshake is under way." in ended.err
    assert "confirmed" not in ended.err.replace("Not confirmed in 0.5 seconds", "")


@pytest.mark.parametrize("mechanisms", [OFFLINE_START])
def test_a_session_that_began_is_not_called_open_before_the_other_confirms(
    two: Two, start: Start, invoke: Invoke
) -> None:
    bob = start("--profile", "bob", "chat", "alice")
    bob.note()
    bob.type("one\n")
    assert "Begun, and not confirmed yet: nothing of alice has come so far." in bob.note()
    assert invoke("--profile", "alice", "listen", "--once", "--for", "20").code == 0
    assert "Both ends have confirmed: the session over x3dh/1 is open." in bob.note()
    bob.type("two\n")
    assert bob.end().code == 0


def test_for_programs_everything_is_a_line(two: Two, start: Start) -> None:
    alice = start("--profile", "alice", "chat", "--json")
    assert "waiting" in alice.note()
    bob = start("--profile", "bob", "chat", "alice", "--json")
    assert json.loads(bob.line())["event"] == "notice"
    bob.type("hello\n")
    events = lines_until(bob, lambda line: line["event"] == "session")
    assert {"said", "waiting", "delivery"} <= {line["event"] for line in events}
    assert (events[-1]["mechanism"], events[-1]["ours"]) == ("healing-noise-xk1/1", True)
    (heard,) = lines_until(alice, lambda line: line["event"] == "text")[-1:]
    assert (heard["text"], heard["peer"]) == ("hello", two[1])
    alice.type("hello yourself\n")
    assert lines_until(bob, lambda line: line["event"] == "text")[-1]["name"] == "alice"
    ended = bob.interrupt()
    assert (ended.code, ended.err.strip()) == (130, "")
    assert all("event" in line for line in ended.lines)


def lines_until(running: object, wanted: Callable[[dict[str, object]], bool]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    while not found or not wanted(found[-1]):
        found.append(json.loads(running.line()))  # type: ignore[attr-defined]  # a Running
    return found


def test_several_people_must_be_named(two: Two, invoke: Invoke) -> None:
    invoke("--profile", "carol", "init")
    invoke("--profile", "bob", "add", invoke("--profile", "carol", "contact").out, "--name", "carol")
    ran = invoke("--profile", "bob", "chat")
    assert ran.code == 2
    assert "There are: alice, carol" in ran.err
    assert invoke("--profile", "bob", "chat", "dave").code == 3


# --- pieces ----------------------------------------------------------------------------------------------------------


def collected(lines: Callable[[], AsyncIterator[str]]) -> list[str]:
    async def collect() -> list[str]:
        return [line async for line in lines()]

    return anyio.run(collect)


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_piped_line_has_an_end(tmp_path: Path, more: int, end: bytes) -> None:
    """A file, which is read as a pipe is."""
    file = tmp_path / "lines"
    file.write_bytes(b"first\r\n" + b"x" * (PIPED_LINE_BYTES + more) + end)
    with file.open("rb") as stream:
        lines = collected(lambda: piped_lines(stream.fileno()))
    assert [len(line) for line in lines] == [
        5,
        min(PIPED_LINE_BYTES + more, PIPED_LINE_BYTES),
        *([1] if more > 0 else []),
    ]


def test_parting_waits_no_longer_than_people_do() -> None:
    assert PARTING_SECONDS == talk.PARTING_SECONDS == 2.0


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "10")
    return Terminal(Console(Invocation()), "Ann")


def text_from_bob(text: str, grade: Guarantee = Guarantee.FORWARD_SECRECY) -> TextReceived:
    return TextReceived(b"r", b"i" * 32, b"b", b"b", "x", text, 1, 0, grade)


def test_a_mark_is_set_where_the_text_stands(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.said(b"1", "hello", 0)
    assert re.search(r"· \d\d:\d\d Ann  hello\n", capsys.readouterr().out)
    terminal.heard(text_from_bob("one row"), "bob")
    terminal.heard(text_from_bob("two rows because it is far too long for one"), "bob")
    capsys.readouterr()
    terminal.delivery(b"1", Delivery.STORED)
    assert "\r\x1b[K\x1b[4A✓\r\x1b[4B" in capsys.readouterr().out
    terminal.delivery(b"1", Delivery.STORED)
    assert "✓" not in capsys.readouterr().out


def test_a_mark_is_not_set_where_the_text_has_left_the_screen(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.said(b"1", "hello", 0)
    for _ in range(10):
        terminal.notice("a row")
    capsys.readouterr()
    terminal.delivery(b"1", Delivery.STORED)
    assert "✓" not in capsys.readouterr().out


def test_what_was_stored_before_it_was_shown_is_shown_so(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.delivery(b"1", Delivery.STORED)
    terminal.said(b"1", "hello", 0)
    assert re.search(r"✓ \d\d:\d\d Ann  hello\n", capsys.readouterr().out)


def test_texts_of_others_are_marked_and_made_safe(terminal: Terminal, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.heard(text_from_bob("a\x1b[2Jb", Guarantee.NONE), "bob")
    shown = capsys.readouterr().out
    assert "! " in shown
    assert "a␛[2Jb" in shown
    terminal.heard(text_from_bob("late"), "bob", late=True)
    assert "↑ " in capsys.readouterr().out


if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals here", allow_module_level=True)
