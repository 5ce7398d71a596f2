"""`kexkit relay`: run a relay until a signal stops it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias

import anyio
import click
import platformdirs
from kexkit.errors import KexkitError

from kexkit_transport_relay.limits import DAY, MIB, Quotas
from kexkit_transport_relay.server import LOOPBACK, Serving, serve

DEFAULT_PORT = 8765
FAILURE = 1
INTERRUPTED = 130
DEFAULT = Quotas()
Command: TypeAlias = Callable[..., None]


def _limit(option: str, default: float, says: str) -> Callable[[Command], Command]:
    kind = click.IntRange(min=1) if isinstance(default, int) else click.FloatRange(min=0, min_open=True)
    return click.option(option, type=kind, default=default, show_default=True, help=says)


@click.command("relay", short_help="Run a relay that stores and forwards envelopes.")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen on; 0.0.0.0 for every one.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 for any free port."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="KEXKIT_RELAY_DATA",
    help="Folder for the envelopes. Default: one in your user data folder.",
)
@_limit("--keep-days", DEFAULT.keep_seconds / DAY, "Days after which envelopes are deleted.")
@_limit("--keep-mib", DEFAULT.keep_bytes // MIB, "MiB stored in all; above it the oldest of who stored most go.")
@_limit("--keep-count", DEFAULT.keep_count, "Envelopes stored in all; above it the oldest of who stored most go.")
@_limit("--max-connections", DEFAULT.connections, "Connections in all.")
@_limit("--address-connections", DEFAULT.address_connections, "Connections from one source address.")
@_limit("--address-mib", DEFAULT.address_bytes // MIB, "MiB that one source address may store an hour.")
@_limit("--address-count", DEFAULT.address_count, "Envelopes that one source address may store an hour.")
@_limit("--publish-rate", DEFAULT.publish_rate, "Publications a second on one connection.")
@_limit("--max-topics", DEFAULT.topics, "Topics watched on one connection.")
@click.option("--tls-certificate", type=click.Path(dir_okay=False, exists=True), help="PEM chain: speak wss://.")
@click.option("--tls-key", type=click.Path(dir_okay=False, exists=True), help="PEM key of the certificate.")
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as one line of JSON.")
@click.pass_context
def relay(
    context: click.Context,
    host: str,
    port: int,
    data: Path | None,
    keep_days: float,
    keep_mib: int,
    keep_count: int,
    max_connections: int,
    address_connections: int,
    address_mib: int,
    address_count: int,
    publish_rate: float,
    max_topics: int,
    tls_certificate: str | None,
    tls_key: str | None,
    as_json: bool,
) -> None:
    """Store and forward envelopes by topic. It reads none of them; Ctrl-C stops it."""
    quotas = Quotas(
        keep_seconds=keep_days * DAY,
        keep_bytes=keep_mib * MIB,
        keep_count=keep_count,
        connections=max_connections,
        address_connections=address_connections,
        address_bytes=address_mib * MIB,
        address_count=address_count,
        publish_rate=publish_rate,
        topics=max_topics,
    )
    folder = data or _home() / "relay"
    try:
        context.exit(anyio.run(_run, folder, host, port, quotas, _tls(tls_certificate, tls_key), as_json))
    except KeyboardInterrupt:
        context.exit(INTERRUPTED)
    except KexkitError as error:
        if not as_json:
            raise  # whoever runs commands says it, as JSON where that was asked of it
        click.echo(json.dumps({"error": str(error), "kind": type(error).__name__, "exit": FAILURE}))
        click.echo(f"kexkit relay: {error}", err=True)
        context.exit(FAILURE)


def _home() -> Path:
    """Where `kexkit` keeps everything else of this user's."""
    chosen = os.environ.get("KEXKIT_HOME")
    return Path(chosen) if chosen else platformdirs.user_data_path("kexkit")


def _tls(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is not None:
            raise click.UsageError("--tls-key needs --tls-certificate.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise click.UsageError(f"The TLS certificate or key cannot be used ({error}).") from None
    return context


async def _run(folder: Path, host: str, port: int, quotas: Quotas, tls: ssl.SSLContext | None, as_json: bool) -> int:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serve(folder, host=host, port=port, quotas=quotas, tls=tls) as serving:
            _announce(serving, as_json)
            async for number in signals:
                return INTERRUPTED if number == signal.SIGINT else 0
    return 0


def _announce(serving: Serving, as_json: bool) -> None:
    if not _only_here(serving.host):
        warning = "Everyone who reaches this address can store envelopes here and watch topics whose names they know."
        click.echo(f"kexkit relay: {warning}", err=True)
    if as_json:
        said = {"url": serving.url, "host": serving.host, "port": serving.port, "data": str(serving.folder)}
        click.echo(json.dumps(said))
    else:
        click.echo(f"Relay on {serving.url}, envelopes in {serving.folder}. Ctrl-C stops it.")
    sys.stdout.flush()


def _only_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
