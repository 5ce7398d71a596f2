"""Which runner replays which cases. A case that is neither run nor named here with a reason is a failure.

Keys are (file name without .json, the case's kind or None). A runner is 'module:function' with the signature
run(case, document) -> None; it is imported when its first case runs.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen
class NotRun:
    """Known, and not replayed: `reason` is shown with the count after every run."""

    reason: str


Runner = str | NotRun

_GROUPS: Final = NotRun("group chats are not part of this version")
_ACCOUNT: Final = NotRun("key derivation from mnemonics and names of keys are not part of this version")
_SEGMENTS: Final = NotRun("segmentation is not part of this version")
_HASH_RATCHET: Final = NotRun("the hash ratchet is for communities, which kexkit does not have")
_UNSPOKEN: Final = NotRun("Noise patterns that we do not speak")
_OTHER_SUITES: Final = NotRun("patterns that we speak, with ciphers or hashes that we do not: Waku has one of each")
_SEMI_EXPANDED: Final = NotRun("the library takes ML-KEM private keys as 64-byte seeds only")

_STATUS: Final[dict[tuple[str, str | None], Runner]] = {
    ("x3dh", "bundle"): "tests.vectors.run_x3dh:bundle",
    ("x3dh", "agreement"): "tests.vectors.run_x3dh:agreement",
    ("x3dh", "signbundle"): "tests.vectors.run_x3dh:signbundle",
    ("x3dh", "bad_bundle"): "tests.vectors.run_x3dh:bad_bundle",
    ("x3dh", "ok_edge"): "tests.vectors.run_x3dh:ok_edge",
    ("doubleratchet", None): "tests.vectors.run_doubleratchet:transcript",
    ("doubleratchet_limits", None): "tests.vectors.run_doubleratchet:transcript",
    ("doubleratchet_random", None): "tests.vectors.run_doubleratchet:transcript",
    ("protocol_message", None): "tests.vectors.run_protocol_message:transcript",
    ("protocol_message_multidevice", None): "tests.vectors.run_protocol_message:transcript",
    ("protocol_message_hashratchet", None): _HASH_RATCHET,
    ("wrap", "application_metadata"): "tests.vectors.run_application:wrapped",
    ("wrap", "application_metadata_bad"): "tests.vectors.run_application:spoiled",
    ("wrap", "mvds"): "tests.vectors.run_mvds:payload",
    ("transport", "transport_payload"): "tests.vectors.run_payload:payload",
    ("transport", "transport_payload_bad"): "tests.vectors.run_payload:spoiled",
    ("transport", "full_stack"): "tests.vectors.run_full_stack:message",
    ("transport", "segmentation"): _SEGMENTS,
    ("topics", "public_chat"): "tests.vectors.run_topics:public_chat",
    ("topics", "identity"): "tests.vectors.run_topics:identity",
    ("group", "group"): _GROUPS,
    ("group_invalid", "group"): _GROUPS,
    ("group_invalid", "event_bad"): _GROUPS,
    ("group_merge", "merge"): _GROUPS,
    ("group_random", "group"): _GROUPS,
    ("account", "mnemonic"): _ACCOUNT,
    ("account", "identity"): _ACCOUNT,
    ("sessions", "installations"): "tests.vectors.run_sessions:installations",
    ("sessions", "own_bundle"): "tests.vectors.run_sessions:own_bundle",
    ("sessions", "shared_secret"): "tests.vectors.run_sessions:shared_secret",
}

_WAKU_NOISE: Final[dict[tuple[str, str | None], Runner]] = {
    ("handshake-K1K1", None): "tests.vectors.run_waku_noise:handshake",
    ("handshake-WakuPairing", None): "tests.vectors.run_waku_noise:handshake",
    ("handshake-XK1", None): "tests.vectors.run_waku_noise:handshake",
    ("handshake-XX", None): "tests.vectors.run_waku_noise:handshake",
    ("handshake-XXpsk0", None): "tests.vectors.run_waku_noise:handshake",
    ("handshake-rejects", None): "tests.vectors.run_waku_noise:reject",
    ("session-scenarios", None): "tests.vectors.run_waku_sessions:scenario",
    ("primitives", "auth_codes_and_h_derivations"): "tests.vectors.run_waku_noise:derived_from_h",
    ("primitives", "session_ids_spec37_unverified"): "tests.vectors.run_waku_noise:session_ids",
    ("primitives", "nametag_buffers"): "tests.vectors.run_waku_noise:nametag_buffer",
    ("primitives", "commitments"): "tests.vectors.run_waku_noise:commitment",
    ("primitives", "pkcs7_248"): "tests.vectors.run_waku_noise:padding",
    ("primitives", "payload_v2_codec"): "tests.vectors.run_waku_noise:codec",
    ("primitives", "qr"): "tests.vectors.run_waku_noise:qr_code",
}

_SPOKEN: Final = ("XX", "XK1", "K1K1")
_FOREIGN: Final = {
    "cacophony": ("NN", "KK", "XK", "IK", "N", "K", "X", "XXpsk3", "X1K1", "XX1"),
    "snow": ("XK", "KK", "XXpsk0+psk1", "XXpsk0+psk2", "XXpsk0+psk3", "XXpsk0+psk1+psk2+psk3"),
}
_SUITES: Final = [
    f"{cipher}_{digest}" for cipher in ("ChaChaPoly", "AESGCM") for digest in ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")
]
_NOISE: Final[dict[tuple[str, str | None], Runner]] = {
    (stem, f"Noise_{pattern}_25519_{suite}"): _OTHER_SUITES
    if suite != _SUITES[0]
    else "tests.vectors.run_noise:transcript"
    for stem in _FOREIGN
    for pattern in _SPOKEN
    for suite in _SUITES
} | {
    (stem, f"Noise_{pattern}_25519_{_SUITES[0]}"): _UNSPOKEN
    for stem, patterns in _FOREIGN.items()
    for pattern in patterns
}

_HEALING_NOISE: Final[dict[tuple[str, str | None], Runner]] = {
    ("healing-in-turns", None): "tests.vectors.run_healing_noise:transcript",
    ("healing-responder-first", None): "tests.vectors.run_healing_noise:transcript",
    ("healing-with-gaps", None): "tests.vectors.run_healing_noise:transcript",
}

_WYCHEPROOF: Final[dict[tuple[str, str | None], Runner]] = {
    ("ecdh_secp256k1_test", None): "tests.vectors.run_wycheproof:ecdh_secp256k1",
    ("ecdsa_secp256k1_sha256_bitcoin_test", None): "tests.vectors.run_wycheproof:ecdsa_der",
    ("ecdsa_secp256k1_sha256_p1363_test", None): "tests.vectors.run_wycheproof:ecdsa_p1363",
    ("aes_gcm_test", None): "tests.vectors.run_wycheproof:aes_gcm",
    ("chacha20_poly1305_test", None): "tests.vectors.run_wycheproof:chacha20_poly1305",
    ("hkdf_sha256_test", None): "tests.vectors.run_wycheproof:hkdf_sha256",
    ("hmac_sha256_test", None): "tests.vectors.run_wycheproof:hmac_sha256",
    ("x25519_test", None): "tests.vectors.run_wycheproof:x25519",
    ("ed25519_test", None): "tests.vectors.run_wycheproof:ed25519",
    ("mlkem_768_test", None): "tests.vectors.run_wycheproof:mlkem_768_decapsulation",
    ("mlkem_768_encaps_test", None): "tests.vectors.run_wycheproof:mlkem_768_public_key",
    ("mlkem_768_semi_expanded_decaps_test", None): _SEMI_EXPANDED,
}

TABLE: Final = _STATUS | _WAKU_NOISE | _NOISE | _HEALING_NOISE | _WYCHEPROOF
