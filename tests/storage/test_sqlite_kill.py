"""Writers killed at any moment, by the hundred: what they were told is kept is there, whole, for the next one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.storage import killed_writer

WRITERS = 200


@pytest.mark.skipif(os.name != "posix", reason="it forks")
def test_hundreds_of_killed_writers_lose_nothing_and_halve_nothing(tmp_path: Path) -> None:
    chance, kept, in_the_middle = random.Random(7), 0, 0
    command = [sys.executable, killed_writer.__file__, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for _ in range(WRITERS):
            server.stdin.write("go\n")
            after, writer, told = chance.randrange(-1, 4), 0, -1  # -1: while it opens
            for line in server.stdout:
                said, _, number = line.partition(" ")
                if said == "writer":
                    writer = int(number)
                elif said == "found":
                    assert kept <= int(number) <= kept + 1, "an acknowledged change is lost, or one came from nowhere"
                    in_the_middle += int(number) == kept + 1
                    kept, told = int(number), 0
                elif said == "kept":
                    kept, told = int(number), told + 1
                else:
                    assert said == "ended\n", line
                    break
                if told == after:
                    assert writer, "it did not say who it is: 0 would be all of us"
                    time.sleep(chance.random() * (0.01 if told < 0 else 0.0005))
                    os.kill(writer, signal.SIGKILL)
                    after = -2
        server.stdin.close()
    assert kept > WRITERS / 2
    assert in_the_middle > 0, "no kill fell between a commit and its acknowledgement: the moments are badly chosen"
