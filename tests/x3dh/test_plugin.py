"""The plugin as the host finds it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import kexkit_x3dh
import pytest
from kexkit.api import Carriage
from kexkit.errors import InvalidInput


def test_it_is_found_by_its_entry_point_and_brings_one_exchange() -> None:
    (entry,) = [entry for entry in entry_points(group="kexkit") if entry.name == "x3dh"]
    plugin = entry.load()
    assert plugin is kexkit_x3dh
    assert plugin.kexkit_api == "1"
    (exchange,) = plugin.kexkit_key_exchanges(config={})
    assert (exchange.name, exchange.carriage) == ("x3dh/1", Carriage.SLOT)


def test_a_setting_it_does_not_know_is_an_error_that_names_it() -> None:
    with pytest.raises(InvalidInput, match="prekey_days, zeal"):
        kexkit_x3dh.kexkit_key_exchanges(config={"zeal": "1", "prekey_days": "2"})


def test_importing_it_loads_no_cryptography() -> None:
    heavy = {"cryptography", "coincurve", "google.protobuf", "Crypto"}
    code = f"import sys, kexkit_x3dh; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
