"""`plugins list|doctor|new`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click
from kexkit import PluginReport, examine_plugins, installed_plugins, load_plugins
from kexkit.errors import PluginDuplicate, PluginError

from kexkit_cli.console import Console
from kexkit_cli.exits import Exit
from kexkit_cli.invocation import Group, of
from kexkit_cli.profiles import config_of, enabled_plugins


@click.group(cls=Group)
def plugins() -> None:
    """Plugins bring key exchanges, stores, transports and commands. Only those you enable are ever loaded."""


@plugins.command("list")
@click.pass_context
def list_(context: click.Context) -> None:
    """What is installed, what is enabled, and what it brings. What is not enabled is not imported."""
    invocation = of(context)
    console = Console(invocation)
    config = config_of(invocation)
    enabled = enabled_plugins(invocation, config)
    reports = {report.name: report for report in examine_plugins(enabled, config.plugins)}
    rows = [_facts(report, report.name in enabled) for report in reports.values()]
    rows += [_facts(report, False) for report in installed_plugins() if report.name not in reports]
    if console.json:
        console.tell({"plugins": rows})
        return
    for row in rows:
        _show(row, console)


@plugins.command(short_help="Say whether everything that is enabled works, and what is wrong.")
@click.pass_context
def doctor(context: click.Context) -> int:
    """Load every installed plugin by itself, then the enabled ones together, and say what is wrong.

    Exit code 8 if something that is enabled cannot be used.
    """
    invocation = of(context)
    console = Console(invocation)
    config = config_of(invocation)
    enabled = enabled_plugins(invocation, config)
    names = [*enabled, *(report.name for report in installed_plugins())]
    reports = examine_plugins(names, config.plugins)
    rows = [_facts(report, report.name in enabled) for report in reports]
    problems = [f"{row['name']}: {row['reason']}" for row in rows if row["enabled"] and row["state"] != "loaded"]
    try:
        load_plugins(enabled, config.plugins)
    except PluginDuplicate as duplicate:
        problems.append(str(duplicate))
    except PluginError:
        pass  # none is usable: each of them has its own line already
    kinds = {thing.rpartition(" ")[0] for row in rows if row["enabled"] for thing in row["provides"]}
    problems += [f"nothing that is enabled brings a {kind}" for kind in _NEEDED if kind not in kinds]
    if console.json:
        console.tell({"plugins": rows, "problems": problems})
    else:
        for row in rows:
            _show(row, console)
        for problem in problems:
            console.warn(problem)
        if not problems:
            console.say("Everything that is enabled works.")
    return Exit.PLUGIN if problems else Exit.OK


_NEEDED = ("key exchange", "store", "transport")


def _facts(report: PluginReport, enabled: bool) -> dict[str, Any]:
    return {
        "name": report.name,
        "distribution": report.distribution,
        "version": report.version,
        "enabled": enabled,
        "state": report.state,
        "api": report.api,
        "provides": list(report.provides),
        "reason": report.reason,
    }


def _show(row: dict[str, Any], console: Console) -> None:
    style = {"loaded": "green", "quarantined": "red"}.get(row["state"], "dim")
    console.raw(console.styled(f"{row['state']:11}", style) + " ")
    owner = f"({row['distribution']} {row['version']})" if row["distribution"] else ""
    brings = "; ".join(row["provides"]) or row["reason"] or "not enabled"
    if row["state"] == "loaded" and not row["enabled"]:
        brings += "; not enabled"
    console.say(f"{row['name']:10} {owner:36} {brings}")


@plugins.command(short_help="Write a package for a new plugin, with tests.")
@click.option(
    "--kind",
    required=True,
    type=click.Choice(["key-exchange", "storage", "transport"]),
    help="What the plugin shall bring.",
)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="FOLDER",
    help="Where the package's folder is made; here by default.",
)
@click.argument("name")
@click.pass_context
def new(context: click.Context, kind: Literal["key-exchange", "storage", "transport"], into: Path, name: str) -> None:
    """Write a package for a plugin called NAME, whose tests run the conformance kit from the first minute."""
    from kexkit_cli.scaffold import distribution_of, write_plugin

    console = Console(of(context))
    folder = into / distribution_of(kind, name)
    written = write_plugin(kind, name, folder)
    facts = {"folder": str(folder), "kind": kind, "name": name, "files": [str(file) for file in written]}
    console.answer(facts, f"Written: {folder}  ({len(written)} files)")
    console.note(f'Next: cd {folder}, python -m pip install -e ".[test]", python -m pytest')
