"""One kexkit encryption layer, driven by lines of JSON: what a program in another language talks to.

Run it with `python tests/interop/peer.py`; docs/protocols/status-interop.md has the table of operations. One request a
line on standard input, one answer a line on standard output. Bytes are lower-case hex; keys of people are 33 bytes
compressed or 65 uncompressed. It is a test's tool: its state dies with it, and a secret on a command line is no secret.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from kexkit import secp256k1
from kexkit.errors import InvalidInput, KexkitError
from kexkit.hazmat import SecurityLayer
from kexkit.identity import SoftwareIdentity
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_x3dh.exchange import X3DH

Request = dict[str, Any]
Answer = dict[str, Any]


class Driver:
    """Requests to answers. Nothing that a request holds ends the process."""

    def __init__(self, secret: bytes, installation: str) -> None:
        self._identity = SoftwareIdentity(secret)
        self._installation = installation
        self._ahead = 0
        self._layer = SecurityLayer(
            self._identity,
            installation,
            [X3DH()],
            clock=lambda: time.time_ns() // 1_000_000 + self._ahead,
            rng=secrets.token_bytes,
            policy=WITHOUT_FORWARD_SECRECY,
        )
        self._operations: dict[str, Callable[[Request], Answer]] = {
            "identity": self._say_who,
            "bundle": lambda request: {"bundle": self._layer.bundle().hex()},
            "process_bundle": self._process_bundle,
            "enable": self._enable,
            "seal": lambda request: _message(self._layer.seal(_person(request, "to"), _bytes(request, "payload"))),
            "seal_fallback": lambda request: _message(
                self._layer.seal_fallback(_person(request, "to"), _bytes(request, "payload"))
            ),
            "seal_public": lambda request: _message(self._layer.seal_public(_bytes(request, "payload"))),
            "open": self._open,
            "restart": self._restart,
            "advance": self._advance,
        }

    def answer(self, line: str) -> Answer:
        try:
            request = json.loads(line)
            operation = self._operations.get(str(request["op"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return _failed(InvalidInput("A request is one line of JSON, an object with 'op'."))
        if operation is None:
            return _failed(InvalidInput(f"There is no such op; there are {', '.join(self._operations)}."))
        try:
            return {"ok": True, **operation(request)}
        except KexkitError as error:
            return _failed(error)

    def _say_who(self, request: Request) -> Answer:
        public = self._identity.public
        return {
            "identity": public.hex(),
            "uncompressed": secp256k1.uncompressed(public).hex(),
            "installation": self._installation,
        }

    def _process_bundle(self, request: Request) -> Answer:
        self._layer.process_bundle(_person(request, "identity"), _bytes(request, "bundle"))
        return {}

    def _enable(self, request: Request) -> Answer:
        self._layer.enable(str(request.get("installation", "")))
        return {}

    def _open(self, request: Request) -> Answer:
        opened = self._layer.open(_person(request, "sender"), _bytes(request, "message"))
        if opened is None:
            return {"echo": True, "payloads": []}
        return {
            "echo": False,
            "payloads": [plain.body.hex() for plain in opened],
            "grades": [sorted(each.name or "" for each in plain.grade) for plain in opened],
        }

    def _restart(self, request: Request) -> Answer:
        self._layer.restart()
        return {}

    def _advance(self, request: Request) -> Answer:
        ahead = request.get("ms")
        if type(ahead) is not int or ahead < 0:
            raise InvalidInput("'ms' is a number of milliseconds.")
        self._ahead += ahead
        return {}


def _bytes(request: Request, name: str) -> bytes:
    try:
        return bytes.fromhex(request[name])
    except (KeyError, TypeError, ValueError):
        raise InvalidInput(f"{name!r} is bytes in hex.") from None


def _person(request: Request, name: str) -> bytes:
    key = _bytes(request, name)
    if len(key) == 65:
        return secp256k1.compressed(key)
    secp256k1.check_public(key)
    return key


def _message(raw: bytes) -> Answer:
    return {"message": raw.hex()}


def _failed(error: KexkitError) -> Answer:
    return {"ok": False, "error": type(error).__name__, "text": str(error)}


def _secret(text: str) -> bytes:
    secret = bytes.fromhex(text)
    if not secp256k1.is_secret(secret):
        raise ValueError
    return secret


def main() -> None:
    parser = argparse.ArgumentParser(description="One kexkit encryption layer, driven by lines of JSON.")
    parser.add_argument("--identity-secret", type=_secret, metavar="HEX", help="32 bytes; otherwise a new one")
    parser.add_argument("--installation", default=str(uuid.uuid4()), metavar="UUID")
    options = parser.parse_args()
    secret = options.identity_secret or secp256k1.generate_secret(secrets.token_bytes)
    driver = Driver(secret, options.installation)
    for line in sys.stdin:
        print(json.dumps(driver.answer(line)), flush=True)


if __name__ == "__main__":
    main()
