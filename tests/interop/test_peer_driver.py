"""The line driver, as a program of its own, talks with the oracle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define

from tests.interop.devices import StatusGoDevice, Workshop

_SCRIPT = Path(__file__).parent / "peer.py"
_SECRET = "11" * 32
_INSTALLATION = "c0ffee00-0000-4000-8000-000000000001"


@define
class Program:
    process: subprocess.Popen[str]

    def raw(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        return self.raw(json.dumps({"op": op, **arguments}))


def _started() -> Iterator[Program]:
    command = [sys.executable, str(_SCRIPT), "--identity-secret", _SECRET, "--installation", _INSTALLATION]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Program(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


program = pytest.fixture(_started)
hardy = pytest.fixture(_started, scope="module")


@pytest.fixture
def theirs() -> StatusGoDevice:
    workshop = Workshop(Random(0))
    workshop.clock.ms = time.time_ns() // 1_000_000
    return workshop.status_go(workshop.person())


def _identity(program: Program) -> bytes:
    return bytes.fromhex(program.ask("identity")["identity"])


def test_a_live_exchange_goes_both_ways(program: Program, theirs: StatusGoDevice) -> None:
    who = program.ask("identity")
    ours = bytes.fromhex(who["identity"])
    assert who["installation"] == _INSTALLATION
    theirs.process_bundle(ours, bytes.fromhex(program.ask("bundle")["bundle"]))
    uncompressed = theirs.peer.secret.public_key.format(compressed=False).hex()
    assert program.ask("process_bundle", identity=uncompressed, bundle=theirs.bundle().hex()) == {"ok": True}
    for turn in range(6):
        text = b"ours %d" % turn
        sealed = program.ask("seal", to=theirs.identity.hex(), payload=text.hex())
        assert theirs.receive(ours, bytes.fromhex(sealed["message"])) == text
        letter = theirs.send(ours, b"theirs %d" % turn)
        opened = program.ask("open", sender=theirs.identity.hex(), message=letter.hex())
        assert opened["payloads"] == [(b"theirs %d" % turn).hex()]
        assert not opened["echo"]
        assert "FORWARD_SECRECY" in opened["grades"][0] or turn == 0
        assert program.ask("restart") == {"ok": True}
        again = program.ask("open", sender=uncompressed, message=letter.hex())
        assert (again["ok"], again["error"]) == (False, "Replayed")


def test_a_day_makes_a_new_prekey_and_the_talk_goes_on(program: Program, theirs: StatusGoDevice) -> None:
    ours = _identity(program)
    first = program.ask("bundle")["bundle"]
    assert program.ask("bundle")["bundle"] == first
    theirs.process_bundle(ours, bytes.fromhex(first))
    assert program.ask("advance", ms=24 * 3600 * 1000)["ok"]
    late = theirs.send(ours, b"with yesterday's prekey")
    second = program.ask("bundle")["bundle"]
    assert second != first
    theirs.process_bundle(ours, bytes.fromhex(second))
    new = theirs.send(ours, b"with today's prekey")
    for letter, text in ((new, b"with today's prekey"), (late, b"with yesterday's prekey")):
        opened = program.ask("open", sender=theirs.identity.hex(), message=letter.hex())
        assert opened["payloads"] == [text.hex()]


def test_a_person_without_a_bundle_gets_a_fallback_and_everybody_the_public(
    program: Program, theirs: StatusGoDevice
) -> None:
    ours = _identity(program)
    for op in ("seal", "seal_fallback"):
        sealed = program.ask(op, to=theirs.identity.hex(), payload=b"to nobody known".hex())
        assert theirs.receive(ours, bytes.fromhex(sealed["message"])) == b"to nobody known"
    public = program.ask("seal_public", payload=b"to all".hex())
    assert theirs.receive(ours, bytes.fromhex(public["message"])) == b"to all"
    assert theirs.receive(ours, bytes.fromhex(public["message"])) == b"to all"
    letter = theirs.send(ours, b"by the bundle that came along")
    opened = program.ask("open", sender=theirs.identity.hex(), message=letter.hex())
    assert opened["payloads"] == [b"by the bundle that came along".hex()]


def test_our_own_message_is_an_echo(program: Program, theirs: StatusGoDevice) -> None:
    ours = _identity(program).hex()
    sealed = program.ask("seal", to=theirs.identity.hex(), payload="00")
    assert program.ask("open", sender=ours, message=sealed["message"]) == {"ok": True, "echo": True, "payloads": []}


def test_an_own_second_device_is_used_once_enabled(program: Program) -> None:
    workshop = Workshop(Random(1))
    workshop.clock.ms = time.time_ns() // 1_000_000
    second = workshop.status_go(bytes.fromhex(_SECRET))
    ours = _identity(program)
    assert program.ask("enable", installation=second.installation)["error"] == "NotForThisDevice"
    assert program.ask("process_bundle", identity=ours.hex(), bundle=second.bundle().hex())["ok"]
    assert program.ask("enable", installation=second.installation) == {"ok": True}
    sealed = program.ask("seal", to=ours.hex(), payload=b"sync".hex())
    assert second.receive(ours, bytes.fromhex(sealed["message"])) == b"sync"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not json",
        "[]",
        "17",
        "{}",
        '{"op": "open"}',
        '{"op": "nothing"}',
        '{"op": ["open"]}',
        '{"op": "open", "sender": "02", "message": ""}',
        '{"op": "open", "sender": 3, "message": ""}',
        '{"op": "seal", "to": "zz", "payload": ""}',
        '{"op": "advance", "ms": -1}',
        '{"op": "advance", "ms": true}',
        '{"op": "process_bundle", "identity": "' + "04" + "11" * 64 + '", "bundle": ""}',
        "[" * 100_000,
    ],
)
def test_a_wrong_request_is_answered_and_nothing_else_happens(hardy: Program, line: str) -> None:
    answer = hardy.raw(line)
    assert answer["ok"] is False
    assert answer["error"] in ("InvalidInput", "Malformed")
    assert hardy.ask("identity")["ok"]


def test_a_forged_message_is_refused_by_name(program: Program, theirs: StatusGoDevice) -> None:
    ours = _identity(program)
    theirs.process_bundle(ours, bytes.fromhex(program.ask("bundle")["bundle"]))
    letter = theirs.send(ours, b"genuine")
    spoiled = letter.replace(theirs.identity, ours)
    answer = program.ask("open", sender=theirs.identity.hex(), message=spoiled.hex())
    assert (answer["ok"], answer["error"]) == (False, "Forged")
    opened = program.ask("open", sender=theirs.identity.hex(), message=letter.hex())
    assert opened["payloads"] == [b"genuine".hex()]
