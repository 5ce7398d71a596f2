"""One table says what the command returns; whatever is raised becomes a sentence and a code of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
import pytest
from kexkit import errors
from kexkit_cli import app, exits
from kexkit_cli.exits import BY_ERROR, MEANING, Exit, exit_of, exit_of_cause

from tests.cli.conftest import Invoke

README = Path(__file__).resolve().parents[2] / "plugins" / "cli" / "README.md"
EVERY = [found for found in vars(errors).values() if inspect.isclass(found) and issubclass(found, errors.KexkitError)]
EXPECTED = {
    errors.KexkitError: 1,
    errors.LocalError: 1,
    errors.InvalidInput: 2,
    errors.UnknownPeer: 3,
    errors.UnknownDevice: 3,
    errors.NodeClosed: 1,
    errors.PolicyRefused: 7,
    errors.NoCommonMechanism: 7,
    errors.MechanismMissing: 7,
    errors.OfferMissing: 4,
    errors.DowngradeNeedsConsent: 7,
    errors.StaticChanged: 7,
    errors.Unconfirmed: 4,
    errors.NegotiationFailed: 7,
    errors.PeerError: 1,
    errors.Refusal: 1,
    errors.NotMine: 1,
    errors.Malformed: 2,
    errors.Forged: 6,
    errors.Replayed: 5,
    errors.Unknown: 5,
    errors.Limit: 2,
    errors.NoOffer: 7,
    errors.NotForThisDevice: 5,
    errors.OfferMalformed: 2,
    errors.OfferTooLarge: 2,
    errors.OfferSignature: 6,
    errors.OfferForeign: 6,
    errors.OfferExpired: 7,
    errors.OfferNotYetValid: 7,
    errors.OfferStale: 7,
    errors.OfferEquivocation: 7,
    errors.OfferRollback: 7,
    errors.ConfirmationMissing: 7,
    errors.ConfirmationConflict: 7,
    errors.ConfirmationMismatch: 6,
    errors.DowngradeRefused: 7,
    errors.PluginError: 8,
    errors.PluginMissing: 8,
    errors.PluginDuplicate: 8,
    errors.PluginIncompatible: 8,
    exits.NoSuchProfile: 3,
    exits.IdentityChanged: 6,
    exits.NotConfirmed: 4,
    exits.MessageUnreadable: 5,
    exits.ProfileUnusable: 1,
}


@pytest.mark.parametrize("kind", [*EVERY, *(kind for kind in EXPECTED if kind not in EVERY)])
def test_every_error_has_its_code(kind: type[errors.KexkitError]) -> None:
    assert exit_of(kind("said")) == EXPECTED.get(kind, 1)


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        ("", 4),
        ("Unconfirmed", 4),
        ("OfferMissing", 4),
        ("DowngradeNeedsConsent", 7),
        ("NoCommonMechanism", 7),
        ("MechanismMissing", 7),
        ("NegotiationFailed", 7),
        ("OfferEquivocation", 7),
        ("StoreBusy", 4),
        ("annotations", 4),
        ("NoSuchError", 4),
    ],
)
def test_a_text_that_waits_is_late_or_refused_and_nothing_else(cause: str, code: int) -> None:
    assert exit_of_cause(cause) == code


def test_no_entry_of_the_table_hides_another() -> None:
    kinds = [kind for kind, _ in BY_ERROR]
    hidden = [later for at, later in enumerate(kinds) for kind in kinds[:at] if issubclass(later, kind)]
    assert hidden == []


def test_the_readme_has_the_same_table() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+?) \|$", README.read_text("utf-8"), re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == {int(code): meaning for code, meaning in MEANING.items()}
    assert set(MEANING) == set(Exit)


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> object:
    """A command that raises what it is told to."""

    def put(error: BaseException) -> None:
        @click.command()
        def boom() -> None:
            raise error

        monkeypatch.setattr(app.Root, "get_command", lambda self, context, name: boom)

    return put


def test_a_bug_is_one_sentence_that_quotes_nothing(invoke: Invoke, raising: object) -> None:
    raising(ValueError("the secret is 12345"))  # type: ignore[operator]  # the fixture's function
    ran = invoke("boom")
    assert ran.code == Exit.FAILURE
    assert ran.err.count("\n") == 1
    assert "ValueError at test_exits.py:" in ran.err
    assert "KEXKIT_DEBUG=1" in ran.err
    assert "12345" not in ran.err


def test_a_traceback_is_there_for_those_who_ask(
    raising: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEXKIT_DEBUG", "1")
    raising(ValueError("the secret is 12345"))  # type: ignore[operator]  # the fixture's function
    assert app.run(["boom"]) == Exit.FAILURE
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.StoreBusy(), 1, "Another process holds this store."),
        (ExceptionGroup("several", [errors.UnknownPeer()]), 3, "No such contact here."),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(5), 5, ""),
        (BrokenPipeError(), 1, ""),
        (errors.Malformed("bad \x1b[31m"), 2, "bad ␛[31m"),
    ],
)
def test_what_is_raised_becomes_a_sentence(
    invoke: Invoke, raising: object, error: BaseException, code: int, said: str
) -> None:
    raising(error)  # type: ignore[operator]  # the fixture's function
    ran = invoke("boom")
    assert ran.code == code
    assert said in ran.err
    assert "\x1b" not in ran.err


def test_for_programs_a_failure_is_an_object_too(invoke: Invoke, raising: object) -> None:
    raising(errors.UnknownPeer())  # type: ignore[operator]  # the fixture's function
    ran = invoke("--json", "boom")
    assert ran.json == {
        "error": "No such contact here. Add their contact code first.",
        "kind": "UnknownPeer",
        "exit": 3,
    }


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["send"], ["demo", "--messages", "x"], ["completion"]]
)
def test_wrong_usage_is_two(invoke: Invoke, arguments: list[str]) -> None:
    ran = invoke(*arguments)
    assert ran.code == Exit.USAGE
    assert "Error:" in ran.err
