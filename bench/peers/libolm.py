"""python-olm: Matrix's libolm, in C behind cffi. Its interface is base64 text."""

from __future__ import annotations

from typing import Any, Final

import olm as untyped

from bench.conversation import Library

PASSPHRASE: Final = "bench"


olm: Any = untyped  # it ships no usable types


class Talker:
    def __init__(self, session: Any) -> None:
        self._session = session

    def seal(self, body: bytes) -> Any:
        return self._session.encrypt(body.decode())

    def open(self, sealed: Any) -> bytes:
        text: str = self._session.decrypt(sealed)
        return text.encode()

    def state(self) -> bytes:
        state: bytes = self._session.pickle(PASSPHRASE)
        return state


class LibOlm:
    name = "python-olm"

    def __init__(self) -> None:
        self._alice = olm.Account()
        self._bob = olm.Account()
        self._alice_key = self._alice.identity_keys["curve25519"]
        self._bob_key = self._bob.identity_keys["curve25519"]

    def meet(self, body: bytes) -> tuple[Talker, Talker]:
        bob = self._bob
        bob.generate_one_time_keys(1)
        (one_time_key,) = bob.one_time_keys["curve25519"].values()
        bob.mark_keys_as_published()
        outbound = olm.OutboundSession(self._alice, self._bob_key, one_time_key)
        sealed = outbound.encrypt(body.decode())
        inbound = olm.InboundSession(bob, sealed, self._alice_key)
        assert inbound.decrypt(sealed).encode() == body
        bob.remove_one_time_keys(inbound)
        return Talker(outbound), Talker(inbound)


def make() -> Library:
    return LibOlm()
