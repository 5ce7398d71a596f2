"""docs/protocols/status-interop.md says what is so: its code runs against the oracle, its table is the driver's."""

from __future__ import annotations

import re
import time
from pathlib import Path
from random import Random

import pytest
from attrs import frozen
from kexkit import limits
from kexkit.errors import NoCommonMechanism
from kexkit.hazmat import SecurityLayer
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import limits as x3dh_limits
from kexkit_x3dh.exchange import X3DH

from tests.interop.devices import StatusGoDevice, Workshop
from tests.interop.peer import Driver

_TEXT = (Path(__file__).parents[2] / "docs" / "protocols" / "status-interop.md").read_text("utf-8")


@frozen
class StatusGo:
    """As the document's code names things."""

    device: StatusGoDevice

    @property
    def identity(self) -> bytes:
        return self.device.identity

    def bundle(self) -> bytes:
        return self.device.bundle()

    def process_bundle(self, bundle: bytes) -> None:
        self.device.peer.process_bundle(bundle)

    def build(self, to: bytes, payload: bytes) -> bytes:
        return self.device.send(to, payload)

    def handle(self, sender: bytes, message: bytes) -> bytes | None:
        return self.device.receive(sender, message)


def test_the_code_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", _TEXT, re.DOTALL)
    workshop = Workshop(Random(0))
    workshop.clock.ms = time.time_ns() // 1_000_000
    exec(code, {"status_go": StatusGo(workshop.status_go(workshop.person()))})
    assert "opened before" in capsys.readouterr().out


def test_the_default_policy_writes_to_nobody_by_identity_keys_alone() -> None:
    workshop = Workshop(Random(0))
    me, nobody = SoftwareIdentity(workshop.person()), SoftwareIdentity(workshop.person()).public
    layer = SecurityLayer(
        me, workshop.installation(), [X3DH()], clock=workshop.clock.now_ms, rng=workshop.random.randbytes
    )
    for seal in (layer.seal, layer.seal_fallback):
        with pytest.raises(NoCommonMechanism):
            seal(nobody, b"anyone with the key reads this for ever")


def test_the_table_has_every_operation_of_the_driver() -> None:
    driver = Driver(bytes(31) + b"\x01", Workshop(Random(0)).installation())
    refusal = driver.answer('{"op": "?"}')["text"]
    assert set(re.findall(r'^\| `\{"op": "(\w+)"', _TEXT, re.MULTILINE)) == set(
        refusal.removeprefix("There is no such op; there are ").rstrip(".").split(", ")
    )


def test_the_bounds_are_those_of_the_code() -> None:
    assert limits.TARGETS == 3
    assert limits.SESSIONS_PER_DEVICE == 8
    assert x3dh_limits.PRODUCTION.max_skip == 1000
    assert x3dh_limits.PREKEY_GRACE_MS == 7 * 24 * 3600 * 1000
    for said in ("three devices", "eight sessions", "gaps of 1,000 messages", "seven more days"):
        assert said in " ".join(_TEXT.split())
