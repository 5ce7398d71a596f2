"""The `kexkit` command: an application of kexkit's public face. What it needs is found as plugins, never imported."""

from __future__ import annotations


def main() -> int:
    """The console script; returns an exit code (see `kexkit_cli.exits`)."""
    try:
        from kexkit_cli.app import run

        return run()
    except KeyboardInterrupt:  # before there was anybody to explain it
        return 130
