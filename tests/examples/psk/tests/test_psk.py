"""What kexkit-psk promises besides the contract."""

from __future__ import annotations

import pytest
from kexkit import load_plugins
from kexkit.errors import Forged, InvalidInput, Malformed, StoreNewer
from kexkit.testing import Pair
from kexkit_psk import kexkit_key_exchanges
from kexkit_psk.exchange import Psk


def test_it_is_found_and_loaded_by_its_name() -> None:
    plugins = load_plugins(["psk"], {"psk": {"secret": "5e" * 32}})
    assert plugins.reports[0].provides == ("key exchange psk@example.org/1",)


@pytest.mark.parametrize("config", [{}, {"secret": ""}, {"secret": "not hex" * 10}])
def test_a_bad_setting_is_said_without_showing_it(config: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        kexkit_key_exchanges(config)
    assert "secrets.token_hex" in str(caught.value)
    assert "not hex" not in str(caught.value)


def test_two_secrets_are_noticed_when_the_offer_is_read() -> None:
    pair = Pair(lambda: Psk(bytes(32)), stranger=lambda: Psk(bytes(31) + b"\1"))
    with pytest.raises(Forged, match="another pre-shared secret"):
        pair.alice.read_offer(pair.carol.issued[0].offer.public, pair.carol.me)


def test_an_offer_cannot_be_passed_off_as_another_devices() -> None:
    pair = Pair(lambda: Psk(bytes(32)))
    with pytest.raises(Forged):
        pair.alice.read_offer(pair.bob.issued[0].offer.public, pair.carol.me)
    with pytest.raises(Malformed):
        pair.alice.read_offer(b"", pair.bob.me)


def test_a_colleague_with_the_same_secret_cannot_read_along() -> None:
    """The identities' agreement is in the keys, so that a secret shared by many still makes sessions for two."""
    pair = Pair(lambda: Psk(bytes(32)))
    pair.begin()
    first = pair.alice.seal(b"for Bob", pair.bob.me)
    colleague = pair.carol.copy(me=pair.bob.me)
    with pytest.raises(Forged):
        colleague.accept(first[0], bind=pair.bob.issued[0].bind)


def test_a_snapshot_of_a_later_format_says_so() -> None:
    pair = Pair(lambda: Psk(bytes(32)))
    pair.begin()
    snapshot = pair.alice.session_with(pair.bob.me).snapshot()
    with pytest.raises(StoreNewer):
        Psk(bytes(32)).restore(b"\2" + snapshot[1:])


def test_the_wire_format_is_the_one_that_was_published() -> None:
    """Under fixed randomness: a change here breaks everybody who already uses it, and needs the name psk@…/2."""
    pair = Pair(lambda: Psk(bytes(range(32))), seed="published")
    pair.begin()
    sealed = pair.alice.seal(b"attack at dawn", pair.bob.me)[0].frame
    assert (
        pair.alice.issued[0].offer.public.hex()
        == "00000199c82cc0003daa45c8c6545fdb9cbeebaf48b7deea70d9f1a1ffe193fe140719b8c04aa312"
    )
    assert sealed.hex() == (
        "00000199c82cc000eed751359cd45b6dd8a3862a443e3ae90000000000000000ae4d0f1387045da7da90fb94dc047ff3"
        "9d45f30be6d694ce5f17cb5b4b26c8b355d6710151c0ce1a2d37"
    )
