"""The oracle beside the real status-go: the same events on both, and what each makes of them, without the bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from hypothesis import strategies as st

from tests.interop.conversations import DAY_MS, NUMBERS
from tests.interop.devices import Refused, StatusGoDevice, Workshop
from tests.interop.live_status_go import LiveDevice
from tests.interop.protobuf import last, map_of, read, write

Device = StatusGoDevice | LiveDevice
Act = tuple[str, int, int]

_KINDS = {"build": 4, "handle": 6, "build_dh": 1, "build_public": 1, "bundle": 1, "process": 2, "forge": 1, "enable": 1}
KINDS = [kind for kind, weight in {**_KINDS, "age": 1, "tamper": 2}.items() for _ in range(weight)]
ACTS = st.lists(st.tuples(st.sampled_from(KINDS), NUMBERS, NUMBERS), max_size=60)
KEYS = [b"\x02" + bytes(31) + bytes((number,)) for number in (1, 2, 3)]
"""points of the curve of which nobody has the secret"""


@define
class Names:
    """Keys are drawn; they are told apart by the order in which they turn up."""

    known: dict[bytes, int] = field(factory=dict)

    def of(self, key: bytes) -> int:
        return self.known.setdefault(key, len(self.known))

    def bundle(self, raw: bytes) -> object:
        entries = {name: read(entry) for name, entry in map_of(read(raw).get(2, [])).items()}
        return [(name, self.of(last(each, 1)), last(each, 2, 0)) for name, each in sorted(entries.items())]

    def message(self, raw: bytes) -> object:
        fields = read(raw)
        bundles = [self.bundle(bundle) for bundle in fields.get(3, [])]
        entries = {name: read(entry) for name, entry in map_of(fields.get(101, [])).items()}
        return bundles, [(name, self._entry(each)) for name, each in sorted(entries.items())], last(fields, 102)

    def _entry(self, entry: dict[int, list[Any]]) -> object:
        headers = {number: read(last(entry, number)) for number in (1, 2, 101) if number in entry}
        keys = {
            number: (self.of(last(each, 1)), last(each, 4) and self.of(last(each, 4)))
            for number, each in headers.items()
        }
        counts = [(last(each, 2, 0), last(each, 3, 0)) for number, each in headers.items() if number == 2]
        return keys, counts, len(last(entry, 3))


@define
class Stage:
    """Two people with as many devices each. All that happens is a line of `seen`."""

    devices: list[Device]
    names: Names = field(factory=Names)
    post: list[tuple[Device, bytes]] = field(factory=list)
    bundles: list[bytes] = field(factory=list)
    seen: list[object] = field(factory=list)

    @classmethod
    def of(cls, make: Callable[[Workshop, bytes], Device], workshop: Workshop, each: int) -> Stage:
        people = workshop.person(), workshop.person()
        return cls([make(workshop, person) for person in people for _ in range(each)])

    def act(self, act: Act) -> None:
        kind, number, other = act
        device = self.devices[number % len(self.devices)]
        peer = self.devices[other % len(self.devices)]
        match kind:
            case "build" | "build_dh" | "build_public":
                self._build(kind, device, peer, bytes(other % 5))
            case "handle" | "tamper" if self.post:
                sender, message = self.post[other % len(self.post)]
                changed = tampered(message, device.installation, number) if kind == "tamper" else message
                self._note(kind, lambda: device.receive(sender.identity, changed))
            case "bundle":
                self.bundles.append(device.bundle())
                self.seen.append(self.names.bundle(self.bundles[-1]))
            case "process" | "forge" if self.bundles:
                bundle = self.bundles[other % len(self.bundles)]
                taken = bundle if kind == "process" else forged(bundle, KEYS[number % 3], other % 5)
                self._note(kind, lambda: device.process_bundle(b"", taken))
            case "enable" if device.identity == peer.identity and self._knows(device, peer):
                device.enable(peer.installation)
            case "age":
                grow_old(device)

    def _build(self, kind: str, device: Device, peer: Device, payload: bytes) -> None:
        message = device.build(kind, peer.identity, payload)
        self.post.append((device, message))
        self.seen.append((kind, self.names.message(message)))

    def _knows(self, device: Device, peer: Device) -> bool:
        """There is something to enable."""
        if device is peer:
            return False
        device.process_bundle(b"", peer.bundle())
        return True

    def _note(self, kind: str, what: Callable[[], object]) -> None:
        try:
            self.seen.append((kind, what() or b""))
        except Refused:
            self.seen.append((kind, "refused"))


def grow_old(device: Device) -> None:
    if isinstance(device, LiveDevice):
        device.age(DAY_MS)
    else:
        device.peer.refresh_due = True


def forged(bundle: bytes, key: bytes, version: int) -> bytes:
    """Of the person whose bundle it was, who did not sign this."""
    fields = read(bundle)
    entries = [(2, write((1, name.encode()), (2, write((1, key), (2, version), (3, 1))))) for name in map_of(fields[2])]
    return write((1, last(fields, 1)), *entries, (4, last(fields, 4)), (5, last(fields, 5)))


def tampered(message: bytes, installation: str, how: int) -> bytes:
    """What is there for the device, changed in one of five ways; or the message as it is."""
    fields = read(message)
    entries = map_of(fields.get(101, []))
    name = installation if installation in entries else "none"
    if name not in entries:
        return message
    entry = read(entries[name])
    parts = {number: last(entry, number) for number in (1, 2, 3, 101) if number in entry}
    match how % 5:
        case 0:
            parts[3] = parts[3][:-1] + bytes((parts[3][-1] ^ 1,))
        case 1:
            parts[3] = parts[3][: how % 60]
        case 2 if 1 in parts:
            parts[1] = write((1, KEYS[0]), (4, last(read(parts[1]), 4)))
        case 3 | 4 if 2 in parts:
            header = read(parts[2])
            n, pn = last(header, 2, 0) + (how % 5 == 3), last(header, 3, 0) + (how % 5 == 4)
            parts[2] = write((1, last(header, 1)), (2, n), (3, pn), (4, last(header, 4)))
    sealed = write(*((number, part) for number, part in sorted(parts.items())))
    bundles = [(3, bundle) for bundle in fields.get(3, [])]
    return write((2, last(fields, 2)), *bundles, (101, write((1, name.encode()), (2, sealed))))
