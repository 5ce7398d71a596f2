"""What is measured, and what is to be reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from bench import durable, noise_handshake, noise_sessions, skipped, starting, whole_path
from bench.choices import repeated
from bench.conversation import End, Library, settled
from bench.measuring import Contestant
from bench.peers import status_go
from bench.peers.status_go import StatusGo
from bench.seam import Kexkit

SIZES = {"100B": 100, "1KiB": 1024}
REFERENCE_US = 1000.0
"""what status-go spends on building, handling and confirming one message, in memory, with a ratchet step (Go 1.22; a
single run, on another machine)"""
TIMES_STATUS_GO = 2.0
"""the whole path is to take half of its time or less"""


@frozen
class Case:
    """Contestants that do the same work; the first is ours, or what ours is compared with itself."""

    name: str
    what: str
    contestants: tuple[Contestant, ...]
    targets: Mapping[str, float] = {}
    """by neighbour: how many times as long as we it takes, at least"""
    most: float | None = None
    """how many times as long as the last contestant the first takes, at most"""
    clock: str = "processor"


def talking(name: str, ends: tuple[End, End], size: int) -> Contestant:
    alice, bob = ends
    body = b"x" * size

    def run(times: int) -> None:
        for _ in range(times):
            bob.open(alice.seal(body))

    assert bob.open(alice.seal(body)) == body
    return Contestant(name, run)


def answering(name: str, ends: tuple[End, End], size: int) -> Contestant:
    """Every message turns the direction; the time is that of one message."""
    alice, bob = ends
    body = b"x" * size

    def run(times: int) -> None:
        for place in range(times):
            if place % 2:
                alice.open(bob.seal(body))
            else:
                bob.open(alice.seal(body))

    return Contestant(name, run)


def meeting(library: Library) -> Contestant:
    body = b"x" * SIZES["100B"]

    def run(times: int) -> None:
        for _ in range(times):
            library.meet(body)

    return Contestant(library.name, run)


def one_way(libraries: Sequence[Library], size: str) -> Case:
    return Case(
        f"one-way {size}",
        "seal and receive, always the same direction, in memory; µs a message",
        tuple(talking(each.name, settled(each), SIZES[size]) for each in libraries),
        {"syndace": 4.0, "vodozemac": 0.58} if size == "100B" else {},
    )


def ping_pong(libraries: Sequence[Library], size: str) -> Case:
    return Case(
        f"ping-pong {size}",
        "seal and receive, every message the other way, in memory; µs a message",
        tuple(answering(each.name, settled(each), SIZES[size]) for each in libraries),
        {"syndace": 2.0} if size == "100B" else {},
    )


def establishment(libraries: Sequence[Library]) -> Case:
    return Case(
        "establishment",
        "from published keys to the first message opened at the other end, both ends; µs",
        tuple(meeting(each) for each in libraries),
    )


def durable_one_way(libraries: Sequence[Library], folder: Path, exits: ExitStack, size: str) -> Case:
    own = durable.ours(folder / f"durable-{size}", durable.NORMAL, exits)
    theirs = []
    for each in libraries[1:]:
        place = folder / f"{each.name}-{size}"
        place.mkdir()
        theirs.append(talking(each.name, durable.theirs(each, place, durable.NORMAL, exits), SIZES[size]))
    return Case(
        f"durable one-way {size}",
        "the same with SQLite, synchronous=NORMAL for all: ours two rows each way, theirs their state; µs a message",
        (talking("kexkit", own, SIZES[size]), *theirs),
        {"syndace": 2.6, "vodozemac": 0.68} if size == "100B" else {},
    )


def skipped_keys(folder: Path, exits: ExitStack) -> Case:
    body = b"x" * SIZES["100B"]
    contestants = tuple(
        skipped.contestant(f"{gaps} skipped keys", gaps, folder / f"gaps-{gaps}", durable.NORMAL, exits, body)
        for gaps in (skipped.GAPS, 0)
    )
    return Case("skipped keys", "a durable message with so many keys stored; µs", contestants, most=1.2)


def whole(folder: Path, exits: ExitStack, synchronous: str, reference: StatusGo | None) -> Case:
    text = "x" * SIZES["100B"]
    theirs = (reference.talking(text.encode()), reference.turning(text.encode())) if reference is not None else ()
    couples = [whole_path.Couple(folder / f"{verb}-{synchronous}", synchronous, exits) for verb in ("send", "receive")]
    return Case(
        f"whole path {synchronous}",
        "a text to a stored envelope with both signatures; an envelope to a stored text and inbox row; µs each",
        (whole_path.sending(couples[0], "send", text), whole_path.receiving(couples[1], "receive", text), *theirs),
        targets={each.name: TIMES_STATUS_GO for each in theirs},
        clock="processor" if synchronous == durable.NORMAL and not theirs else "wall",
    )


def noise_session() -> Case:
    size = SIZES["1KiB"]
    return Case(
        "noise session 1KiB",
        "noise-xx/1, written and read through the seam as in one-way, against the library beneath, which has no tags, "
        "no padding and no window; between them the session without rows, and alone, a Step each; µs a message",
        (
            noise_sessions.one_way("kexkit", "noise-xx/1", size),
            noise_sessions.alone("without rows", size, stored=True),
            noise_sessions.alone("nor snapshots", size, stored=False),
            noise_sessions.bare_texts(size),
        ),
        most=2.6,
    )


def healing_one_way(libraries: Sequence[Library]) -> Case:
    others = (talking(each.name, settled(each), SIZES["100B"]) for each in libraries if each.name == "vodozemac")
    return Case(
        "healing one-way 100B",
        "healing-noise-xk1/1 through the seam, always the same direction, in memory; µs a message",
        (noise_sessions.one_way("kexkit", "healing-noise-xk1/1", SIZES["100B"]), *others),
        {"vodozemac": 0.5},
    )


def xx_handshake() -> Case:
    return Case(
        "XX handshake",
        "both sides, statics loaded, as values with padding and additional data, against the library alone; µs",
        (repeated("kexkit", noise_handshake.ours), repeated("noiseprotocol", noise_handshake.library)),
        most=noise_handshake.AT_MOST,
    )


def start_up() -> Case | str:
    words = starting.command()
    if words is None:
        return "there is no kexkit command beside this interpreter"
    if not starting.works(words):
        return "kexkit --help does not run"
    contestants = (starting.process("kexkit --help", words), starting.bare())
    return Case("start-up", "kexkit --help against python -I -c pass, whole processes; µs", contestants, most=6.0)


NAMES = (
    "one-way",
    "ping-pong",
    "establishment",
    "durable one-way",
    "skipped keys",
    "whole path",
    "noise session",
    "healing one-way",
    "XX handshake",
    "start-up",
    "commits",
    "memory",
)


def prepared(
    wanted: Sequence[str], peers: Sequence[Library], folder: Path, exits: ExitStack
) -> tuple[list[Case], dict[str, str]]:
    """The cases wanted, ready to run, and why others are not."""
    libraries: list[Library] = [Kexkit(), *peers]
    cases: list[Case] = []
    left_out: dict[str, str] = {}
    for size in SIZES:
        if "one-way" in wanted:
            cases.append(one_way(libraries, size))
        if "ping-pong" in wanted:
            cases.append(ping_pong(libraries, size))
        if "durable one-way" in wanted:
            cases.append(durable_one_way(libraries, folder, exits, size))
    if "establishment" in wanted:
        cases.append(establishment(libraries))
    if "skipped keys" in wanted:
        cases.append(skipped_keys(folder, exits))
    if "whole path" in wanted:
        reference = status_go.load(exits) if peers else "no neighbours are wanted"
        live = reference if isinstance(reference, status_go.StatusGo) else None
        if isinstance(reference, str):
            left_out[status_go.NAME] = reference
        cases += [whole(folder, exits, durable.NORMAL, live), whole(folder, exits, durable.FULL, None)]
    if "noise session" in wanted:
        cases.append(noise_session())
    if "healing one-way" in wanted:
        cases.append(healing_one_way(libraries))
    if "XX handshake" in wanted:
        cases.append(xx_handshake())
    if "start-up" in wanted:
        case = start_up()
        if isinstance(case, Case):
            cases.append(case)
        else:
            left_out["start-up"] = case
    return cases, left_out
