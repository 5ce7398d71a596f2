"""Finds plugins without importing them, loads the named ones one at a time, and says what became of each.

Installing a package must not put it inside the trust boundary: only plugins that the application names are imported. A
plugin that fails is quarantined with its reason and the others work; two plugins that claim one name are an error,
since the name selects cryptography. Each hook is called for one plugin, with that plugin's configuration alone.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, TypeVar

import pluggy
from attrs import define, evolve, field, frozen

from kexkit import hookspecs
from kexkit._registry import in_preference, mechanism_problem, short_name_problem
from kexkit._shapes import shape_problem
from kexkit.api import (
    API_VERSION,
    Carriage,
    CommandEntry,
    Guarantee,
    KeyExchange,
    StoreFactory,
    TransportFactory,
)
from kexkit.errors import InvalidInput, KexkitError, PluginDuplicate, PluginError, PluginIncompatible, PluginMissing

GROUP: Final = "kexkit"
"""the group of entry points"""

Settings: TypeAlias = Mapping[str, Mapping[str, str]]
"""plugin name -> that plugin's own settings"""
NO_SETTINGS: Final[Settings] = MappingProxyType({})
_T = TypeVar("_T")
_Found: TypeAlias = Mapping[str, tuple[EntryPoint, ...]]


@frozen
class PluginReport:
    """What is known of one plugin. 'installed' was never imported; 'quarantined' has a reason."""

    name: str
    distribution: str
    version: str
    state: Literal["installed", "loaded", "quarantined"]
    api: str | None = None
    """the contract version it says it was made for; None: not asked yet"""
    reason: str = ""
    provides: tuple[str, ...] = ()
    """such as 'key exchange x3dh/1', 'store sqlite'"""

    @property
    def owner(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})" if self.distribution else self.name


@frozen
class Plugins:
    """What the named plugins brought."""

    key_exchanges: tuple[KeyExchange, ...]
    """best first: this project's own in its order of preference, others in the place where their plugins were named"""
    stores: Mapping[str, StoreFactory]
    transports: Mapping[str, TransportFactory]
    commands: Mapping[str, CommandEntry]
    reports: tuple[PluginReport, ...]

    def store(self, name: str) -> StoreFactory:
        return self._named("store", name, self.stores)

    def transport(self, name: str) -> TransportFactory:
        return self._named("transport", name, self.transports)

    def command(self, name: str) -> CommandEntry:
        return self._named("command", name, self.commands)

    def _named(self, kind: str, name: str, brought: Mapping[str, _T]) -> _T:
        if name in brought:
            return brought[name]
        failed = "".join(f" {r.owner} is quarantined: {r.reason}." for r in self.reports if r.state == "quarantined")
        here = ", ".join(sorted(brought)) or "none"
        raise PluginMissing(
            f"There is no {kind} called {name!r} among the loaded plugins; there are: {here}.{failed}",
            plugin=name,
            advice=_what_is_installed(_discover()),
        )


def installed_plugins() -> tuple[PluginReport, ...]:
    """Every plugin that is installed here, sorted by name. Imports none of them."""
    found = _discover()
    return tuple(_report_of(point) for name in sorted(found) for point in found[name])


def load_plugins(names: Iterable[str], config: Settings = NO_SETTINGS) -> Plugins:
    """Load the named plugins. PluginError if none is usable, PluginDuplicate if two claim one name."""
    plugins = _load(names, config, _KINDS)
    if not any(report.state == "loaded" for report in plugins.reports):
        raise _none_usable(plugins.reports)
    return plugins


def _none_usable(reports: tuple[PluginReport, ...]) -> PluginError:
    reasons = "; ".join(f"{report.owner}: {report.reason}" for report in reports) or "none was named"
    said = f"No usable plugin is loaded ({reasons})."
    for report in reports:
        if report.api is not None and not _is_ours(report.api):
            advice = f"Install a version of {report.name} that was made for version {API_VERSION}."
            return PluginIncompatible(said, plugin=report.name, advice=advice)
    return PluginError(said, advice=_what_is_installed(_discover()))


def load_commands(names: Iterable[str], config: Settings = NO_SETTINGS) -> Plugins:
    """The commands of the named plugins alone: no other hook is called, and none usable is no error."""
    return _load(names, config, tuple(kind for kind in _KINDS if kind.label == "command"))


def examine_plugins(names: Iterable[str], config: Settings = NO_SETTINGS) -> tuple[PluginReport, ...]:
    """Load each of them alone, and say what becomes of it. Of a name that two packages claim, the reason says who."""
    reports: list[PluginReport] = []
    for name in dict.fromkeys(names):
        try:
            reports += _load((name,), config, _KINDS).reports
        except PluginDuplicate as twice:
            reports.append(PluginReport(name, "", "", "quarantined", reason=str(twice)))
    return tuple(reports)


# --- what a plugin may bring -----------------------------------------------------------------------------------------


@frozen
class _Kind:
    hook: str
    label: str
    problem: Callable[[Any], str | None]
    """what is wrong with one object that the hook returned"""


def _key_exchange_problem(thing: Any) -> str | None:
    if problem := shape_problem(thing, KeyExchange) or mechanism_problem(thing.name):
        return problem
    if not isinstance(thing.carriage, Carriage):
        return "its carriage is no Carriage"
    return None if isinstance(thing.guarantees, Guarantee) else "its guarantees are no Guarantee"


def _entry_problem(wanted: type, call: str) -> Callable[[Any], str | None]:
    def problem(thing: object) -> str | None:
        if not isinstance(thing, wanted):
            return f"it is no {wanted.__name__}"
        callable_problem = None if callable(getattr(thing, call)) else f"its {call}() cannot be called"
        return short_name_problem(getattr(thing, "name", None)) or callable_problem

    return problem


_KINDS: Final = (
    _Kind("kexkit_key_exchanges", "key exchange", _key_exchange_problem),
    _Kind("kexkit_stores", "store", _entry_problem(StoreFactory, "open")),
    _Kind("kexkit_transports", "transport", _entry_problem(TransportFactory, "open")),
    _Kind("kexkit_commands", "command", _entry_problem(CommandEntry, "load")),
)


# --- loading ---------------------------------------------------------------------------------------------------------


class _Unfit(Exception):
    """Why this plugin is quarantined."""


@define
class _Loading:
    """What has been brought so far, and by whom."""

    reports: list[PluginReport] = field(factory=list)
    brought: dict[str, dict[str, Any]] = field(factory=lambda: {kind.label: {} for kind in _KINDS})
    owners: dict[tuple[str, str], PluginReport] = field(factory=dict)

    def take(self, report: PluginReport, things: Mapping[str, list[Any]]) -> None:
        provides = []
        for label, brought in things.items():
            for thing in brought:
                self._claim(report, label, thing.name)
                if label == "key exchange" and thing.carriage is Carriage.SLOT:
                    self._claim(report, "carriage", Carriage.SLOT.name)
                self.brought[label][thing.name] = thing
                provides.append(f"{label} {thing.name}")
        self.reports.append(evolve(report, state="loaded", provides=tuple(provides)))

    def _claim(self, report: PluginReport, label: str, name: str) -> None:
        owner = self.owners.get((label, name))
        if owner is not None:
            raise PluginDuplicate(
                f"Two claim the {label} {name!r}: {owner.owner} and {report.owner}.",
                plugin=report.name,
                advice="Name only one of them.",
            )
        self.owners[label, name] = report

    def plugins(self) -> Plugins:
        exchanges = self.brought["key exchange"]
        return Plugins(
            key_exchanges=tuple(exchanges[name] for name in in_preference(exchanges)),
            stores=MappingProxyType(self.brought["store"]),
            transports=MappingProxyType(self.brought["transport"]),
            commands=MappingProxyType(self.brought["command"]),
            reports=tuple(self.reports),
        )


def _load(names: Iterable[str], config: Settings, kinds: tuple[_Kind, ...]) -> Plugins:
    if isinstance(names, str):
        raise InvalidInput("The names of plugins are a list, not one string.")
    found = _discover()
    loading = _Loading()
    for name in dict.fromkeys(names):
        point = _only(found, name)
        if point is None:
            missing = PluginReport(name, "", "", "quarantined", reason="it is not installed")
            loading.reports.append(missing)
            continue
        report = _report_of(point)
        try:
            plugin = _imported(point)
            version = _contract_version(plugin)
            report = evolve(report, api=version)
            _check_contract(version)
            things = _ask_hooks(plugin, name, config.get(name, {}), kinds)
        except _Unfit as unfit:
            loading.reports.append(evolve(report, state="quarantined", reason=str(unfit)))
        else:
            loading.take(report, things)
    return loading.plugins()


def _discover() -> _Found:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _report_of(point: EntryPoint) -> PluginReport:
    dist = point.dist
    return PluginReport(point.name, dist.name if dist else "", dist.version if dist else "", "installed")


def _only(found: _Found, name: str) -> EntryPoint | None:
    points = found.get(name, ())
    if len(points) > 1:
        owners = " and ".join(_report_of(point).owner for point in points)
        raise PluginDuplicate(
            f"Two installed packages call their plugin {name!r}: {owners}.", plugin=name, advice="Uninstall one."
        )
    return points[0] if points else None


def _what_is_installed(found: _Found) -> str:
    if not found:
        return "No plugin is installed here."
    return f"Installed here: {', '.join(sorted(found))}."


def _imported(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
        raise _Unfit(f"importing {point.value} raised {type(error).__name__}: {error}") from None


def _contract_version(plugin: object) -> str:
    try:
        version = getattr(plugin, "kexkit_api", None)
    except Exception as error:  # a module may answer for attributes by a function of its own
        raise _Unfit(f"asking for its kexkit_api raised {type(error).__name__}") from None
    if not isinstance(version, str):
        raise _Unfit(f'it does not say which contract it was made for: kexkit_api = "{API_VERSION}"')
    return version


def _is_ours(version: str) -> bool:
    return version.partition(".")[0] == API_VERSION.partition(".")[0]


def _check_contract(version: str) -> None:
    if not _is_ours(version):
        raise _Unfit(f"it was made for version {version} of the contract, this is version {API_VERSION}")


def _ask_hooks(
    plugin: object, name: str, settings: Mapping[str, str], kinds: tuple[_Kind, ...]
) -> Mapping[str, list[Any]]:
    host = pluggy.PluginManager(hookspecs.PROJECT)  # one for each plugin: who returned what is never in doubt
    host.add_hookspecs(hookspecs)
    try:
        host.register(plugin, name)
        host.check_pending()
    except pluggy.PluginValidationError as error:
        raise _Unfit(f"its hooks are not kexkit's: {' '.join(str(error).split())}") from None
    except Exception as error:
        raise _Unfit(f"looking for its hooks raised {type(error).__name__}") from None
    if not host.get_hookcallers(plugin):
        raise _Unfit("it implements no hook of kexkit")
    return {kind.label: _ask_hook(host, kind, MappingProxyType(dict(settings))) for kind in kinds}


def _ask_hook(host: pluggy.PluginManager, kind: _Kind, settings: Mapping[str, str]) -> list[Any]:
    try:
        answers = getattr(host.hook, kind.hook)(config=settings)
        things = [thing for answer in answers for thing in _listed(kind, answer)]
        problems = [f"{type(thing).__name__}: {problem}" for thing in things if (problem := kind.problem(thing))]
    except KexkitError as error:  # the plugin's own words, which promise to carry no secret
        raise _Unfit(str(error)) from None
    except _Unfit:
        raise
    except (Exception, SystemExit) as error:  # its message may quote a setting, hence a secret: say where, not what
        raise _Unfit(f"its hook {kind.hook} raised {type(error).__name__} at {_place(error)}") from None
    if problems:
        raise _Unfit(f"its hook {kind.hook} returned a {kind.label} that does not fit: {problems[0]}")
    names = [thing.name for thing in things]
    if len(set(names)) < len(names):
        raise _Unfit(f"its hook {kind.hook} returned two of one name")
    return things


def _listed(kind: _Kind, answer: object) -> list[Any]:
    if isinstance(answer, list | tuple):
        return list(answer)
    if inspect.iscoroutine(answer):
        answer.close()
    raise _Unfit(f"its hook {kind.hook} returned a {type(answer).__name__}, not a list")


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"
