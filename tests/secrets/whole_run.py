"""A watch over a whole run of tests: no key that any of them made may stand in what any of them said.

Keys: every identity, every secp256k1 secret, every X25519 pair made in this process. What is said: standard output and
error, all that is logged, kexkit's own log though no host has configured it, and all errors of kexkit's. It is looked
through once, at the end; a hit fails the run. (What processes say whose output a test reads is that test's business.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field

SHOWN = 8
"""so many bytes of a key running are no coincidence"""
DISTINCT = 6
"""fewer distinct ones among these are a test's made-up key, and may be the number of something"""


OUR_LOGGERS = ("kexkit", "kexkit_transport_relay")


@define(eq=False)
class WholeRun:
    """`keys`: how a key begins, and of which kind it is. `said`: what was said, and by which test first."""

    keys: dict[bytes, str] = field(factory=dict, repr=False)
    said: dict[str, str] = field(factory=dict, repr=False)
    test: str = "before the first test"
    found: list[str] = field(factory=list, init=False)
    _undo: list[Callable[[], None]] = field(factory=list, repr=False)

    # --- what is noted ---

    def key(self, kind: str, secret: bytes) -> None:
        self.keys.setdefault(secret[:SHOWN], kind)

    def say(self, what: str) -> None:
        if what and what not in self.said:
            self.said[what] = self.test

    # --- looking through it ---

    def hits(self) -> list[str]:
        """Which kind of key stands where: never the key."""
        wanted = {start: kind for start, kind in self.keys.items() if len(set(start)) >= DISTINCT}
        found = set[str]()
        for what, test in self.said.items():
            for stretch in stretches(what):
                for place in range(len(stretch) - SHOWN + 1):
                    kind = wanted.get(stretch[place : place + SHOWN])
                    if kind is not None:
                        found.add(f"{kind} stands in what was said by {test}")
        return sorted(found)

    # --- being there ---

    def watch(self) -> None:
        from kexkit import secp256k1
        from kexkit._logging import Log, redact
        from kexkit.errors import KexkitError
        from kexkit.identity import SoftwareIdentity
        from kexkit_noise.keys import KeyPair

        def generated(genuine: Callable[..., bytes]) -> Callable[..., bytes]:
            def generate_secret(*args: Any) -> bytes:
                secret = genuine(*args)
                self.key("a secp256k1 secret", secret)
                return secret

            return generate_secret

        def noting(note: Callable[..., None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
            def wrap(genuine: Callable[..., Any]) -> Callable[..., Any]:
                def noted(one: Any, *args: Any, **named: Any) -> Any:
                    done = genuine(one, *args, **named)
                    note(one, done, *args)
                    return done

                return noted

            return wrap

        def logged(log: Log, done: object, method: str, event: str, fields: dict[str, Any]) -> None:
            said = {"event": event, **redact(None, method, fields)}.values()
            self.say("\n".join(one if isinstance(one, str) else repr(one) for one in said))

        self._put(secp256k1, "generate_secret", generated)
        self._put(SoftwareIdentity, "__init__", noting(lambda one, *_: self.key("an identity", one._secret)))
        self._put(KeyPair, "__init__", noting(lambda one, *_: self.key("an X25519 key", one.private)))
        self._put(KexkitError, "__init__", noting(lambda one, *_: self.say(str(one.args[0]))))
        self._put(Log, "_write", noting(logged))
        self._put(pytest.CaptureFixture, "readouterr", noting(lambda one, done: self._captured(done)))
        self._hear()

    def _hear(self) -> None:
        """At the root, where others' loggers say what they would say anyway; our own say all they can."""
        root, handler = logging.getLogger(), Hears(self)
        root.addHandler(handler)
        self._undo.append(lambda: root.removeHandler(handler))
        for name in OUR_LOGGERS:
            ours = logging.getLogger(name)
            before = ours.level
            ours.setLevel(logging.DEBUG)
            self._undo.append(lambda ours=ours, before=before: ours.setLevel(before))  # type: ignore[misc]

    def _captured(self, done: tuple[object, object]) -> None:
        for one in done:
            self.say(one if isinstance(one, str) else repr(one))

    def _put(self, place: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        genuine = vars(place)[name]
        setattr(place, name, wrap(genuine))
        self._undo.append(lambda: setattr(place, name, genuine))

    # --- pytest's hooks ---

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.test = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, content in report.sections:
            if "log" not in name:  # the handler has heard it
                self.say(content)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        for undo in reversed(self._undo):
            undo()
        self.found = self.hits()
        if self.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.found:
            terminalreporter.write_line(f"SECRET SHOWN: {line}", red=True)


class Hears(logging.Handler):
    """What the standard library's loggers say."""

    def __init__(self, run: WholeRun) -> None:
        super().__init__(logging.DEBUG)
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        self._run.say(record.getMessage())
        if record.exc_info:
            self._run.say(logging.Formatter().formatException(record.exc_info))


def stretches(text: str) -> Iterator[bytes]:
    """All in a text that may stand for bytes, or is some."""
    from kexkit.testing.key_exchange_leaks import _bytes_in

    yield from _bytes_in(text)
    if not text.isascii():
        yield text.encode("latin-1", "ignore")


def pytest_configure(config: pytest.Config) -> None:
    """Called by tests/conftest.py, or by pytest for whoever names this module with -p."""
    run = WholeRun()
    run.watch()
    config.pluginmanager.register(run, "the whole run")
