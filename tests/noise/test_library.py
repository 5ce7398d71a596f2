"""What we rely on in `noiseprotocol`, and that one module alone does."""

from __future__ import annotations

import ast
from pathlib import Path

import kexkit_noise
import pytest
from kexkit_noise import _noise
from kexkit_noise._noise import Handshake, Keys, Pattern
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseProtocolNameError
from noise.noise_protocol import NoiseProtocol
from noise.patterns import PatternXX

from tests.noise.handshake_pairs import PROLOGUE, PSK, pair, secret

PACKAGE = Path(kexkit_noise.__file__).parent


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def test_one_module_alone_imports_the_noise_library() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert [path.name for path in modules if "noise" in imported(path)] == ["_noise.py"]
    assert len(modules) > 5


def test_our_patterns_and_the_librarys_are_the_same_where_it_has_them() -> None:
    for pattern in (Pattern.XX, Pattern.XXPSK0):
        library = NoiseProtocol(pattern.noise_name, _noise._BACKEND).pattern
        assert isinstance(library, PatternXX)
        assert library.tokens == [list(message) for message in pattern.tokens]
        assert library.pre_messages == [list(side) for side in pattern.pre_messages]


@pytest.mark.parametrize("name", [b"NN", b"IK", b"XK", b"XK2", b"XKpsk0", b"K", b"K1K", b"KK", b"WakuPairing2", b"W"])
def test_our_backend_speaks_no_other_pattern(name: bytes) -> None:
    with pytest.raises((NoiseProtocolNameError, ValueError)):
        NoiseProtocol(b"Noise_%s_25519_ChaChaPoly_SHA256" % name, _noise._BACKEND)


@pytest.mark.parametrize("pattern", [Pattern.XX, Pattern.XXPSK0], ids=str)
def test_an_unchanged_library_and_ours_speak_with_each_other(pattern: Pattern) -> None:
    """Without padding and additional data, ours is plain Noise: the library itself takes the other end."""
    library = NoiseConnection.from_name(pattern.noise_name)
    library.set_as_responder()
    library.set_prologue(PROLOGUE)
    library.set_keypair_from_private_bytes(Keypair.STATIC, secret("responder"))
    psk = PSK if pattern is Pattern.XXPSK0 else None
    if psk:
        library.set_psks(psk)
    library.start_handshake()
    ours = Handshake.begin(pattern, initiator=True, prologue=PROLOGUE, keys=Keys(pair("initiator"), psk=psk))
    ours, message = ours.write_unpadded(b"one", ephemeral=secret("e"))
    assert library.read_message(message) == b"one"
    ours, payload = ours.read_unpadded(bytes(library.write_message(b"two")))
    assert payload == b"two"
    ours, message = ours.write_unpadded(b"three")
    assert library.read_message(message) == b"three"
    assert ours.h == library.get_handshake_hash()
    assert (ours.split().k1, ours.split().k2) == (
        library.noise_protocol.cipher_state_decrypt.k,
        library.noise_protocol.cipher_state_encrypt.k,
    )
