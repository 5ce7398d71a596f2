"""vodozemac: Matrix's Olm in Rust, behind PyO3."""

from __future__ import annotations

from typing import Final

import vodozemac

from bench.conversation import Library

PICKLE_KEY: Final = bytes(range(32))


class Talker:
    def __init__(self, session: vodozemac.Session) -> None:
        self._session = session

    def seal(self, body: bytes) -> vodozemac.AnyOlmMessage:
        return self._session.encrypt(body)

    def open(self, sealed: vodozemac.AnyOlmMessage) -> bytes:
        return self._session.decrypt(sealed)

    def state(self) -> bytes:
        return self._session.pickle(PICKLE_KEY).encode()


class Vodozemac:
    name = "vodozemac"

    def __init__(self) -> None:
        self._alice = vodozemac.Account()
        self._bob = vodozemac.Account()

    def meet(self, body: bytes) -> tuple[Talker, Talker]:
        bob = self._bob
        bob.generate_one_time_keys(1)
        (one_time_key,) = bob.one_time_keys.values()
        bob.mark_keys_as_published()
        outbound = self._alice.create_outbound_session(bob.curve25519_key, one_time_key)
        sealed = outbound.encrypt(body).to_pre_key()
        assert sealed is not None
        inbound, opened = bob.create_inbound_session(self._alice.curve25519_key, sealed)
        assert opened == body
        return Talker(outbound), Talker(inbound)


def make() -> Library:
    return Vodozemac()
