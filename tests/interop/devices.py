"""Devices of people who use kexkit, status-go, or both: one face for two implementations, and a clock for all."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol
from uuid import UUID

from attrs import define, field
from coincurve import PrivateKey
from kexkit.errors import Refusal
from kexkit.hazmat import SecurityLayer
from kexkit.identity import SoftwareIdentity
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_x3dh.exchange import X3DH

from tests.interop.protobuf import map_of, read
from tests.interop.status_go_peer import StatusGoPeer
from tests.interop.status_go_ratchet import StatusGoError

START_MS = 1_760_000_000_000
NS_IN_MS = 1_000_000


class Refused(Exception):
    """The device did not take a message."""


class ChattingDevice(Protocol):
    @property
    def identity(self) -> bytes: ...
    @property
    def installation(self) -> str: ...
    @property
    def forgets_used_keys(self) -> bool: ...
    def bundle(self) -> bytes: ...
    def process_bundle(self, maker: bytes, bundle: bytes) -> None: ...
    def enable(self, installation: str) -> None: ...
    def send(self, to: bytes, payload: bytes) -> bytes: ...
    def receive(self, sender: bytes, message: bytes) -> bytes | None: ...
    def restart(self) -> None: ...
    def age(self, ms: int) -> None: ...
    def state(self) -> object: ...


@define
class KexkitDevice:
    """The one under test."""

    layer: SecurityLayer
    identity: bytes
    installation: str
    forgets_used_keys: bool = True

    def bundle(self) -> bytes:
        return self.layer.bundle()

    def process_bundle(self, maker: bytes, bundle: bytes) -> None:
        self.layer.process_bundle(maker, bundle)

    def enable(self, installation: str) -> None:
        self.layer.enable(installation)

    def send(self, to: bytes, payload: bytes) -> bytes:
        return self.layer.seal(to, payload)

    def receive(self, sender: bytes, message: bytes) -> bytes | None:
        try:
            opened = self.layer.open(sender, message)
        except Refusal as refusal:
            raise Refused(f"{type(refusal).__name__}: {refusal}") from None
        if opened is None:
            return None
        (plain,) = opened
        return plain.body

    def restart(self) -> None:
        self.layer.restart()

    def age(self, ms: int) -> None:
        """Its clock is the workshop's."""

    def state(self) -> object:
        return dict(self.layer.shell.rows)


@define
class StatusGoDevice:
    """The oracle."""

    peer: StatusGoPeer
    forgets_used_keys: bool = False

    @property
    def identity(self) -> bytes:
        return self.peer.identity

    @property
    def installation(self) -> str:
        return self.peer.installation

    def bundle(self) -> bytes:
        return self.peer.bundle()

    def process_bundle(self, maker: bytes, bundle: bytes) -> None:
        try:
            self.peer.process_bundle(bundle)
        except StatusGoError as error:
            raise Refused(str(error)) from None

    def enable(self, installation: str) -> None:
        self.peer.enable(installation)

    def send(self, to: bytes, payload: bytes) -> bytes:
        return self.peer.build(to, payload)

    def build(self, op: str, to: bytes, payload: bytes) -> bytes:
        """`op`: build, build_dh, build_public."""
        if op == "build_public":
            return self.peer.build_public(payload)
        return self.peer.build(to, payload) if op == "build" else self.peer.build_dh(to, payload)

    def receive(self, sender: bytes, message: bytes) -> bytes | None:
        try:
            delivered = self.peer.deliver(sender, message)
        except StatusGoError as error:
            raise Refused(str(error)) from None
        if not delivered:
            return None
        (body,) = delivered
        return body

    def restart(self) -> None:
        """Its state is in a database."""

    def age(self, ms: int) -> None:
        """Its clock is the workshop's."""

    def state(self) -> None:
        """Nothing is promised of it."""


@define
class Clock:
    ms: int = START_MS

    def now_ms(self) -> int:
        self.ms += 1
        return self.ms

    def now_ns(self) -> int:
        return self.now_ms() * NS_IN_MS


@define
class Workshop:
    """Makes devices. The same seed makes the same ones."""

    random: Random
    clock: Clock = field(factory=Clock)

    def person(self) -> bytes:
        return PrivateKey(self.random.randbytes(32)).secret

    def public(self, secret: bytes) -> bytes:
        return SoftwareIdentity(secret).public

    def installation(self) -> str:
        return str(UUID(bytes=self.random.randbytes(16), version=4))

    def kexkit(self, secret: bytes) -> KexkitDevice:
        identity, installation = SoftwareIdentity(secret), self.installation()
        layer = SecurityLayer(
            identity,
            installation,
            [X3DH()],
            clock=self.clock.now_ms,
            rng=self.random.randbytes,
            policy=WITHOUT_FORWARD_SECRECY,
        )
        return KexkitDevice(layer, identity.public, installation)

    def status_go(self, secret: bytes) -> StatusGoDevice:
        return StatusGoDevice(
            StatusGoPeer(PrivateKey(secret), self.installation(), self.clock.now_ns, self.random.randbytes)
        )


Maker = Callable[[Workshop, bytes], ChattingDevice]


def addressees(message: bytes) -> set[str]:
    return set(map_of(read(message).get(101, [])))


def is_ratcheted(message: bytes, installation: str) -> bool:
    """False: protected by identity keys alone, which open it as often as it comes."""
    entries = map_of(read(message).get(101, []))
    return 2 in read(entries.get(installation, entries.get("none", b"")))
