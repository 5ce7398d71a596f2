"""What a person is told where nothing can ever be sealed: by whose fault, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kexkit import Contact, Guarantee, Policy
from kexkit.api import KeyExchange
from kexkit.errors import MechanismMissing, NoCommonMechanism
from kexkit_cli.negotiating import check_common

ALL = ~Guarantee.NONE


def loaded(**given: Guarantee) -> Sequence[KeyExchange]:
    return [cast(KeyExchange, SimpleNamespace(name=f"{name}/1", guarantees=gives)) for name, gives in given.items()]


def refusal(offers: Sequence[str], exchanges: Sequence[KeyExchange], **policy: Any) -> NoCommonMechanism:
    contact = cast(Contact, SimpleNamespace(mechanisms=tuple(offers)))
    with pytest.raises(NoCommonMechanism) as raised:
        check_common(contact, exchanges, Policy(**policy), "bob")
    return raised.value


def test_where_no_plugin_is_loaded_for_what_they_offer_it_is_the_plugin_that_is_missing() -> None:
    error = refusal(["noise-xx/1", "x3dh/1"], loaded(psk=ALL))
    assert type(error) is MechanismMissing
    assert str(error).startswith("bob offers noise-xx/1, x3dh/1; allowed here: psk/1.")
    assert "--plugins" in str(error)


def test_what_settings_forbid_is_not_said_to_lack_a_plugin() -> None:
    error = refusal(["x3dh/1"], loaded(x3dh=ALL), mechanisms=frozenset({"psk/1"}))
    assert type(error) is NoCommonMechanism
    assert "config.toml" in str(error)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (Guarantee.FORWARD_SECRECY, "x3dh/1 gives no forward secrecy: --without-forward-secrecy allows it."),
        (Guarantee.FROM_PEER, "What x3dh/1 does not give is demanded here: from peer."),
        (Guarantee.FROM_PEER | Guarantee.FORWARD_SECRECY, "is demanded here: from peer, forward secrecy."),
    ],
)
def test_what_gives_too_little_is_named_with_what_it_lacks(lacking: Guarantee, said: str) -> None:
    error = refusal(["x3dh/1"], loaded(x3dh=ALL & ~lacking))
    assert type(error) is NoCommonMechanism
    assert said in str(error)


def test_what_is_common_is_no_matter_nor_is_a_person_of_whom_nothing_is_known() -> None:
    for offers in (["x3dh/1", "other/1"], []):
        contact = cast(Contact, SimpleNamespace(mechanisms=tuple(offers)))
        check_common(contact, loaded(x3dh=ALL), Policy(), "bob")
