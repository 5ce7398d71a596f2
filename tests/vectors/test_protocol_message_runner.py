"""The runner of transcripts can fail: it catches seeded defects, and it knows no name, key or id by heart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine import peers
from kexkit._wire import protocol_message
from kexkit.api import Plain, Step, Versioned
from kexkit.errors import KexkitError
from kexkit.hazmat import SecurityLayer
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import agreement, bundle, chains, cipher, direct, frames, limits, prekeys, session
from kexkit_x3dh.exchange import X3DH
from kexkit_x3dh.session import RatchetSession

from tests.vectors.documents import Case, cases_of
from tests.vectors.recorded_party import decoded_bundle, exchange_for
from tests.vectors.run_protocol_message import transcript

_DATA = Path(__file__).parent / "data" / "status-go"
CASES = [
    case for name in ("protocol_message", "protocol_message_multidevice") for case in cases_of(_DATA / f"{name}.json")
]

Patch = pytest.MonkeyPatch
Defect = Callable[[Patch], None]


# --- seeded defects --------------------------------------------------------------------------------------------------


def another_label_of_the_root_chain(patch: Patch) -> None:
    patch.setattr(chains, "_ROOT_INFO", bytes(32))


def another_label_of_message_keys(patch: Patch) -> None:
    patch.setattr(chains, "_MESSAGE_INFO", bytes(32))


def header_numbers_in_network_order(patch: Patch) -> None:
    patch.setattr(frames, "header_bytes", lambda n, pn, key: n.to_bytes(4, "big") + pn.to_bytes(4, "big") + key)


def agreements_in_another_order(patch: Patch) -> None:
    genuine = agreement._secret
    patch.setattr(agreement, "_secret", lambda one, two, three: genuine(two, one, three))


def the_previous_chain_has_no_length(patch: Patch) -> None:
    genuine = RatchetSession._turn

    def turn(self: RatchetSession, before: Any, ctx: Any) -> Any:
        root, speaking = genuine(self, before, ctx)
        return root, evolve(speaking, pn=0)

    patch.setattr(RatchetSession, "_turn", turn)


def the_opening_header_stays_for_ever(patch: Patch) -> None:
    genuine = RatchetSession._opened

    def opened(self: RatchetSession, *rest: Any) -> Step:
        step = genuine(self, *rest)
        assert isinstance(step.session, RatchetSession)
        return evolve(step, session=evolve(step.session, heard=not self.parties.ours))

    patch.setattr(RatchetSession, "_opened", opened)


def a_used_key_opens_again(patch: Patch) -> None:
    again = Plain(b"again", session.EARLY)
    patch.setattr(RatchetSession, "_open_late", lambda self, frame, have: Step(self, plain=(again,)))


def sessions_are_found_by_installation_alone(patch: Patch) -> None:
    genuine = SecurityLayer.open

    def open_for_anyone(self: SecurityLayer, sender: bytes, message: bytes) -> Any:
        name = protocol_message.parse(message).installation
        for table, identity in list(self.shell.rows):
            if table == "peer" and any(
                device.installation == name and device.sessions
                for device in records.read_peer(self.shell.rows[table, identity].value).devices
            ):
                sender = identity
        return genuine(self, sender, message)

    patch.setattr(SecurityLayer, "open", open_for_anyone)


def any_signature_will_do(patch: Patch) -> None:
    def read(raw: bytes, **checked: object) -> bundle.Bundle:
        return bundle.parse(raw)

    patch.setattr(bundle, "read", read)


def the_nonce_goes_first(patch: Patch) -> None:
    genuine = frames.write_direct
    size = direct.NONCE_BYTES
    patch.setattr(frames, "write_direct", lambda key, sealed: genuine(key, sealed[-size:] + sealed[:-size]))


def a_fourth_device_is_addressed(patch: Patch) -> None:
    patch.setattr(peers, "TARGETS", 4)


def the_prekey_never_rotates(patch: Patch) -> None:
    patch.setattr(prekeys.Published, "is_fresh", lambda self, now: True)


def siblings_are_left_out(patch: Patch) -> None:
    patch.setattr(limits, "SIBLINGS", 0)


def replaced_prekeys_are_lost(patch: Patch) -> None:
    patch.setattr(prekeys, "read_prekey", lambda raw: None)


def the_mac_is_not_compared(patch: Patch) -> None:
    patch.setattr(cipher, "compare_digest", lambda one, other: True)


def a_refusal_writes(patch: Patch) -> None:
    genuine = SecurityLayer.open

    def leave_a_trace(self: SecurityLayer, sender: bytes, message: bytes) -> Any:
        try:
            return genuine(self, sender, message)
        except KexkitError:
            self.shell.rows["trace", sender] = Versioned(message, 1)
            raise

    patch.setattr(SecurityLayer, "open", leave_a_trace)


def sessions_do_not_survive_a_restart(patch: Patch) -> None:
    genuine = RatchetSession.snapshot
    patch.setattr(RatchetSession, "snapshot", lambda self: genuine(self)[:-1] + b"\0")


DEFECTS: list[Defect] = [
    another_label_of_the_root_chain,
    another_label_of_message_keys,
    header_numbers_in_network_order,
    agreements_in_another_order,
    the_previous_chain_has_no_length,
    the_opening_header_stays_for_ever,
    a_used_key_opens_again,
    sessions_are_found_by_installation_alone,
    any_signature_will_do,
    the_nonce_goes_first,
    a_fourth_device_is_addressed,
    the_prekey_never_rotates,
    siblings_are_left_out,
    replaced_prekeys_are_lost,
    the_mac_is_not_compared,
    a_refusal_writes,
    sessions_do_not_survive_a_restart,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_seeded_defect_fails_a_transcript(defect: Defect, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    failed = [case.name for case in CASES if not _passes(case)]
    assert failed
    print(f"{defect.__name__}: {len(failed)} of {len(CASES)} transcripts fail")


def _passes(case: Case) -> bool:
    try:
        transcript(case.content, case.document)
    except (AssertionError, KexkitError, pytest.fail.Exception):
        return False
    return True


# --- other names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["{:08d}-9e9e-4f4f-8a8a-123456789abc", "device no. {}", "7{}"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_recording_of_other_installations_replays(case: Case, pattern: str) -> None:
    parties = case.content["parties"]
    names = {each["installation_id"]: pattern.format(number) for number, each in enumerate(reversed(parties))}
    signers = {
        each["identity"]["public_compressed"]: SoftwareIdentity(bytes.fromhex(each["identity"]["private"]))
        for each in parties
    }
    renamed = _rename(case.content, names, signers)
    assert not any(name in str(renamed) for name in names)
    transcript(renamed, case.document)


Signers = Mapping[str, SoftwareIdentity]


def _rename(value: Any, names: Mapping[str, str], signers: Signers) -> Any:
    """The recording as if the installations had had these ids from the start."""
    if isinstance(value, list):
        return [_rename(each, names, signers) for each in value]
    if isinstance(value, str):
        return names.get(value, value)
    if not isinstance(value, dict):
        return value
    renamed = {names.get(key, key): _rename(each, names, signers) for key, each in value.items()}
    if "serialized" in value:
        return decoded_bundle(_renamed_bundle(bytes.fromhex(value["serialized"]), names, signers))
    if isinstance(value.get("message"), str):
        renamed["message"] = _renamed_message(bytes.fromhex(value["message"]), names, signers).hex()
    return renamed


def _renamed_bundle(raw: bytes, names: Mapping[str, str], signers: Signers) -> bytes:
    """Signed again; a signature that was spoiled is spoiled again."""
    read = bundle.parse(raw)
    signer = signers[read.identity.hex()]
    genuine = bundle.make(signer, read.prekeys, read.timestamp)
    made = bundle.make(signer, {names[name]: prekey for name, prekey in read.prekeys.items()}, read.timestamp)
    if bundle.parse(genuine).signature == read.signature:
        return made
    signature = bundle.parse(made).signature
    return made.replace(signature, bytes((signature[0] ^ 1,)) + signature[1:])


def _renamed_message(raw: bytes, names: Mapping[str, str], signers: Signers) -> bytes:
    parsed = protocol_message.parse(raw)
    return protocol_message.encode(
        protocol_message.ProtocolMessage(
            names[parsed.installation],
            tuple(_renamed_bundle(each, names, signers) for each in parsed.bundles),
            {names.get(name, name): frame for name, frame in parsed.slots.items()},
            parsed.public,
        )
    )


def test_the_default_policy_reads_every_recorded_bundle() -> None:
    """Nothing lenient is in play where installations have the ids that status-go gives them."""
    for case in CASES:
        installations = {each["installation_id"] for each in case.content["parties"]}
        assert exchange_for(installations) == X3DH()
    assert exchange_for({"no uuid"}) != X3DH()
