"""Where a client may be sent, what it says when it gets nowhere, TLS, and what the plugin brings."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kexkit.errors import InvalidInput, TransportError
from kexkit.testing.transport_kit import publish_all, read_until
from kexkit_transport_relay import kexkit_commands, kexkit_transports, open_relay, serve
from kexkit_transport_relay.websocket import BadAddress, NotARelay, Unreachable

from tests.transport.by_hand import GENEROUS, TOPIC, envelope, envelopes, quick

pytestmark = pytest.mark.anyio
NOWHERE = "ws://127.0.0.1:9"

# --- addresses ---

BAD = ["", "http://127.0.0.1:1", "127.0.0.1:8765", "ws://", "ws://127.0.0.1:99999", "ws://host:port", "ws://h/#x"]


@pytest.mark.parametrize("url", BAD)
async def test_an_address_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(BadAddress, match=r"It looks like ws://127\.0\.0\.1:8765"):
        async with open_relay({"url": url}):
            pass


async def test_other_settings_that_cannot_be_are_refused_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for settings in (
        {},
        {"url": NOWHERE, "patience": "soon"},
        {"url": NOWHERE, "patiense": "5"},
        {"url": NOWHERE, "patience": "0"},
        {"url": NOWHERE, "patience": "nan"},
        {"url": "wss://127.0.0.1:1", "ca": str(tmp_path / "missing.pem")},
        {"url": "wss://127.0.0.1:1", "ca": str(empty)},
    ):
        with pytest.raises(BadAddress) as bad:
            async with open_relay(settings):
                pass
        assert isinstance(bad.value, InvalidInput), "what the contract of transports says of settings"


async def test_a_password_in_the_address_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve() as relay, quick(relay.url.replace("ws://", "ws://me:hunter2@")) as alice:
        await alice.publish(envelope(1))
    assert "hunter2" not in caplog.text
    assert "payload" not in caplog.text
    async with quick("ws://me:hunter2@127.0.0.1:9", patience="0.1") as alice:
        with pytest.raises(Unreachable) as caught:
            await alice.publish(envelope(1))
        assert "hunter2" not in f"{caught.value} {caught.value!r} {alice.address} {alice.address!r} {vars(alice)!r}"
    with pytest.raises(BadAddress) as bad:
        async with open_relay({"url": "wx://me:hunter2@127.0.0.1:9"}):
            pass
    assert "hunter2" not in str(bad.value)


async def test_a_host_that_does_not_exist_is_said_plainly() -> None:
    async with quick("ws://no.such.host.invalid:1", patience="1") as alice:
        with pytest.raises(Unreachable, match=r"no\.such\.host\.invalid:1 (cannot be reached|has not answered)"):
            await alice.publish(envelope(1))


async def test_the_callers_own_error_comes_out_as_it_is() -> None:
    async def stumble() -> None:
        async with open_relay({"url": NOWHERE}):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await stumble()


async def test_closing_ends_reading_and_refuses_the_rest() -> None:
    async with serve() as relay, quick(relay.url) as alice:
        await alice.watch({TOPIC: None})
        await alice.publish(envelope(1))
    assert [arrival.envelope async for arrival in alice.arrivals()] in ([], [envelope(1)])
    for call in (alice.publish(envelope(1)), alice.watch({}), alice.unwatch([])):
        with pytest.raises(TransportError, match="closed"):
            await call


async def test_closing_while_publishing_ends_the_publishing() -> None:
    async with quick(NOWHERE, patience="20") as alice, anyio.create_task_group() as group:

        async def publish() -> None:
            with pytest.raises(TransportError, match="closed"):
                await alice.publish(envelope(1))

        group.start_soon(publish)
        await anyio.wait_all_tasks_blocked()
        alice.close()


async def test_a_topic_that_no_relay_carries_is_refused_before_anything_is_sent() -> None:
    async with quick(NOWHERE) as alice:
        for call in (alice.watch({"": None}), alice.publish(envelope(1, topic="x" * 300))):
            with pytest.raises(InvalidInput):
                await call


# --- TLS ---


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret


async def test_wss_works_with_a_trusted_certificate_and_says_what_is_wrong_otherwise(tmp_path: Path) -> None:
    chain, secret = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chain, secret)
    async with serve(tls=tls) as relay, serve() as plain:
        assert relay.url.startswith("wss://")
        async with quick(relay.url, ca=str(chain)) as alice, quick(relay.url, ca=str(chain)) as bob:
            await bob.watch({TOPIC: None})
            await publish_all(alice, envelopes(0, 20))
            await read_until(bob, envelopes(0, 20))
        async with quick(relay.url) as alice:
            with pytest.raises(NotARelay, match=r"certificate of .* is not trusted"):
                await alice.publish(envelope(1))
        async with quick(plain.url.replace("ws://", "wss://")) as alice:
            with pytest.raises(NotARelay, match="does not speak TLS"):
                await alice.publish(envelope(1))
        async with quick(relay.url.replace("wss://", "ws://"), patience="0.7") as alice:
            with pytest.raises(TransportError):
                await alice.publish(envelope(1))
        assert relay.relay.faults == plain.relay.faults == 0


# --- the plugin ---


async def test_the_hooks_bring_the_transport_and_the_command() -> None:
    (factory,) = kexkit_transports({})
    (command,) = kexkit_commands({})
    assert (factory.name, command.name) == ("relay", "relay")
    async with serve(quotas=GENEROUS) as relay, factory.open({"url": relay.url}) as transport:
        await transport.publish(envelope(1))
        assert relay.relay.ledger.count == 1
