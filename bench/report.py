"""What was found, for people and for programs."""

from __future__ import annotations

import platform
import sqlite3
import sys
from collections.abc import Sequence
from importlib import metadata
from statistics import median
from typing import Any, Final

from bench.cases import REFERENCE_US, Case
from bench.counting import Count
from bench.measuring import Samples, ratio
from bench.noise_sessions import Footprint

FORMAT: Final = 1
PACKAGES: Final = (
    "attrs",
    "coincurve",
    "cryptography",
    "doubleratchet",
    "kexkit-core",
    "kexkit-noise",
    "noiseprotocol",
    "protobuf",
    "pycryptodome",
    "python-olm",
    "vodozemac",
    "x3dh",
)


def environment() -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "versions": versions,
    }


def times_of(case: Case, samples: Samples) -> list[float]:
    return samples.wall if case.clock == "wall" else samples.processor


def figures(case: Case, found: Sequence[Samples]) -> dict[str, Any]:
    """One case: microseconds by contestant, ratios to ours, what was to be reached."""
    listed = {
        contestant.name: {
            "median_us": round(median(times_of(case, samples)), 2),
            "low_us": round(min(times_of(case, samples)), 2),
            "high_us": round(max(times_of(case, samples)), 2),
            "processor_us": round(median(samples.processor), 2),
            "wall_us": round(median(samples.wall), 2),
            "times": samples.times,
        }
        for contestant, samples in zip(case.contestants, found, strict=True)
    }
    told: dict[str, Any] = {"name": case.name, "what": case.what, "clock": case.clock, "figures": listed}
    told["ratios"] = _ratios(case, found)
    if case.name.startswith("whole path"):
        both = sum(median(times_of(case, samples)) for samples in found[:2])
        told["both_us"] = round(both, 1)
        told["of_the_reference"] = round(both / REFERENCE_US, 3)
    return told


def _ratios(case: Case, found: Sequence[Samples]) -> dict[str, Any]:
    ours = times_of(case, found[0])
    ratios: dict[str, Any] = {}
    if case.most is not None:
        one = ratio(times_of(case, found[-1]), ours)
        ratios[case.contestants[-1].name] = _ratio(one.median, one.low, one.high, at_most=case.most)
        return ratios
    if case.name.startswith("whole path"):
        return _ratios_of_both(case, found)
    for contestant, samples in list(zip(case.contestants, found, strict=True))[1:]:
        one = ratio(ours, times_of(case, samples))
        ratios[contestant.name] = _ratio(one.median, one.low, one.high, at_least=case.targets.get(contestant.name))
    return ratios


def _ratios_of_both(case: Case, found: Sequence[Samples]) -> dict[str, Any]:
    """A send and a receipt together, in wall time: the other is another process."""
    both = [send + receive for send, receive in zip(found[0].wall, found[1].wall, strict=True)]
    ratios: dict[str, Any] = {}
    for contestant, samples in list(zip(case.contestants, found, strict=True))[2:]:
        one = ratio(both, samples.wall)
        ratios[contestant.name] = _ratio(one.median, one.low, one.high, at_least=case.targets[contestant.name])
    return ratios


def _ratio(
    middle: float, low: float, high: float, *, at_least: float | None = None, at_most: float | None = None
) -> dict[str, Any]:
    told: dict[str, Any] = {"median": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}
    if at_least is not None:
        told |= {"at_least": at_least, "reached": middle >= at_least}
    if at_most is not None:
        told |= {"at_most": at_most, "reached": middle <= at_most}
    return told


def document(
    cases: Sequence[dict[str, Any]],
    counts: Sequence[Count],
    live: Sequence[Footprint],
    left_out: dict[str, str],
    settings: dict[str, Any],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "environment": environment(),
        "settings": settings,
        "cases": list(cases),
        "commits": [
            {
                "name": each.name,
                "operations": each.operations,
                "commits": each.commits,
                "expected": each.expected,
                "reached": each.commits == each.expected,
            }
            for each in counts
        ],
        "memory": [
            {"name": each.name, "bytes": each.bytes, "at_most": each.most, "reached": each.bytes <= each.most}
            for each in live
        ],
        "left_out": left_out,
        "reference_us": REFERENCE_US,
    }


def table(told: dict[str, Any]) -> str:
    lines: list[str] = []
    for case in told["cases"]:
        lines += ["", f"{case['name']}: {case['what']} ({case['clock']} time)"]
        for name, figure in case["figures"].items():
            line = f"  {name:24} {figure['median_us']:10.1f} µs   {figure['low_us']:8.1f} to {figure['high_us']:8.1f}"
            lines.append(line + _verdict(case["ratios"].get(name)))
        if "both_us" in case:
            lines.append(f"  {'together':24} {case['both_us']:10.1f} µs   {case['of_the_reference']:.2f} of 1.0 ms")
    if told["commits"]:
        lines += ["", "commits under synchronous=FULL, counted in the write-ahead log"]
        lines += [f"  {each['name']:34} {each['commits']} (expected {each['expected']})" for each in told["commits"]]
    if told["memory"]:
        lines += ["", "memory of a live session"]
        lines += [
            f"  {each['name']:24} {each['bytes']:7} bytes   at most {each['at_most']}: "
            + ("reached" if each["reached"] else "MISSED")
            for each in told["memory"]
        ]
    lines += [f"\nleft out: {name}: {reason}" for name, reason in told["left_out"].items()]
    return "\n".join(lines)


def _verdict(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return ""
    text = f"   {ratio['median']:.2f}x ({ratio['low']:.2f} to {ratio['high']:.2f})"
    for word in ("at_least", "at_most"):
        if word in ratio:
            text += f"   {word.replace('_', ' ')} {ratio[word]}: {'reached' if ratio['reached'] else 'MISSED'}"
    return text
