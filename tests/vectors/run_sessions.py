"""What status-go makes of bundles: whom it addresses with which prekeys, whom it lists itself, which secret two share.

Ours is deliberately safer in two things. What does not verify is not kept (status-go keeps it, and then seals for the
forged prekey). A bundle that is older than the one known displaces nothing (status-go then takes the lowest version).
Cases that depend on the order of rows in status-go's database compare nothing but what verifies.
"""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define
from kexkit._wire import topics
from kexkit.errors import Refusal
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import bundle as bundles
from kexkit_x3dh.bundle import PublishedPrekey

from tests.vectors.recorded_party import RecordedParty, decoded, exchange_for

_NOW_MS = 1_760_000_000_000
_NS_IN_MS = 1_000_000


@define
class _Reader(RecordedParty):
    """Draws whatever it needs: these recordings are of choices, not of bytes."""

    count: int = 0

    def _rng(self, size: int) -> bytes:
        self.count += 1
        return self.count.to_bytes(size, "big")


def _reader(identity: dict[str, Any], installation: str) -> _Reader:
    me = SoftwareIdentity(bytes.fromhex(identity["private"]))
    return _Reader(me, installation, exchange_for({installation}), {}, _NOW_MS)


def installations(case: dict[str, Any], document: dict[str, Any]) -> None:
    reader = _reader(case["me"], "the reader's")
    reader.layer.bundle()
    reader.now = 1  # the recorded bundles are of the year 1970
    them = bytes.fromhex(case["them"]["public_compressed"])
    best: dict[str, tuple[int, int, str]] = {}
    displaced = forged = False
    for each in case["processed"]:
        recorded = each["bundle"]
        before = reader.rows
        if each["status_go_error"] is not None:
            forged = True
            with pytest.raises(Refusal):
                reader.layer.process_bundle(them, bytes.fromhex(recorded["serialized"]))
            assert reader.rows == before
            continue
        reader.layer.process_bundle(them, bytes.fromhex(recorded["serialized"]))
        for name, prekey in recorded["signed_pre_keys"].items():
            place = (prekey["version"], recorded["timestamp"], prekey["signed_pre_key"])
            displaced = displaced or place < best.get(name, place)
            best[name] = max(place, best.get(name, place))
    sealed = decoded(reader.layer.seal(them, b"whom does it reach"))["encrypted_message"]
    reached = {name: entry.get("x3dh_header", {}).get("id", "") for name, entry in sealed.items()}
    addressed = sorted(best, key=lambda name: best[name][1], reverse=True)[: document["notes"]["max_installations"]]
    if case["outcome_depends_on_row_order"]:
        assert len(reached) == len(addressed)
        assert all(prekey in str(case["processed"]) for prekey in reached.values())
        return
    assert reached == ({name: best[name][2] for name in addressed} or {"none": ""})
    if not (displaced or forged):
        assert reached == case["then_direct_message"]["entries_x3dh_id"]
    assert set(reached) - {"none"} == {each["installation_id"] for each in case["active_installations"] or ()}


def own_bundle(case: dict[str, Any], document: dict[str, Any]) -> None:
    """Our other devices publish in the recorded order; those that are paired are listed as status-go lists them."""
    recorded, own = case["bundle"], case["own_installation_id"]
    party = _reader(case["me"], own)
    for age, name in enumerate(case["other_own_installations_by_increasing_timestamp"] or ()):
        listed = recorded["signed_pre_keys"].get(name)
        prekey = (
            PublishedPrekey(bytes.fromhex(listed["signed_pre_key"]), listed["version"], listed["protocol_version"])
            if listed is not None
            else PublishedPrekey(party.identity.public, 1, 1)
        )
        made = bundles.make(party.identity, {name: prekey}, _NOW_MS * _NS_IN_MS + age)
        party.layer.process_bundle(party.identity.public, made)
        if name in case["enabled"]:
            party.layer.enable(name)
    ours = bundles.parse(party.layer.bundle()).prekeys
    theirs = bundles.parse(bytes.fromhex(recorded["serialized"])).prekeys
    assert ours.keys() == theirs.keys()
    assert {name: ours[name] for name in ours if name != own} == {name: theirs[name] for name in theirs if name != own}
    assert (ours[own].version, ours[own].protocol_version) == (theirs[own].version, theirs[own].protocol_version)


def shared_secret(case: dict[str, Any], document: dict[str, Any]) -> None:
    one, other = (SoftwareIdentity(bytes.fromhex(case[name]["private"])) for name in ("a", "b"))
    assert one.agree(other.public) == other.agree(one.public) == bytes.fromhex(case["shared_secret"])
    assert topics.negotiated_name(one.agree(other.public)) == case["shared_secret"]
