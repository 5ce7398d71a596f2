"""One value in two threads: what a header key remembers is whole, or it is not there."""

from __future__ import annotations

import pytest
from kexkit_noise import healing_keys
from kexkit_noise.healing_keys import HeaderKey

KEY = bytes(range(32))


def test_a_header_key_whose_tag_key_is_being_derived_gives_other_threads_the_right_nametag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = HeaderKey(KEY).tag(7)
    header, seen = HeaderKey(KEY), []
    derived = healing_keys.hmac_sha256

    class Interrupted(bytes):
        """When half of the derivation is done, another thread asks."""

        steps = 0

        def translate(self, table: object, /, delete: object = b"") -> bytes:
            del delete
            self.steps += 1
            if self.steps == 2:
                monkeypatch.setattr(healing_keys, "hmac_sha256", derived)
                seen.append(header.tag(7))
            return bytes(self).translate(table)  # type: ignore[arg-type]  # any table

    monkeypatch.setattr(healing_keys, "hmac_sha256", lambda key, data: Interrupted(derived(key, data)))
    seen.append(header.tag(7))
    assert set(seen) == {expected}
    assert len(seen) >= 2
