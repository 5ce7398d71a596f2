"""The watch over a whole run sees what it is there for: a run of its own, in which a test says a key, fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kexkit import SoftwareIdentity
from kexkit_noise.keys import key_pair

from tests.secrets.whole_run import SHOWN, WholeRun

REPOSITORY = Path(__file__).parents[2]
MADE = {
    "an identity": "SoftwareIdentity(os.urandom(32))._secret",
    "a secp256k1 secret": "secp256k1.generate_secret(os.urandom)",
    "an X25519 key": "key_pair(os.urandom(32)).private",
}
SAID = {
    "printed": "print('see', key)",
    "printed in hex to standard error": "print(key.hex(), file=sys.stderr)",
    "written by a child": "subprocess.run(['echo', base64.b64encode(key).decode()])",
    "logged": "logging.getLogger('some.library').warning('a key %s', list(key))",
    "logged while debugging": "logging.getLogger('kexkit_transport_relay.x').debug('%r', key)",
    "logged by kexkit": "Log().info('node opened', cause=repr(key))",
    "an error": "Malformed(f'not {int.from_bytes(key)}')",
    "read by the test": "print(key.hex()); capsys.readouterr()",
}
PROGRAM = """
import base64, logging, os, subprocess, sys
from kexkit import SoftwareIdentity, secp256k1
from kexkit._logging import Log
from kexkit.errors import Malformed
from kexkit_noise.keys import key_pair
"""
TEST = """
def test_{name}({needs}):
    key = {made}
    {said}
"""
SILENT = "print(key_pair(key).public, key[:6], os.urandom(32).hex())"


def watched(folder: Path, tests: dict[str, tuple[str, str]]) -> tuple[int, set[tuple[str, str]]]:
    """A run of these tests (name -> which key is made, what is done with it): its code, and what stands where."""
    parts = [
        TEST.format(name=name, made=made, said=said, needs="capsys" if "capsys." in said else "")
        for name, (made, said) in tests.items()
    ]
    (folder / "test_it.py").write_text(PROGRAM + "".join(parts))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.secrets.whole_run"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert f"{len(tests)} passed" in done.stdout, done.stdout + done.stderr
    lines = re.findall(r"SECRET SHOWN: (.+) stands in what was said by test_it.py::test_(\w+)", done.stdout)
    return done.returncode, {(kind, name) for kind, name in lines}


def test_negative_control_a_key_that_is_said_fails_the_run_by_the_name_of_its_kind(tmp_path: Path) -> None:
    tests = {f"kind_{number}": (made, "print('see', key)") for number, made in enumerate(MADE.values())}
    tests |= {way.replace(" ", "_"): (MADE["an identity"], said) for way, said in SAID.items()}
    tests["silent"] = (MADE["an identity"], SILENT)
    code, found = watched(tmp_path, tests)
    expected = {(kind, f"kind_{number}") for number, kind in enumerate(MADE)}
    assert found == expected | {("an identity", way.replace(" ", "_")) for way in SAID}
    assert code == 1


def test_a_run_that_says_no_key_passes(tmp_path: Path) -> None:
    assert watched(tmp_path, {"silent": (MADE["an identity"], SILENT)}) == (0, set())


def test_this_run_is_watched(request: pytest.FixtureRequest) -> None:
    watch = request.config.pluginmanager.get_plugin("the whole run")
    assert isinstance(watch, WholeRun)
    before = len(watch.keys)
    made = SoftwareIdentity.generate(os.urandom).expose_secret(), key_pair(os.urandom(32)).private
    assert [watch.keys.get(secret[:SHOWN]) for secret in made] == ["a secp256k1 secret", "an X25519 key"]
    assert len(watch.keys) == before + 2
