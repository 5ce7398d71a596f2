"""What a negotiation comes to is said in words, and what it leaves to a person has a command."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from attrs import evolve
from kexkit import (
    STRICT,
    ChoiceNarrowed,
    CloneSuspected,
    Consent,
    Downgrade,
    FirstFlight,
    InstallationSkipped,
    NegotiationTrouble,
    OfferShrunk,
    Policy,
    Publish,
    ReplacedUnknown,
    Skip,
    Waiting,
    errors,
)
from kexkit.contact import parse_contact_code
from kexkit.errors import InvalidInput
from kexkit_cli.invocation import Invocation
from kexkit_cli.opening import policy_of
from kexkit_cli.people import consenting
from kexkit_cli.profiles import parse_config
from kexkit_cli.showing import as_object
from kexkit_cli.troubles import CONSENTS, in_words, remedy, waits

from tests.cli.conftest import SECONDS, Invoke, Running, Start, write_config
from tests.cli.test_chat import lines_until
from tests.cli.test_people import known

Two = tuple[str, str]
PEER = b"\x02" * 33
WEAK = "forward_secrecy = false\n"


def until_heard(invoke: Invoke, profile: str, wanted: str) -> None:
    """`listen` says it beside texts: for as long as the machine needs for it."""
    said, deadline = "", time.monotonic() + SECONDS
    while wanted not in said:
        assert time.monotonic() < deadline, said
        ran = invoke("--profile", profile, "listen", "--for", "1")
        assert ran.code == 0
        said += ran.err


def test_a_text_that_is_not_confirmed_in_time_leaves_when_both_have_been_online(
    invoke: Invoke, two: Two, start: Start
) -> None:
    sent = invoke("--profile", "bob", "send", "alice", "hello", "--wait", "0.5", "--json")
    assert (sent.code, sent.json["delivery"]) == (4, "queued")
    assert (sent.json["waiting"], sent.json["cause"]) == ("It waits: the handshake is under way.", "")
    alice = start("--profile", "alice", "listen", "--once", "--for", "30", "--json")
    now = invoke("--profile", "bob", "send", "alice", "and now", "--wait", "30", "--json")
    assert (now.code, now.json["delivery"], now.json["name"]) == (0, "stored", "alice")
    assert alice.end().lines[0]["text"] in ("hello", "and now")


def test_less_than_before_waits_for_consent_and_leaves_then(invoke: Invoke, two: Two, start: Start, home: Path) -> None:
    for profile in ("alice", "bob"):
        write_config(home, profile, 'mechanisms = ["x3dh/1"]\n')
    assert invoke("--profile", "bob", "send", "alice", "one").code == 0
    until_heard(invoke, "alice", "confirmed a session over x3dh/1")
    until_heard(invoke, "bob", "Both ends have confirmed a session over x3dh/1 (alice).")
    write_config(home, "bob", WEAK)
    write_config(home, "alice", WEAK + 'mechanisms = ["noise-xx/1"]\n')
    newer = invoke("--profile", "alice", "contact").out
    assert "in common: noise-xx/1\n" in invoke("--profile", "bob", "add", newer).out

    sent = invoke("--profile", "bob", "send", "alice", "two", "--wait", "0.5", "--json")
    assert (sent.code, sent.json["exit"], sent.json["cause"]) == (7, 7, "DowngradeNeedsConsent")
    assert "gives less than before" in sent.err
    assert "kexkit --profile bob consent alice weaker" in sent.err

    for profile, peer in (("bob", "alice"), ("alice", two[1][:12])):  # both had more before
        assert invoke("--profile", profile, "consent", peer, "weaker", "--json").json["count"] == 1
    alice = start("--profile", "alice", "listen", "--once", "--for", "30", "--json")
    bob = start("--profile", "bob", "listen")
    heard = alice.end()
    assert bob.interrupt().code == 130
    assert (heard.code, heard.lines[0]["text"], heard.lines[0]["forward_secret"]) == (0, "two", False)


def test_killing_the_relay_and_one_of_two_in_a_handshake_and_after_it_loses_and_doubles_nothing(
    invoke: Invoke, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the default, whose handshake takes three messages: each step is cut off from the next."""

    def relay(port: str) -> Running:
        running = start("relay", "--port", port, "--data", str(tmp_path / "relay"), "--json")
        url = str(json.loads(running.line())["url"])
        monkeypatch.setenv("KEXKIT_RELAY", url)
        return running

    def chatting(profile: str) -> Running:
        return start("--profile", profile, "chat", "--json")

    server = relay("0")
    port = os.environ["KEXKIT_RELAY"].rpartition(":")[2]
    for profile in ("alice", "bob"):
        invoke("--profile", profile, "init")
    invoke("--profile", "bob", "add", invoke("--profile", "alice", "contact").out, "--name", "alice")
    bob = chatting("bob")
    bob.type("one\n")
    lines_until(bob, lambda line: line["event"] == "waiting")
    server.kill()
    bob.type("two\n")
    lines_until(bob, lambda line: line["event"] == "said" and line["text"] == "two")
    bob.kill()
    server = relay(port)
    alice, bob = chatting("alice"), chatting("bob")
    opened = lines_until(bob, lambda line: line["event"] == "session")[-1]
    assert opened["mechanism"] == "healing-noise-xk1/1"
    lines_until(alice, lambda line: line.get("text") == "two" and line["event"] == "text")
    server.kill()
    alice.type("three\n")
    lines_until(alice, lambda line: line["event"] == "said")
    alice.kill()
    bob.type("four\n")
    server = relay(port)
    alice = chatting("alice")
    lines_until(bob, lambda line: line["event"] == "text" and line["text"] == "three")
    lines_until(alice, lambda line: line["event"] == "text" and line["text"] == "four")
    for running in (alice, bob):
        ended = running.interrupt()
        assert ended.code == 130
        assert [line for line in ended.lines if line["event"] == "text"] == []
    (contact,) = invoke("--profile", "alice", "contacts", "--json").json["contacts"]
    for profile, peer in (("bob", "alice"), ("alice", contact["identity"])):
        texts = invoke("--profile", profile, "history", peer, "--json").json["texts"]
        assert sorted(text["text"] for text in texts) == ["four", "one", "three", "two"]
        assert all("forward_secrecy" in text["grade"] for text in texts if not text["outgoing"])


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "what"),
    [
        ("DowngradeNeedsConsent", "weaker"),
        ("Unconfirmed", "bare"),
        ("NegotiationFailed", "again"),
        ("StaticChanged", "static"),
        ("OfferMissing", "code"),
        ("", None),
    ],
)
def test_a_text_that_waits_for_a_person_says_how_to_consent(cause: str, what: str | None) -> None:
    event = Waiting(b"id", PEER, "", "Something is in the way.", cause)
    assert waits(event) == "It waits: Something is in the way."
    advice = remedy(event, "kexkit consent alice {}")
    assert advice.endswith(f"kexkit consent alice {what}") if what else advice == ""
    assert not cause or hasattr(errors, cause)


@pytest.mark.parametrize(
    ("mechanism", "cause", "said", "advised"),
    [
        ("", "OfferEquivocation", "An offer of alice cannot be used: why", "A newer offer of theirs ends that."),
        ("x3dh/1", "STALE", "Negotiating with alice over x3dh/1: why", "The choice is made again by itself."),
        ("x3dh/1", "StaticChanged", "Negotiating with alice over x3dh/1: why", "/consent static"),
        ("x3dh/1", "POLICY", "Negotiating with alice over x3dh/1: why", "/consent weaker"),
        ("x3dh/1", "DowngradeRefused", "Negotiating with alice over x3dh/1: why", "/consent release"),
        ("x3dh/1", "ConfirmationMismatch", "Negotiating with alice over x3dh/1: why", "/consent release"),
    ],
)
def test_trouble_names_the_person_the_mechanism_and_what_to_do(
    mechanism: str, cause: str, said: str, advised: str
) -> None:
    event = NegotiationTrouble(PEER, "", mechanism, cause, "why")
    assert in_words(event, "alice") == said
    assert remedy(event, "/consent {}").endswith(advised)


def test_events_of_a_negotiation_are_objects_for_programs() -> None:
    shrunk = OfferShrunk(PEER, "one", ("x3dh/1", "noise-xx/1"))
    assert in_words(shrunk, "alice") == "A device of alice no longer offers x3dh/1, noise-xx/1."
    assert as_object(shrunk, "alice")["event"] == "shrunk"
    narrowed = ChoiceNarrowed(PEER, "one", ("x3dh/1",))
    assert in_words(narrowed, "alice") == "A device of alice leaves x3dh/1 out, although it offers that as before."
    assert as_object(narrowed, "alice")["event"] == "narrowed"
    replaced = ReplacedUnknown(PEER, "one", "noise-xx/1", bytes(32), bytes(range(32)))
    said = "A device of alice replaces a session over noise-xx/1 that this device does not have."
    assert in_words(replaced, "alice") == said
    assert as_object(replaced, "alice")["event"] == "replaced"
    for ours, whose in ((True, "This device"), (False, "A device of alice")):
        clone = CloneSuspected(PEER, "one", "healing-noise-xk1/1", bytes(32), ours, "Why.")
        assert in_words(clone, "alice").startswith(f"{whose} may exist twice")
        assert (as_object(clone, "alice")["event"], as_object(clone, "alice")["ours"]) == ("clone", ours)
    trouble = as_object(NegotiationTrouble(PEER, "one", "x3dh/1", "OfferRollback", "why"), "alice")
    assert (trouble["event"], trouble["cause"], trouble["reason"]) == ("negotiation", "OfferRollback", "why")


@pytest.mark.parametrize(
    ("why", "cause", "advised"),
    [
        (Skip.FLOOR, "DowngradeNeedsConsent", "/consent weaker"),
        (Skip.MISSING, "OfferMissing", "/consent code"),
        (Skip.POLICY, "Unconfirmed", "/consent bare"),
        (Skip.FAILED, "NegotiationFailed", "/consent again"),
        (Skip.NOT_NEWEST, "", "kexkit forget"),
        (Skip.POLICY, "MechanismMissing", ""),
    ],
)
def test_a_device_that_is_left_out_is_named_with_why_and_what_to_do(why: Skip, cause: str, advised: str) -> None:
    event = InstallationSkipped(PEER, "one\x1b[31m", why, cause, "It is so.", "core's advice")
    assert in_words(event, "alice") == "Device one\u241b[31m of alice is left out: It is so."
    assert remedy(event, "/consent {}").endswith(advised)
    told = as_object(event, "alice")
    assert (told["event"], told["why"], told["cause"]) == ("skipped", why.name.lower(), cause)


def test_every_consent_has_a_word() -> None:
    assert set(CONSENTS.values()) == set(Consent)


@pytest.mark.parametrize(
    ("name", "who"), [("bob", "bob"), ("", "0202020202"), ("a b", "0202020202"), ("{0}", "0202020202"), ("é", "é")]
)
def test_the_command_that_is_advised_can_be_typed_as_it_stands(name: str, who: str) -> None:
    invocation = Invocation()
    assert consenting(invocation, known(name, "02" * 33)).format("again") == f"kexkit consent {who} again"
    invocation.note("profile", "me")
    assert consenting(invocation, known(name, "02" * 33)).startswith("kexkit --profile me consent ")


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Policy()),
        ("strict = true", STRICT),
        ("strict = false", Policy()),
        ('first_flight = "hold"', Policy(first_flight=FirstFlight.HOLD)),
        ('downgrade = "accept"', Policy(downgrade=Downgrade.ACCEPT)),
        ('new_static = "ask"', Policy(new_static=Downgrade.ASK)),
        ('publish = "contacts"', Policy(publish=Publish.CONTACTS)),
        ('publish = "none"', Policy(publish=Publish.NONE)),
        ('strict = true\npublish = "contacts"', evolve(STRICT, publish=Publish.CONTACTS)),
        ('mechanisms = ["x3dh/1"]', Policy(mechanisms=frozenset({"x3dh/1"}))),
    ],
)
def test_a_profiles_settings_are_its_policy(text: str, policy: Policy) -> None:
    assert policy_of(parse_config(text, "here")) == policy


def test_strict_without_forward_secrecy_is_strict_in_all_else() -> None:
    policy = policy_of(parse_config("strict = true", "here"), without_forward_secrecy=True)
    assert (policy.first_flight, policy.downgrade, policy.hear_new_bare) == (
        FirstFlight.HOLD,
        Downgrade.REFUSE,
        False,
    )
    assert policy.require != STRICT.require


@pytest.mark.parametrize(
    "text",
    [
        'first_flight = "later"',
        "downgrade = true",
        "downgrade = ['ask']",
        "strict = 'yes'",
        'mechanisms = "x3dh/1"',
        'strict = true\ndowngrade = "accept"',
        'strict = true\nfirst_flight = "send"',
        'strict = true\nnew_static = "accept"',
        'publish = "everybody"',
    ],
)
def test_a_policy_that_is_not_understood_or_contradicts_itself_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_config(text, "here")


@pytest.mark.parametrize("text", ['publish = "none"\nstrict = true', 'publish = "none"\nfirst_flight = "hold"'])
def test_to_make_no_offers_and_wait_for_confirmations_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="never confirmed"):
        policy_of(parse_config(text, "here"))


def test_who_publishes_to_contacts_posts_no_offer_unless_asked_and_shows_it_in_pictures(
    invoke: Invoke, home: Path
) -> None:
    def offers(*options: str) -> bool:
        code = parse_contact_code(invoke("contact", "--json", *options).json["code"])
        return bool(code.offers or code.pins)

    invoke("init")
    assert (offers(), offers("--compact"), offers("--no-offers")) == (True, True, False)
    write_config(home, "default", 'publish = "contacts"\n')
    assert (offers(), offers("--compact"), offers("--offers")) == (False, True, True)
    assert "(to people alone)" in invoke("whoami").out


def test_who_has_made_an_offer_is_told_that_it_cannot_make_none_and_a_new_profile_can(
    invoke: Invoke, home: Path
) -> None:
    invoke("init")
    write_config(home, "default", 'publish = "none"\n')
    refused = invoke("whoami")
    assert refused.code
    assert "Publish to contacts alone, or begin with a new profile." in refused.err
    made = invoke("--profile", "silent", "init", "--publish", "none", "--json").json
    assert (made["publish"], made["offers"]) == ("none", [])
    told = invoke("--profile", "silent", "whoami", "--json").json
    assert (told["publish"], told["offers"], told["identity"]) == ("none", [], made["identity"])
    assert "take you for a Status device" in invoke("--profile", "silent", "whoami").out
    assert invoke("--profile", "silent", "contact", "--offers").code
    assert invoke("--profile", "silent", "init", "--publish", "contacts").code
    assert not invoke("--profile", "silent", "init", "--publish", "none").code


def test_what_is_named_first_is_offered_first_and_nothing_else_is(invoke: Invoke, home: Path) -> None:
    invoke("init")
    assert invoke("whoami", "--json").json["offers"] == ["healing-noise-xk1/1", "x3dh/1"]
    write_config(home, "default", 'mechanisms = ["x3dh/1", "healing-noise-xk1/1", "noise-xx/1"]\nstrict = true\n')
    told = invoke("whoami", "--json").json
    assert told["offers"] == ["x3dh/1", "healing-noise-xk1/1"]
    assert told["mechanisms"] == ["x3dh/1", "healing-noise-xk1/1", "noise-xx/1", "noise-xk1/1"]
    assert (told["first_flight"], told["downgrade"]) == ("hold", "refuse")


def test_a_mechanism_that_is_allowed_and_not_loaded_is_said(invoke: Invoke, home: Path) -> None:
    invoke("init")
    write_config(home, "default", 'mechanisms = ["x3hd/1"]\n')
    ran = invoke("whoami")
    assert ran.code == 8
    assert "The profile allows 'x3hd/1', and no plugin that is enabled brings it" in ran.err
