"""python -m bench.choices: the small choices of the hot path, each against what it was chosen over (docs/adr/0007)."""

from __future__ import annotations

import asyncio
import hmac
import os
import sys
from collections.abc import Callable
from statistics import median

import pluggy
from attrs import define, frozen
from Crypto.Hash import keccak
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kexkit import secp256k1
from kexkit_x3dh import chains, cipher

from bench.measuring import Contestant, measure, ratio

KEY, VECTOR, BODY, HEADER = os.urandom(32), os.urandom(16), b"x" * 100, b"h" * 41
SECRET = secp256k1.generate_secret(os.urandom)
POINT = secp256k1.public_of(secp256k1.generate_secret(os.urandom))


@define
class Plain:
    one: bytes
    two: bytes
    three: int
    four: int


@frozen
class Frozen:
    one: bytes
    two: bytes
    three: int
    four: int


spec, hook = pluggy.HookspecMarker("choice"), pluggy.HookimplMarker("choice")


class Spec:
    @spec(firstresult=True)
    def seal(self, body: bytes) -> bytes:  # type: ignore[empty-body]  # pluggy's way of saying it
        ...


class Plugin:
    @hook
    def seal(self, body: bytes) -> bytes:
        return body


plugin, manager = Plugin(), pluggy.PluginManager("choice")
manager.add_hookspecs(Spec)
manager.register(plugin)
loop = asyncio.new_event_loop()


def by_hmac_digest() -> None:
    """All of a message's derivations and its MAC."""
    hmac.digest(KEY, b"\x0f", "sha256")
    hmac.digest(KEY, b"\x10", "sha256")
    extracted = hmac.digest(bytes(32), KEY, "sha256")
    first = hmac.digest(extracted, b"info\x01", "sha256")
    hmac.digest(extracted, first + b"info\x02", "sha256")
    hmac.digest(KEY, HEADER + BODY, "sha256")


def by_hkdf_object() -> None:
    hmac.digest(KEY, b"\x0f", "sha256")
    hmac.digest(KEY, b"\x10", "sha256")
    HKDF(SHA256(), 64, bytes(32), b"info").derive(KEY)
    hmac.digest(KEY, HEADER + BODY, "sha256")


def by_padded_key() -> None:
    chains.chain_step(KEY)
    chains.body_keys(KEY)
    chains.hmac_sha256(KEY, HEADER + BODY)


def in_a_thread() -> None:
    async def hop() -> None:
        await asyncio.to_thread(plugin.seal, BODY)

    loop.run_until_complete(hop())


def in_the_loop() -> None:
    async def stay() -> None:
        plugin.seal(BODY)

    loop.run_until_complete(stay())


def turn_on_receipt() -> None:
    secp256k1.agree(SECRET, POINT)
    fresh = secp256k1.generate_secret(os.urandom)
    secp256k1.public_of(fresh)
    secp256k1.agree(fresh, POINT)


def rows(make: type[Plain] | type[Frozen]) -> None:
    make(KEY, VECTOR, 1, 2)


CHOICES: dict[str, tuple[Callable[[], object], dict[str, Callable[[], object]]]] = {
    "the derivations of a message: padded keys and hashlib": (
        by_padded_key,
        {"hmac.digest alone": by_hmac_digest, "hmac.digest and an HKDF object": by_hkdf_object},
    ),
    "a value made once a message: attrs define": (lambda: rows(Plain), {"attrs frozen": lambda: rows(Frozen)}),
    "a plugin asked: a bound method": (
        lambda: plugin.seal(BODY),
        {"a pluggy hook, one implementation": lambda: manager.hook.seal(body=BODY)},
    ),
    "work in the event loop's thread": (in_the_loop, {"asyncio.to_thread": in_a_thread}),
    "a turn of the ratchet: one agreement on receipt": (
        lambda: secp256k1.agree(SECRET, POINT),
        {"the next key made at once": turn_on_receipt},
    ),
    "AES-CTR under a key of known length": (
        lambda: cipher._keystream(KEY, VECTOR, BODY),
        {"Cipher() and encryptor()": lambda: Cipher(AES256(KEY), CTR(VECTOR)).encryptor().update(BODY)},
    ),
    "Keccak-256 of 300 bytes in one crossing": (
        lambda: secp256k1.keccak256(BODY * 3),
        {"an object of pycryptodome": lambda: keccak.new(data=BODY * 3, digest_bits=256).digest()},
    ),
}


def repeated(name: str, work: Callable[[], object]) -> Contestant:
    def run(times: int) -> None:
        for _ in range(times):
            work()

    return Contestant(name, run)


def main() -> int:
    groups = [
        [repeated(name, ours), *(repeated(other, work) for other, work in others.items())]
        for name, (ours, others) in CHOICES.items()
    ]
    found = measure([one for group in groups for one in group], rounds=15, sample_ms=5, tell=lambda what: None)
    for group in groups:
        ours, *others = found[: len(group)]
        del found[: len(group)]
        print(f"{median(ours.processor):8.2f} µs  {group[0].name}")
        for contestant, samples in zip(group[1:], others, strict=True):
            times = ratio(ours.processor, samples.processor).median
            print(f"{median(samples.processor):8.2f} µs  {contestant.name}: {times:.1f} times as long")
    return 0


if __name__ == "__main__":
    sys.exit(main())
