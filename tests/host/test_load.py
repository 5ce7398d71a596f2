"""Which plugins are loaded, what each is given, and what becomes of one that does not fit."""

from __future__ import annotations

import sys
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kexkit._host import examine_plugins, installed_plugins, load_commands, load_plugins
from kexkit._registry import PREFERENCE, in_preference
from kexkit.api import StoreFactory
from kexkit.errors import InvalidInput, PluginDuplicate, PluginError, PluginIncompatible, PluginMissing

from tests.host.conftest import Install, exchange, hook


def reason(plugins_reports: object, name: str) -> str:
    reports = {report.name: report for report in plugins_reports}  # type: ignore[attr-defined]  # a tuple of reports
    assert reports[name].state == "quarantined"
    return str(reports[name].reason)


def test_an_installed_plugin_is_listed_and_not_imported(install: Install) -> None:
    install("quiet", "raise SystemExit('imported')")
    report = next(report for report in installed_plugins() if report.name == "quiet")
    assert (report.distribution, report.version, report.state, report.api) == ("kexkit-quiet", "1.5", "installed", None)
    assert "made_for_a_test_kexkit_quiet" not in sys.modules


def test_only_the_named_plugins_are_imported(install: Install) -> None:
    install("one", exchange("one@example.org/1"))
    install("two", exchange("two@example.org/1"))
    plugins = load_plugins(["two"])
    assert [kx.name for kx in plugins.key_exchanges] == ["two@example.org/1"]
    assert "made_for_a_test_kexkit_one" not in sys.modules


def test_key_exchanges_come_in_the_order_in_which_their_plugins_are_named(install: Install) -> None:
    for name in ("aa", "bb", "cc"):
        install(name, exchange(f"{name}@example.org/1"))
    plugins = load_plugins(["cc", "aa", "bb"])
    assert [kx.name[:2] for kx in plugins.key_exchanges] == ["cc", "aa", "bb"]


DEFAULT_ORDER = ["healing-noise-xk1/1", "x3dh/1", "noise-xk1/1", "noise-xx/1"]


@pytest.mark.parametrize("order", sorted(permutations(["x3dh", "noise", "sqlite"])))
def test_our_own_come_in_one_order_whatever_the_order_of_their_plugins(order: tuple[str, ...]) -> None:
    assert [kx.name for kx in load_plugins(order).key_exchanges] == DEFAULT_ORDER


@pytest.mark.parametrize(
    ("order", "place"), [(["psk", "noise", "x3dh"], 0), (["x3dh", "psk", "noise"], 1), (["noise", "x3dh", "psk"], 4)]
)
def test_a_strangers_keeps_the_place_where_its_plugin_is_named(order: list[str], place: int) -> None:
    names = [kx.name for kx in load_plugins(order, {"psk": {"secret": "5e" * 32}}).key_exchanges]
    assert names.index("psk@example.org/1") == place
    assert [name for name in names if name != "psk@example.org/1"] == DEFAULT_ORDER


def test_what_shows_who_begins_or_needs_a_secret_comes_only_when_it_is_named() -> None:
    config = {"noise": {"mechanisms": "healing-noise-k1k1/1, noise-xk1/1", "psk": "5e" * 32}}
    names = [kx.name for kx in load_plugins(["noise", "x3dh"], config).key_exchanges]
    assert names == ["healing-noise-k1k1/1", "x3dh/1", "noise-xk1/1"]


@given(st.lists(st.sampled_from([*DEFAULT_ORDER, "noise-k1k1/1", "a@b.c/1", "d@e.f/1"]), unique=True))
def test_preference_moves_ours_among_themselves_and_nothing_else(names: list[str]) -> None:
    ordered = in_preference(names)
    assert sorted(ordered) == sorted(names)
    assert [name for name in ordered if name in PREFERENCE] == [name for name in PREFERENCE if name in names]
    assert all((new == old) for new, old in zip(ordered, names, strict=True) if old not in PREFERENCE)
    assert list(PREFERENCE) == DEFAULT_ORDER


def test_a_plugin_gets_its_own_settings_and_no_others(install: Install) -> None:
    keep = "\nseen = []\n@hookimpl\ndef kexkit_key_exchanges(config):\n    seen.append(dict(config))\n    return []\n"
    install("one", keep)
    install("two", keep)
    load_plugins(["one", "two"], {"one": {"secret": "11"}, "three": {"secret": "33"}})
    assert sys.modules["made_for_a_test_kexkit_one"].seen == [{"secret": "11"}]
    assert sys.modules["made_for_a_test_kexkit_two"].seen == [{}]


def test_a_plugin_cannot_change_the_settings(install: Install) -> None:
    install("greedy", hook("kexkit_key_exchanges", "[config.update(secret='00')]"))
    install("fine", exchange("fine@example.org/1"))
    config = {"greedy": {"secret": "11"}}
    assert "AttributeError" in reason(load_plugins(["greedy", "fine"], config).reports, "greedy")
    assert config == {"greedy": {"secret": "11"}}


FAULTS = {
    "cannot be imported": ("import there_is_no_such_module", "ModuleNotFoundError: No module named"),
    "leaves the program": ("raise SystemExit(3)", "SystemExit: 3"),
    "its hook raises": ("@hookimpl\ndef kexkit_stores(config): raise ValueError(config)", "raised ValueError at made_"),
    "returns no list": (hook("kexkit_stores", "'sqlite'"), "returned a str, not a list"),
    "is async": ("@hookimpl\nasync def kexkit_stores(config): return []", "returned a coroutine, not a list"),
    "returns no store": (hook("kexkit_stores", "[object()]"), "object: it is no StoreFactory"),
    "returns no command": (hook("kexkit_commands", "[print]"), "it is no CommandEntry"),
    "returns no key exchange": (hook("kexkit_key_exchanges", "[object()]"), "object: has no 'name'"),
    "lacks a method": ("del Fit.restore" + exchange("x@example.org/1"), "Fit: has no 'restore'"),
    "has another signature": (
        "Fit.accept = lambda self, frame, *, ctx: None" + exchange("x@example.org/1"),
        "accept() cannot be called as the contract says",
    ),
    "has an async method": (
        "async def offer(self, have, *, siblings, ctx): ...\nFit.offer = offer" + exchange("x@example.org/1"),
        "offer() is async; the contract's is not",
    ),
    "has a name without a version": (exchange("x@example.org"), "is not the name of a mechanism"),
    "has a name that is not its own": (exchange("x/1"), "'x@example.org/1'"),
    "returns two of one name": (
        hook("kexkit_key_exchanges", "[Fit('x@example.org/1'), Fit('x@example.org/1')]"),
        "two of one name",
    ),
    "misspells a hook": ("@hookimpl\ndef kexkit_key_exchange(config): return []", "unknown hook 'kexkit_key_exchange'"),
    "asks for another argument": ("@hookimpl\ndef kexkit_stores(settings): return []", "hooks are not kexkit's"),
    "answers for attributes with an error": (
        "class Odd:\n    kexkit_api = '1'\n    @property\n    def kexkit_stores(self): raise RuntimeError\n"
        "    def __dir__(self): raise RuntimeError\n\nimport sys\nsys.modules[__name__] = Odd()",
        "RuntimeError",
    ),
    "has no hook": ("kexkit_nothing = 1", "implements no hook"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=[name.replace(" ", "_") for name in FAULTS])
def test_a_plugin_that_does_not_fit_is_quarantined_with_its_reason_and_the_rest_work(
    fault: str, install: Install
) -> None:
    source, words = FAULTS[fault]
    install("bad", source)
    install("good", exchange("good@example.org/1"))
    plugins = load_plugins(["bad", "good"])
    assert words in reason(plugins.reports, "bad")
    assert [kx.name for kx in plugins.key_exchanges] == ["good@example.org/1"]
    good = plugins.reports[1]
    assert (good.state, good.api, good.provides) == ("loaded", "1", ("key exchange good@example.org/1",))


def test_a_hook_that_fails_does_not_carry_a_setting_into_its_report(install: Install) -> None:
    install("leaky", "@hookimpl\ndef kexkit_stores(config): raise ValueError(config['password'])")
    install("good", exchange("good@example.org/1"))
    plugins = load_plugins(["leaky", "good"], {"leaky": {"password": "correct horse"}})
    assert "correct horse" not in repr(plugins.reports)


def test_a_plugin_may_say_in_its_own_words_what_is_wrong_with_its_settings(install: Install) -> None:
    install(
        "picky",
        """
        from kexkit.errors import InvalidInput

        @hookimpl
        def kexkit_stores(config):
            raise InvalidInput("Give it a path.")
        """,
    )
    install("good", exchange("good@example.org/1"))
    assert reason(load_plugins(["picky", "good"]).reports, "picky") == "Give it a path."


@pytest.mark.parametrize("api", ["2", "2.0", "0.9", None])
def test_a_plugin_of_another_contract_is_refused_and_both_versions_are_named(api: str | None, install: Install) -> None:
    install("other", exchange("other@example.org/1"), api=api)
    install("good", exchange("good@example.org/1"))
    words = reason(load_plugins(["other", "good"]).reports, "other")
    assert f"version {api} of the contract, this is version 1" in words or (api is None and "kexkit_api" in words)


def test_if_none_is_usable_and_one_is_of_another_contract_the_error_says_so_with_both_versions(
    install: Install,
) -> None:
    install("other", exchange("other@example.org/1"), api="2.3")
    with pytest.raises(PluginIncompatible, match=r"version 2\.3 of the contract, this is version 1") as caught:
        load_plugins(["nowhere", "other"])
    assert caught.value.plugin == "other"
    assert caught.value.advice == "Install a version of other that was made for version 1."
    assert examine_plugins(["other"])[0].api == "2.3"
    install("mute", exchange("mute@example.org/1"), api=None)
    with pytest.raises(PluginError) as silent:
        load_plugins(["mute"])
    assert type(silent.value) is PluginError


def test_a_module_that_will_not_tell_its_version_is_quarantined(install: Install) -> None:
    install("odd", "def __getattr__(name): raise RuntimeError(name)", api=None)
    install("good", exchange("good@example.org/1"))
    assert "kexkit_api raised RuntimeError" in reason(load_plugins(["odd", "good"]).reports, "odd")


def test_a_later_minor_version_of_the_contract_is_taken(install: Install) -> None:
    install("later", exchange("later@example.org/1"), api="1.7")
    assert load_plugins(["later"]).reports[0].api == "1.7"


@pytest.mark.parametrize(
    ("label", "first", "second"),
    [
        ("key exchange", exchange("same@example.org/1"), exchange("same@example.org/1")),
        ("carriage", exchange("x3dh/1", "SLOT"), exchange("other@example.org/1", "SLOT")),
        (
            "store",
            "from kexkit.api import StoreFactory" + hook("kexkit_stores", "[StoreFactory('s', print)]"),
            "from kexkit.api import StoreFactory" + hook("kexkit_stores", "[StoreFactory('s', print)]"),
        ),
        (
            "transport",
            "from kexkit.api import TransportFactory" + hook("kexkit_transports", "[TransportFactory('t', print)]"),
            "from kexkit.api import TransportFactory" + hook("kexkit_transports", "[TransportFactory('t', print)]"),
        ),
        (
            "command",
            "from kexkit.api import CommandEntry" + hook("kexkit_commands", "[CommandEntry('c', 'runs', print)]"),
            "from kexkit.api import CommandEntry" + hook("kexkit_commands", "[CommandEntry('c', 'runs', print)]"),
        ),
    ],
)
def test_two_plugins_that_claim_one_name_are_an_error_that_names_both(
    label: str, first: str, second: str, install: Install
) -> None:
    install("first", first)
    install("second", second)
    with pytest.raises(PluginDuplicate) as caught:
        load_plugins(["first", "second"])
    assert label in str(caught.value)
    assert "first (kexkit-first 1.5) and second (kexkit-second 1.5)" in str(caught.value)
    assert load_plugins(["second"]).reports[0].state == "loaded"


def test_one_plugin_cannot_claim_the_slot_twice_either(install: Install) -> None:
    slots = "[Fit('x3dh/1', Carriage.SLOT), Fit('y@example.org/1', Carriage.SLOT)]"
    install("greedy", hook("kexkit_key_exchanges", slots))
    with pytest.raises(PluginDuplicate, match="SLOT"):
        load_plugins(["greedy"])


def test_two_packages_with_one_plugin_name_are_an_error_only_when_it_is_named(install: Install) -> None:
    install("same", exchange("a@example.org/1"), distribution="first-one")
    install("same", exchange("b@example.org/1"), distribution="second-one")
    install("other", exchange("c@example.org/1"))
    assert load_plugins(["other"]).reports[0].state == "loaded"
    with pytest.raises(PluginDuplicate, match=r"(?s)first-one 1\.5.*second-one 1\.5|second-one 1\.5.*first-one 1\.5"):
        load_plugins(["same"])


def test_no_usable_plugin_is_an_error_that_tells_each_reason(install: Install) -> None:
    install("bad", "import there_is_no_such_module")
    with pytest.raises(PluginError, match=r"bad \(kexkit-bad 1\.5\): importing .* absent: it is not installed"):
        load_plugins(["bad", "absent"])
    with pytest.raises(PluginError, match="none was named"):
        load_plugins([])


def test_one_string_is_not_a_list_of_names() -> None:
    with pytest.raises(InvalidInput, match="list"):
        load_plugins("x3dh")


def test_a_missing_store_is_told_with_what_there_is_and_what_failed(install: Install) -> None:
    install("files", "from kexkit.api import StoreFactory" + hook("kexkit_stores", "[StoreFactory('files', print)]"))
    install("postgres", "import there_is_no_such_module")
    plugins = load_plugins(["files", "postgres"])
    assert plugins.store("files") == StoreFactory("files", print)
    with pytest.raises(PluginMissing) as caught:
        plugins.store("postgres")
    said = str(caught.value)
    assert "there are: files." in said
    assert "postgres (kexkit-postgres 1.5) is quarantined: importing" in said
    assert "Installed here: " in said
    with pytest.raises(PluginMissing, match="no transport called 'relay'"):
        plugins.transport("relay")
    with pytest.raises(PluginMissing, match="no command called 'lab'"):
        plugins.command("lab")


def test_commands_are_told_without_calling_any_other_hook(install: Install) -> None:
    heavy = "@hookimpl\ndef kexkit_key_exchanges(config): raise AssertionError('called')\n"
    entry = "from kexkit.api import CommandEntry" + hook("kexkit_commands", "[CommandEntry('lab', 'compares', print)]")
    install("lab", heavy + entry)
    install("bad", "import there_is_no_such_module")
    found = load_commands(["lab", "bad"])
    assert found.command("lab").summary == "compares"
    assert "there_is_no_such_module" in reason(found.reports, "bad")
    assert load_commands([]).commands == {}


def test_examined_plugins_are_told_one_by_one_and_none_hides_another(install: Install) -> None:
    install("good", exchange("a@example.org/1"))
    install("rival", exchange("a@example.org/1"))
    install("bad", "import there_is_no_such_module")
    install("same", exchange("b@example.org/1"), distribution="first-one")
    install("same", exchange("c@example.org/1"), distribution="second-one")
    reports = examine_plugins(["good", "bad", "absent", "same", "rival", "good"])
    assert [(one.name, one.state) for one in reports] == [
        ("good", "loaded"),
        ("bad", "quarantined"),
        ("absent", "quarantined"),
        ("same", "quarantined"),
        ("rival", "loaded"),
    ]
    assert "first-one 1.5" in reason(reports, "same")
    assert "second-one 1.5" in reason(reports, "same")
