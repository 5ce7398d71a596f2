"""Whatever was raised becomes one sentence on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import click
from kexkit.errors import KexkitError

from kexkit_cli.console import Console
from kexkit_cli.exits import Exit, OutputLost, exit_of
from kexkit_cli.invocation import Invocation


def explained(error: BaseException, invocation: Invocation, *, debug: bool) -> int:
    error = _only_one(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else Exit.FAILURE if error.code else Exit.OK
    if debug and not isinstance(error, (click.ClickException, click.Abort)):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        return _nobody_reads()
    if isinstance(error, OutputLost):
        _nobody_reads()
    console = Console(invocation)
    if isinstance(error, click.ClickException):
        return _usage(error, console)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Exit.INTERRUPTED  # whoever did it knows
    if isinstance(error, KexkitError):
        return _said(console, str(error), exit_of(error), error)
    return _said(console, _bug(error), Exit.FAILURE, error)


def _only_one(error: BaseException) -> BaseException:
    """Task groups wrap what their tasks raise."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _said(console: Console, sentence: str, code: Exit, error: BaseException) -> int:
    with suppress(BrokenPipeError):
        if console.json:
            console.tell({"error": sentence, "kind": type(error).__name__, "exit": int(code)})
        console.warn(sentence)
    return code


def _usage(error: click.ClickException, console: Console) -> int:
    if console.json:
        with suppress(BrokenPipeError):
            console.tell({"error": error.format_message(), "kind": type(error).__name__, "exit": error.exit_code})
    error.show()
    return error.exit_code


def _bug(error: BaseException) -> str:
    """Where it happened; not what it said, which may quote anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"This is a bug: {type(error).__name__}{place}. Run it with KEXKIT_DEBUG=1 to see where, and report it."


def _nobody_reads() -> int:
    """What was to read our output is gone. The interpreter must not find out again when it flushes."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    return Exit.FAILURE
