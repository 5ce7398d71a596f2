"""One party of a recording as our own SecurityLayer: it draws what the recorded party drew, and so makes its bytes.

The recording names the keys that status-go generated, in status-go's order and at its moments. Ours differ: a ratchet
key is made with the next text, devices are sealed for in another order, and where several sessions would do, status-go
takes the oldest and we the best. So a send is *tried*: for each order of devices and each choice of sessions, on a copy
of the rows, until the frames are the recorded ones, byte for byte. Nothing but the choice is steered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import permutations, product
from typing import Any, Final
from unittest import mock

from attrs import define, field, frozen
from kexkit import _records as records
from kexkit._transitions import State
from kexkit._wire import protocol_message
from kexkit.api import Advert, Context, Have, Key, Offer, Versioned, Wants
from kexkit.errors import KexkitError
from kexkit.hazmat import SecurityLayer
from kexkit.identity import SoftwareIdentity
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_x3dh import bundle as bundles
from kexkit_x3dh import frames
from kexkit_x3dh.bundle import BundlePolicy
from kexkit_x3dh.exchange import X3DH
from kexkit_x3dh.limits import PREKEY_MS

BEGIN: Final = b"begin"
"""In a choice of sessions: none of those that there are."""
Choice = Mapping[str, bytes]
"""By installation: the session to use, or BEGIN."""


class WrongDraw(Exception):
    """Our code drew something else than the recorded party did at this point."""


@frozen
class AnyInstallation(X3DH):
    """Publishes for installations whose ids are no UUIDs: some recordings use names."""

    def offer(self, have: Have, *, siblings: tuple[Advert, ...], ctx: Context) -> Offer | Wants:
        with mock.patch.object(bundles, "is_installation", return_value=True):
            return X3DH.offer(self, have, siblings=siblings, ctx=ctx)


def exchange_for(installations: set[str]) -> X3DH:
    """The default policy wherever it reads what the recording has."""
    if all(bundles.is_installation(name) for name in installations):
        return X3DH()
    return AnyInstallation(policy=BundlePolicy.RECORDINGS)


@define
class RecordedParty:
    identity: SoftwareIdentity
    installation: str
    exchange: X3DH
    secrets: Mapping[bytes, bytes] = field(repr=False)
    """all private keys of the recording, by public key"""
    now: int
    """milliseconds: where the recording stands"""
    ahead: int = 0
    """how far this party's clock was put forward, for its prekey to fall due"""
    drawn: set[bytes] = field(factory=set)
    """public keys whose private part has been handed out"""
    opened: set[tuple[str, int]] = field(factory=set)
    """(ratchet key, n) of every text that was opened"""
    steered: int = 0
    layer: SecurityLayer = field(init=False)
    _draws: deque[bytes] = field(factory=deque, init=False, repr=False)

    @layer.default
    def _layer(self) -> SecurityLayer:
        return SecurityLayer(
            self.identity,
            self.installation,
            [self.exchange],
            clock=lambda: self.now + self.ahead,
            rng=self._rng,
            policy=WITHOUT_FORWARD_SECRECY,
        )

    def _rng(self, size: int) -> bytes:
        if not self._draws or len(self._draws[0]) != size:
            raise WrongDraw(f"{size} bytes are drawn, and the recording has {[len(each) for each in self._draws]}")
        return self._draws.popleft()

    # --- rows --------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> dict[Key, Versioned]:
        """A copy of all that this party keeps."""
        return dict(self.layer.shell.rows)

    def put_back(self, rows: Mapping[Key, Versioned]) -> None:
        self.layer.shell.rows = dict(rows)
        self.layer.shell.forget_sessions()

    def devices_of(self, identity: bytes) -> list[records.PeerDevice]:
        row = self.layer.shell.rows.get(records.peer_key(identity))
        return list(records.read_peer(row.value).devices) if row is not None else []

    # --- bundles -----------------------------------------------------------------------------------------------------

    def publish_as(self, recorded: Mapping[str, Any]) -> None:
        """Make our present bundle; it must list what the recorded one of this party lists."""
        prekey = bytes.fromhex(recorded["signed_pre_keys"][self.installation]["signed_pre_key"])
        if prekey not in self.drawn:
            if self.drawn_a_prekey:
                self.ahead += PREKEY_MS  # the recorded party rotated: it had been given a shorter interval
            self._draws.append(self.secrets[prekey])
            self.drawn.add(prekey)
        ours = bundles.parse(self.layer.bundle())
        assert not self._draws, "the recorded party made a new prekey, and ours did not"
        theirs = bundles.parse(bytes.fromhex(recorded["serialized"]))
        assert ours.identity == theirs.identity == self.identity.public
        assert ours.prekeys == theirs.prekeys
        assert len(ours.signature) == len(theirs.signature)

    @property
    def drawn_a_prekey(self) -> bool:
        return records.drawer_key(self.exchange.name, b"published") in self.layer.shell.rows

    # --- sending -----------------------------------------------------------------------------------------------------

    def send_as(self, step: Mapping[str, Any]) -> None:
        """Make the recorded message: everything but the bundle's timestamp and signature is byte for byte the same."""
        recorded = protocol_message.parse(bytes.fromhex(step["message"]))
        for bundle in step["decoded"]["bundles"] or ():
            self.publish_as(bundle)
        before = self.rows
        to = bytes.fromhex(step["to"]) if "to" in step else self.identity.public
        entries = step["decoded"]["encrypted_message"] or {}
        refused: list[str] = []
        for choice, order in self._trials(to, list(entries)):
            self.put_back(self._steered(before, to, choice) if choice else before)
            fresh = self._expect([entries[name] for name in order])
            try:
                made = protocol_message.parse(self._seal(step["kind"], to, bytes.fromhex(step["payload"])))
            except (KexkitError, WrongDraw) as problem:
                refused.append(str(problem))
                continue
            if made.slots != recorded.slots or self._draws:
                refused.append(f"frames for {sorted(made.slots)} that differ, {len(self._draws)} draws left")
                continue
            assert (made.installation, made.public) == (recorded.installation, recorded.public)
            assert (made.offers, made.frames, len(made.bundles)) == ((), (), len(recorded.bundles))
            self.drawn |= fresh
            self._unsteer(before, to, choice)
            return
        self.put_back(before)
        raise AssertionError(f"no choice of sessions and order of devices makes the recorded frames: {refused}")

    def _seal(self, kind: str, to: bytes, payload: bytes) -> bytes:
        if kind == "public":
            return self.layer.seal_public(payload)
        if kind == "dh":
            return self.layer.seal_fallback(to, payload)
        assert kind == "direct", f"no such kind of message is known here: {kind}"
        return self.layer.seal(to, payload)

    def _expect(self, entries: list[Mapping[str, Any]]) -> set[bytes]:
        """Put what these frames need in the order in which our code draws it. The keys that are drawn for them."""
        self._draws.clear()
        fresh: set[bytes] = set()

        def key(public: str) -> None:
            raw = bytes.fromhex(public)
            if raw not in self.drawn:
                self._draws.append(self.secrets[raw])
                fresh.add(raw)

        for entry in entries:
            payload = bytes.fromhex(entry["payload"])
            if "dr_header" in entry:
                if "x3dh_header" in entry:
                    key(entry["x3dh_header"]["key"])
                key(entry["dr_header"]["key"])
                self._draws.append(payload[:16])
            else:
                key(entry["dh_header"]["key"])
                self._draws.append(payload[-12:])
        return fresh

    def _trials(self, to: bytes, installations: list[str]) -> Iterator[tuple[Choice, tuple[str, ...]]]:
        """Our own choice of sessions first."""
        known = {device.installation: device for device in self.devices_of(to)}
        yield from (({}, order) for order in permutations(installations))
        options = [
            [(name, ref.id) for ref in known[name].sessions] + [(name, BEGIN)] if name in known else [(name, BEGIN)]
            for name in installations
        ]
        for choice in product(*options):
            yield from ((dict(choice), order) for order in permutations(installations))

    def _steered(self, rows: Mapping[Key, Versioned], to: bytes, choice: Choice) -> dict[Key, Versioned]:
        """The rows, with the chosen session of each device as the only one that may seal."""
        key = records.peer_key(to)
        if key not in rows:
            return dict(rows)
        record = records.read_peer(rows[key].value)
        for device in record.devices:
            for ref in device.sessions:
                if device.installation in choice:
                    ref.state = State.OPEN if ref.id == choice[device.installation] else State.STALE
        return {**rows, key: Versioned(records.write(record), rows[key].revision)}

    def _unsteer(self, before: Mapping[Key, Versioned], to: bytes, choice: Choice) -> None:
        """A choice holds for one message: sessions that were there are again what they were."""
        key = records.peer_key(to)
        if not choice or key not in before:
            return
        self.steered += 1
        was = {ref.id: ref.state for device in records.read_peer(before[key].value).devices for ref in device.sessions}
        row = self.layer.shell.rows[key]
        record = records.read_peer(row.value)
        for device in record.devices:
            for ref in device.sessions:
                ref.state = was.get(ref.id, ref.state)
        self.layer.shell.rows[key] = Versioned(records.write(record), row.revision)


# --- what a recording says of a message, from its bytes ---------------------------------------------------------------


def decoded(raw: bytes) -> dict[str, Any]:
    """As recordings decode a ProtocolMessage, where one gives the bytes alone."""
    message = protocol_message.parse(raw)
    return {
        "installation_id": message.installation,
        "bundles": [decoded_bundle(bundle) for bundle in message.bundles],
        "encrypted_message": {name: _decoded_frame(frame) for name, frame in message.slots.items()},
        **({"public_message": message.public.hex()} if message.public else {}),
    }


def decoded_bundle(raw: bytes) -> dict[str, Any]:
    bundle = bundles.parse(raw)
    return {
        "identity": bundle.identity.hex(),
        "serialized": raw.hex(),
        "signature_material": bundles.signed_material(bundle.prekeys, bundle.timestamp).hex(),
        "signed_pre_keys": {
            name: {
                "signed_pre_key": prekey.public.hex(),
                "version": prekey.version,
                "protocol_version": prekey.protocol_version,
            }
            for name, prekey in bundle.prekeys.items()
        },
        "timestamp": bundle.timestamp,
    }


def _decoded_frame(raw: bytes) -> dict[str, Any]:
    frame = frames.read(raw)
    if isinstance(frame, frames.DirectFrame):
        return {"dh_header": {"key": frame.ephemeral.hex()}, "payload": frame.sealed.hex()}
    opening = {"x3dh_header": {"key": frame.ephemeral.hex(), "id": frame.prekey.hex()}} if frame.ephemeral else {}
    header = {"key": frame.key.hex(), "n": frame.n, "pn": frame.pn, "id": frame.prekey.hex()}
    return {"dr_header": header, "payload": frame.sealed.hex(), **opening}
