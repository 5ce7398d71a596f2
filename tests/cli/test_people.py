"""Whom we know, and who is meant."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from attrs import evolve
from kexkit import Contact, Node, parse_contact_code
from kexkit.contact import Pin
from kexkit.errors import InvalidInput, UnknownPeer
from kexkit_cli.limits import CODE_BYTES
from kexkit_cli.people import find, worth_of

from tests.cli.conftest import Invoke, write_config

BOTH = ["healing-noise-xk1/1", "x3dh/1"]
"""what the default policy allows of what is loaded by default, best first"""


@pytest.fixture
def codes(invoke: Invoke) -> dict[str, str]:
    """Contact codes of three profiles; and the default profile is made."""
    made = {}
    for name in ("bob", "carol", "dave"):
        invoke("--profile", name, "init")
        made[name] = invoke("--profile", name, "contact").out.strip()
    invoke("init")
    return made


def identity(invoke: Invoke, profile: str) -> str:
    return str(invoke("--profile", profile, "whoami", "--json").json["identity"])


def test_a_contact_is_added_from_any_form_of_their_code(invoke: Invoke, codes: dict[str, str]) -> None:
    whole = invoke("add", codes["bob"], "--name", "bob", "--json").json
    assert whole["mechanisms"] == whole["common"] == BOTH
    compact = invoke("--profile", "carol", "contact", "--compact").out.strip()
    assert compact == compact.upper()
    assert invoke("add", compact, "--name", "carol", "--json").json["common"] == BOTH
    bare = invoke("add", "-", "--name", "dave", "--json", stdin=identity(invoke, "dave").encode() + b"\n").json
    assert (bare["mechanisms"], bare["common"]) == ([], [])
    listed = invoke("contacts", "--json").json["contacts"]
    assert [contact["name"] for contact in listed] == ["bob", "carol", "dave"]
    assert "bob    " in invoke("contacts").out


def test_added_again_they_keep_their_name(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", codes["bob"], "--name", "bob")
    assert invoke("add", codes["bob"], "--json").json["name"] == "bob"
    assert invoke("add", codes["bob"], "--name", "robert", "--json").json["name"] == "robert"


def test_a_name_is_one_persons(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", codes["bob"], "--name", "bob")
    ran = invoke("add", codes["carol"], "--name", "BOB")
    assert ran.code == 2
    assert len(invoke("contacts", "--json").json["contacts"]) == 1


def test_who_is_meant(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", codes["bob"], "--name", "bob")
    invoke("add", codes["carol"])
    bob, carol = identity(invoke, "bob"), identity(invoke, "carol")
    for wanted in ("bob", "BOB", bob, bob[:20], "0x" + bob[:12].upper(), codes["bob"]):
        assert invoke("history", wanted, "--json").json["peer"] == bob
    assert invoke("history", carol[:12], "--json").json["peer"] == carol
    for unknown in ("bo", "nobody", "02" + "f" * 30, identity(invoke, "dave"), "\x1b[31m", ""):
        ran = invoke("history", unknown)
        assert ran.code == 3
        assert "\x1b" not in ran.err


class Known:
    """What `find` asks a node for."""

    def __init__(self, *contacts: Contact) -> None:
        self._contacts = list(contacts)

    async def contacts(self) -> list[Contact]:
        return self._contacts


def known(name: str, identity: str) -> Contact:
    return Contact(bytes.fromhex(identity.ljust(66, "0")), name, True, ())


@pytest.mark.anyio
async def test_a_beginning_that_two_people_share_is_not_enough() -> None:
    node = cast(Node, Known(known("ann", "02abcd"), known("", "02abce"), known("02ab", "03ff"), known("Ann", "0200")))
    assert (await find(node, "02abcd")).name == "ann"
    assert (await find(node, "02ab")).name == "02ab"  # a name comes before what looks like an identity
    assert (await find(node, "Ann")).identity.hex()[:4] == "0200"
    for wanted in ("02abc", "ANN"):
        with pytest.raises(InvalidInput, match="may be several people"):
            await find(node, wanted)
    with pytest.raises(UnknownPeer):
        await find(node, "03f")


@pytest.mark.parametrize("code", ["garbage", "eyJ9", "KEXKIT:AAAA", "02" + "00" * 32, "zQ3shxxx", "{}", ""])
def test_what_is_no_code_adds_nobody(invoke: Invoke, code: str) -> None:
    invoke("init")
    ran = invoke("add", code)
    assert ran.code == 2
    assert ran.err.startswith("kexkit: ")
    assert invoke("contacts", "--json").json == {"contacts": []}


def test_ones_own_code_is_refused(invoke: Invoke) -> None:
    invoke("init")
    assert invoke("add", invoke("contact").out).code == 2


def test_a_forged_bundle_is_untrusted(invoke: Invoke, codes: dict[str, str]) -> None:
    import base64
    import json

    document = json.loads(base64.b64decode(codes["bob"]))
    document["timestamp"] = str(int(document["timestamp"]) + 1)
    forged = base64.b64encode(json.dumps(document).encode()).decode()
    ran = invoke("add", forged)
    assert ran.code == 6
    assert invoke("contacts", "--json").json == {"contacts": []}


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_stdin_is_read_as_far_as_a_code_can_go(invoke: Invoke, more: int) -> None:
    invoke("init")
    ran = invoke("add", "-", stdin=b"x" * (CODE_BYTES + more))
    assert ran.code == 2
    assert ("longer than any contact code" in ran.err) == (more > 0)


def test_a_contact_code_is_drawn(invoke: Invoke) -> None:
    invoke("init")
    drawn = invoke("contact", "--qr").out.splitlines()
    assert len({len(row) for row in drawn[:-1]}) == 1
    assert set("".join(drawn[:-1])) <= set("█▀▄ ")
    told = invoke("contact", "--qr", "--json").json
    assert (told["form"], told["code"]) == ("compact", drawn[-1])


def test_a_peer_with_whom_nothing_is_common_is_told_so(invoke: Invoke, codes: dict[str, str], home: Path) -> None:
    invoke("add", codes["bob"], "--name", "bob")
    secret = "00" * 32
    write_config(home, "default", f'load = ["psk", "sqlite", "relay"]\n[plugins.psk]\nsecret = "{secret}"\n')
    assert invoke("contacts", "--json").json["contacts"][0]["common"] == []
    ran = invoke("send", "bob", "hello", "--relay", "ws://127.0.0.1:9")
    assert ran.code == 7
    assert "bob offers healing-noise-xk1/1, x3dh/1; allowed here: none" in ran.err
    assert invoke("history", "bob", "--json").json["texts"] == []


def test_what_is_common_is_what_both_allow_in_our_order(invoke: Invoke, codes: dict[str, str], home: Path) -> None:
    write_config(home, "default", 'mechanisms = ["x3dh/1", "noise-xx/1", "healing-noise-xk1/1"]\n')
    added = invoke("add", codes["bob"], "--name", "bob", "--json").json
    assert (added["mechanisms"], added["common"]) == (BOTH, BOTH[::-1])
    write_config(home, "default", 'mechanisms = ["noise-xx/1"]\nforward_secrecy = false\n')
    assert "in common: nothing that is allowed here" in invoke("add", codes["bob"]).out
    assert invoke("send", "bob", "hello", "--relay", "ws://127.0.0.1:9").code == 7


@pytest.mark.parametrize(
    ("in_use", "said"),
    [
        (("x3dh/1",), "over x3dh/1"),
        (("x3dh/1", "psk@a.example/1"), "over x3dh/1, the weakest in use (also psk@a.example/1)"),
    ],
)
def test_a_chat_is_shown_by_the_weakest_mechanism_in_use(in_use: tuple[str, ...], said: str) -> None:
    assert worth_of(evolve(known("bob", "02" * 33), in_use=in_use)) == said


# --- devices ---------------------------------------------------------------------------------------------------------

PHANTOM = "00000000-0000-4000-8000-000000000001"


def naming(code: str, *installations: str) -> str:
    """The code as somebody else may hand it over: nobody signs which devices it pins."""
    parsed = parse_contact_code(code)
    return evolve(parsed, pins=tuple(Pin(each, 5) for each in installations)).to_text()


def test_devices_are_listed_with_what_is_known_of_them(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", naming(codes["bob"], PHANTOM), "--name", "bob")
    told = invoke("devices", "bob", "--json").json
    known = {device["installation"]: device for device in told["devices"]}
    assert (told["name"], told["in_use"], len(known)) == ("bob", [], 2)
    phantom = known.pop(PHANTOM)
    assert [phantom[each] for each in ("seen", "signed", "by_code", "skipped")] == [False, False, True, "missing"]
    (real,) = known.values()
    assert [real[each] for each in ("seen", "signed", "by_code", "skipped")] == [True, True, False, None]
    assert real["mechanisms"] == BOTH
    shown = invoke("devices", "bob").out.splitlines()
    assert f"{PHANTOM}  -  left out: A contact code says that the device makes offers" in "\n".join(shown)
    assert any(line.endswith("nothing begun yet") for line in shown)
    invoke("add", identity(invoke, "dave"), "--name", "dave")
    ran = invoke("devices", "dave")
    assert (ran.out, "No device of dave is known yet" in ran.err) == ("", True)


def test_what_only_a_code_says_is_lifted_by_consent(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", naming(codes["bob"], PHANTOM), "--name", "bob")
    assert invoke("consent", "bob", "code", "--json").json["count"] == 1
    assert [one["signed"] for one in invoke("devices", "bob", "--json").json["devices"]] == [True]
    assert "Nothing that is known of bob rests on a contact code alone" in invoke("consent", "bob", "code").out


def test_a_device_is_forgotten_with_a_warning_where_it_was_protected(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", naming(codes["bob"], PHANTOM), "--name", "bob")
    ran = invoke("forget", "bob", PHANTOM)
    assert (ran.code, ran.out, ran.err) == (0, f"Forgotten: device {PHANTOM} of bob.\n", "")
    (real,) = invoke("devices", "bob", "--json").json["devices"]
    ran = invoke("forget", "bob", real["installation"][:8])
    assert (ran.code, "protected it against downgrade" in ran.err) == (0, True)
    assert invoke("devices", "bob", "--json").json["devices"] == []
    invoke("add", codes["bob"])
    told = invoke("forget", "bob", real["installation"], "--json").json
    assert (told["device"], told["protected"]) == (real["installation"], True)


def test_only_one_device_that_is_known_is_forgotten(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", naming(codes["bob"], PHANTOM, PHANTOM[:-1] + "2"), "--name", "bob")
    for wanted, code in (("nothing", 3), ("00000000-", 2), ("", 2), ("\x1b[31m", 3)):
        ran = invoke("forget", "bob", wanted)
        assert (ran.code, "\x1b" in ran.err) == (code, False), wanted
    assert invoke("forget", "carol", PHANTOM).code == 3
    assert len(invoke("devices", "bob", "--json").json["devices"]) == 3


@pytest.mark.parametrize("what", ["weaker", "bare", "again", "static"])
def test_consent_is_for_all_devices_of_one_person(invoke: Invoke, codes: dict[str, str], what: str) -> None:
    invoke("add", codes["bob"], "--name", "bob")
    told = invoke("consent", "bob", what, "--json")
    assert (told.code, told.json["count"], told.json["consent"]) == (0, 1, what)
    assert "Noted for 1 device of bob" in invoke("consent", "bob", what).out
    invoke("add", identity(invoke, "dave"), "--name", "dave")
    assert "No device of dave is known yet" in invoke("consent", "dave", what).out


def test_consent_names_somebody_and_something(invoke: Invoke, codes: dict[str, str]) -> None:
    invoke("add", codes["bob"], "--name", "bob")
    assert invoke("consent", "carol", "again").code == 3
    assert invoke("consent", "bob", "everything").code == 2
    assert invoke("consent", "bob", "release").out == "No text of bob was kept back.\n"


@pytest.mark.parametrize("kept", [0, 1, 500, -1])
@pytest.mark.parametrize("form", [[], ["--compact"]])
def test_half_a_code_is_said_to_be_half_of_one(invoke: Invoke, form: list[str], kept: int) -> None:
    invoke("init")
    invoke("--profile", "ann", "init")
    ran = invoke("add", invoke("--profile", "ann", "contact", *form).out.strip()[:kept])
    assert ran.code == 2
    assert "Copy it again, from its first character to its last." in ran.err
    assert "JSON" not in ran.err


@pytest.mark.parametrize(("columns", "drawn"), [(200, True), (20, False)])
def test_a_code_is_not_drawn_where_its_rows_would_be_broken(
    invoke: Invoke, columns: int, drawn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("init")
    monkeypatch.setattr("kexkit_cli.commands.profile.columns", lambda: columns)
    ran = invoke("contact", "--qr")
    assert ran.code == 0
    assert ran.out.splitlines()[-1].startswith("KEXKIT:")
    assert ("█" in ran.out) == drawn
    assert ("this terminal has 20" in ran.err) != drawn
