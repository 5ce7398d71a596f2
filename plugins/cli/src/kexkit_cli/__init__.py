"""The `kexkit` command: an application of kexkit's public face. What it needs is found as plugins, never imported."""

from __future__ import annotations


def main() -> int:
    """The console script; returns an exit code (see `kexkit_cli.exits`)."""
    from kexkit_cli.app import run

    return run()
