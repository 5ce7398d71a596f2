"""python -m bench [--json FILE] [--rounds N] [--quick] [--no-peers] [case ...]"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import cases, counting, noise_sessions, peers, report
from bench.measuring import measure

ROUNDS = 15
SAMPLE_MS = 20.0
QUICK_ROUNDS = 3
QUICK_SAMPLE_MS = 2.0


def main(words: Sequence[str] | None = None) -> int:
    asked = _read(words)
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    sample_ms = QUICK_SAMPLE_MS if asked.quick else SAMPLE_MS
    wanted = asked.case or list(cases.NAMES)
    libraries, left_out = ([], {}) if asked.no_peers else peers.load()
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="kexkit-bench-")))
        prepared, more_left_out = cases.prepared(wanted, libraries, folder, exits)
        contestants = [contestant for case in prepared for contestant in case.contestants]
        found = measure(contestants, rounds=rounds, sample_ms=sample_ms, tell=_tell)
        told = []
        for case in prepared:
            told.append(report.figures(case, found[: len(case.contestants)]))
            del found[: len(case.contestants)]
    counts = counting.count() if "commits" in wanted else []
    sessions = noise_sessions.FEW_SESSIONS if asked.quick else noise_sessions.LIVE_SESSIONS
    live = noise_sessions.footprints(sessions) if "memory" in wanted else []
    settings = {"rounds": rounds, "sample_ms": sample_ms, "quick": asked.quick, "peers": not asked.no_peers}
    document = report.document(told, counts, live, {**left_out, **more_left_out}, settings)
    print(report.table(document))
    if asked.json is not None:
        Path(asked.json).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 0


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios of kexkit to its neighbours.")
    parser.add_argument("case", nargs="*", metavar="case", help=f"one or more of: {', '.join(cases.NAMES)}")
    parser.add_argument("--json", metavar="FILE", help="also write what was found there")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"instead of {ROUNDS}; 7 are the least that say much")
    parser.add_argument("--quick", action="store_true", help="to see that it runs; its figures say nothing")
    parser.add_argument("--no-peers", action="store_true", help="kexkit alone")
    asked = parser.parse_args(words)
    unknown = sorted(set(asked.case) - set(cases.NAMES))
    if unknown:
        parser.error(f"no such case: {', '.join(unknown)}")
    if asked.rounds is not None and asked.rounds < 1:
        parser.error("at least one round")
    return asked


def _tell(what: str) -> None:
    print(f"\r{what}  ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
