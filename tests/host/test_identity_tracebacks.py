"""A peer chooses the point that our identity key is agreed with, so a peer can cause its errors."""

from __future__ import annotations

import traceback

import pytest
from kexkit.errors import Malformed
from kexkit.identity import SoftwareIdentity
from kexkit.testing.key_exchange_party import SeededRng


@pytest.mark.parametrize("point", [b"", bytes(33), b"\x02" + b"\xff" * 32, b"\x05" + bytes(32)])
def test_a_bad_point_shows_no_key_among_the_locals_of_its_traceback(point: bytes) -> None:
    identity = SoftwareIdentity.generate(SeededRng("identity"))
    with pytest.raises(Malformed) as caught:
        identity.agree(point)
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "public = b" in told
    assert repr(identity.expose_secret())[2:-1] not in told
