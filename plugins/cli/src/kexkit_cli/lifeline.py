"""For whoever runs a command as a part of something: it ends when the pipe to its stdin does, however that came."""

from __future__ import annotations

import os
import signal
import threading


def stop_when_stdin_ends() -> None:
    threading.Thread(target=_wait, name="lifeline", daemon=True).start()


def _wait() -> None:
    try:
        while os.read(0, 4096):  # not sys.stdin, whose lock a dying interpreter wants
            pass
    except OSError:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
