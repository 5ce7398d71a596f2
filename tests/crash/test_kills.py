"""The process dies between any two steps of sending and of receiving: nothing is lost, doubled or told twice.

A quick choice of moments by default, which has every kind of step in it; KEXKIT_CRASH_ALL=1 tries every moment.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

import pytest
from attrs import frozen

from tests.crash import child
from tests.crash.ledger import ALICE, faults
from tests.crash.sealing import inside_what_left, seals
from tests.crash.steps import KILLED

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it forks")
ALL = os.environ.get("KEXKIT_CRASH_ALL") == "1"
BESIDES = 5
"""moments of a scene that are tried by default, beside two of each kind"""
AT_ONCE = 4
DEATHS = 12
"""in a row, before two are left alone to finish"""
SCENES = ["first contact, sends", "first contact, hears", "established, sends", "established, hears"]
SCENES += [f"healing, {scene}" for scene in SCENES]
"""the first four with x3dh/1"""
KINDS = {"load", "scan", "before apply", "after apply", "before publish", "after publish", "before watch"}
KINDS |= {"after watch", "before ledger", "after ledger"}


@frozen
class Forge:
    """Runs errands in processes of their own, a few at once: most of their time is waiting."""

    idle: SimpleQueue[subprocess.Popen[str]]
    folder: Path

    def errand(self, do: str, folder: Path, scene: str, fatal: str = "", breach: str = "") -> int:
        server = self.idle.get()
        assert server.stdin is not None
        assert server.stdout is not None
        errand = {"do": do, "folder": str(folder), "scene": scene, "fatal": fatal, "breach": breach}
        server.stdin.write(json.dumps(errand) + "\n")
        status = int(server.stdout.readline())
        self.idle.put(server)
        return status

    def prepared(self, scene: str) -> Path:
        """What was before, made once; each life gets a copy."""
        before = self.folder / scene
        if not before.exists():
            before.mkdir()
            assert self.errand("prepare", before, scene) == 0
        return before

    def life(self, scene: str, name: str) -> Path:
        return Path(shutil.copytree(self.prepared(scene), self.folder / f"{scene}, {name}"))

    def steps(self, scene: str, breach: str = "") -> list[str]:
        """The kinds of step of a life that nobody ends."""
        folder = self.life(scene, f"{breach} undisturbed")
        assert self.errand("live", folder, scene, breach=breach) == 0
        names: list[str] = json.loads((folder / f"{ALICE}.steps").read_text())
        assert self.ended(folder, scene) == []
        return names

    def ended(self, folder: Path, scene: str, breach: str = "") -> list[str]:
        assert self.errand("finish", folder, scene, breach=breach) == 0
        return faults(folder, child.Scene.of(scene).planned)

    def tried(self, scene: str, fatal: str, breach: str = "") -> Tried:
        folder = self.life(scene, f"{breach} {fatal}")
        status = self.errand("live", folder, scene, fatal, breach)
        assert status in (0, KILLED)
        killed_at = (folder / "killed_at").read_text() if status else ""
        return Tried(fatal, killed_at, self.ended(folder, scene, breach))


@frozen
class Tried:
    fatal: str
    killed_at: str
    """the kind of step; empty: this life had fewer steps"""
    faults: list[str]


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    command, idle = [sys.executable, "-m", child.__name__], SimpleQueue[subprocess.Popen[str]]()
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            idle.put(stack.enter_context(server))
            assert server.stdin is not None
            stack.callback(server.stdin.close)
        yield Forge(idle, tmp_path_factory.mktemp("crash"))


def moments(names: list[str]) -> list[str]:
    """All of them; or of each kind the middle one and the last, and some in between. By kind, as tasks take turns."""
    numbered = [f"{name} {names[:place].count(name) + 1}" for place, name in enumerate(names)]
    if ALL:
        return numbered
    counts = Counter(names)
    chosen = {f"{name} {number}" for name, count in counts.items() for number in (count // 2 + 1, count)}
    others = [moment for moment in numbered if moment not in chosen]
    chosen |= set(others[:: max(1, len(others) // BESIDES)])
    return [moment for moment in numbered if moment in chosen]


@pytest.mark.parametrize("scene", SCENES)
def test_a_death_between_any_two_steps_loses_nothing_and_tells_nothing_twice(forge: Forge, scene: str) -> None:
    names = forge.steps(scene)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tried = list(pool.map(lambda fatal: forge.tried(scene, fatal), moments(names)))
    assert [one for one in tried if one.faults] == []
    kinds = [one.killed_at for one in tried if one.killed_at]
    enough = 0.6 if child.Scene.of(scene).together else 0.8  # two at once take turns in another way each time
    assert len(kinds) > len(tried) * enough, "the moments are badly chosen"
    assert set(kinds) >= KINDS | ({"arrival"} if "hears" in scene else set())


@pytest.mark.parametrize("scene", SCENES)
def test_dying_again_and_again_loses_nothing_either(forge: Forge, scene: str) -> None:
    chance, folder, deaths = random.Random(scene), forge.life(scene, "again and again"), 0
    while deaths < DEATHS and forge.errand("live", folder, scene, f"step {chance.randrange(5, 40)}") == KILLED:
        deaths += 1
    assert deaths > 1
    assert forge.ended(folder, scene) == []


@pytest.mark.parametrize(("scene", "layers"), [(SCENES[2], {"x3dh"}), (SCENES[6], {"handshake", "header", "text"})])
def test_every_seal_is_on_paper_and_found_in_what_left(forge: Forge, scene: str, layers: set[str]) -> None:
    """Or else no key would ever be seen twice."""
    folder = forge.life(scene, "sealed")
    assert forge.errand("live", folder, scene) == 0
    assert forge.ended(folder, scene) == []
    assert {layer for layer, *_ in seals(folder)} == layers
    frames = list(inside_what_left(folder))
    assert all(any(sealed in frame for frame in frames) for *_, sealed in seals(folder))


@pytest.mark.parametrize(
    ("breach", "kind", "scene", "sign"),
    [
        ("hasty", "hasty", "established, sends", "which was not sent"),
        ("forgetful", "after ledger", "established, sends", "send() returned"),
        ("forgetful", "after ledger", "established, hears", "told again after it was acknowledged"),
    ],
)
def test_a_shell_that_breaks_the_order_is_caught(forge: Forge, breach: str, kind: str, scene: str, sign: str) -> None:
    """Publishing before the commit, and saying 'stored' before it: each is found out by the same rules."""
    fatal = [f"{kind} {number}" for number in range(1, forge.steps(scene, breach).count(kind) + 1)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tried = list(pool.map(lambda moment: forge.tried(scene, moment, breach), fatal))
    assert any(sign in fault for one in tried for fault in one.faults), tried
