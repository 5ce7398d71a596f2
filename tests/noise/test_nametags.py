"""What is derived from a transcript, and that one module alone knows the Noise library."""

from __future__ import annotations

import hashlib
import hmac

from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit_noise import nametags

H = st.binary(min_size=32, max_size=32)


@settings(derandomize=True)
@given(H, st.binary(max_size=40), st.binary(max_size=64), st.integers(1, 128))
def test_derivation_is_rfc_5869(salt: bytes, info: bytes, secret: bytes, length: int) -> None:
    key, block, made = hmac.digest(salt, secret, "sha256"), b"", b""
    for number in range(1, 5):
        block = hmac.digest(key, block + info + bytes((number,)), "sha256")
        made += block
    assert nametags.derive(salt, length, info, secret) == made[:length]


@settings(derandomize=True)
@given(H)
def test_an_auth_code_has_eight_digits(h: bytes) -> None:
    code = nametags.auth_code(h)
    assert len(code) == 8
    assert code.isdecimal()
    assert int(code) == int.from_bytes(nametags.message_nametag(h)[:8], "big") % 10**8


def test_an_auth_code_keeps_its_leading_zeros() -> None:
    """js's form; nim leaves them out, and a person comparing would take two codes for different ones."""
    codes = (nametags.auth_code(hashlib.sha256(bytes((n, 0))).digest()) for n in range(256))
    assert any(code.startswith("0") for code in codes)


@settings(derandomize=True, max_examples=30)
@given(H)
def test_the_secrets_of_the_two_directions_are_unlike_and_not_shown(h: bytes) -> None:
    secrets = nametags.nametag_secrets(h)
    both = (secrets.responder_to_initiator, secrets.initiator_to_responder)
    assert both[0] + both[1] == nametags.derive(h, 64)
    assert len(set(both)) == 2
    assert not any(repr(secret) in repr(secrets) for secret in both)


def test_topics_have_the_forms_of_the_specifications() -> None:
    name = nametags.topic_id(b"a session").hex()
    assert nametags.session_topic("kexkit", "1", name) == f"/kexkit/1/wakunoise/1/sessions/{name}/proto"
    assert nametags.pairing_topic("app", "0.1", "10") == "/app/0.1/wakunoise/1/sessions_shard-10/proto"
    assert name == hashlib.sha256(hashlib.sha256(b"a session").digest()).hexdigest()
    assert nametags.termination_marker(b"a session") == hashlib.sha256(b"a session").digest()


def test_a_commitment_is_to_key_and_randomness() -> None:
    made = {nametags.commitment(bytes((key,)) * 32, bytes((r,)) * 32) for key in range(3) for r in range(3)}
    assert len(made) == 9
