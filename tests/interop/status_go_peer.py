"""A second implementation of status-go's encryption layer, the oracle that kexkit is put in front of.

Written from the recorded behaviour and apart from kexkit: nothing of it is imported here. It keeps what is odd and
matters on the wire: the oldest session is used for sending; a session is known by prekey and installation, not by
person; a text opens again and again; a message may leave on a session whose prekey the same message replaces; a bundle
is kept before it is verified. It leaves out hash ratchets and limits on kept keys. `test_oracle` holds it to the
recordings, in both directions and without help, and `test_live_differences` to the real one.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from coincurve import PrivateKey, PublicKey
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.interop import status_go_messages
from tests.interop.protobuf import NotProtobuf, last, map_of, read, write
from tests.interop.status_go_messages import keccak256
from tests.interop.status_go_ratchet import Header, Kept, Ratchet, StatusGoError, agree, answer, begin

MAX_INSTALLATIONS = 3
DAY_NS = 24 * 3600 * 10**9


@define
class BundleRow:
    identity: bytes
    installation: str
    version: int
    made: int
    private: PrivateKey | None = field(default=None, repr=False)
    expired: bool = False


@define
class Installation:
    timestamp: int
    enabled: bool
    protocol_version: int


@define
class RatchetInfo:
    secret: bytes = field(repr=False)
    ephemeral: bytes
    """ours, until they have been heard"""


@define
class StatusGoPeer:
    secret: PrivateKey = field(repr=False)
    installation: str
    clock: Callable[[], int]
    """nanoseconds"""
    rng: Callable[[int], bytes] = field(repr=False)
    refresh_due: bool = False
    """as if 24 hours had passed since the bundle was made"""
    prekeys: dict[bytes, BundleRow] = field(factory=dict, repr=False)
    installations: dict[tuple[bytes, str], Installation] = field(factory=dict)
    infos: dict[tuple[bytes, str, bytes], RatchetInfo] = field(factory=dict, repr=False)
    """by (identity, installation, prekey), in order of age"""
    ratchets: dict[tuple[bytes, str], Ratchet] = field(factory=dict, repr=False)
    kept: Kept = field(factory=dict, repr=False)

    @property
    def identity(self) -> bytes:
        return self.secret.public_key.format()

    def _new_key(self) -> PrivateKey:
        return PrivateKey(self.rng(32))

    # --- bundles -----------------------------------------------------------------------------------------------------

    def bundle(self) -> bytes:
        """Ours, signed anew every time; with a new prekey if the last one is a day old."""
        mine = [row for row in self._rows(self.identity, self.installation) if row.private is not None]
        present = [row for row in mine if not row.expired]
        if not present or self.refresh_due or self.clock() - present[-1].made >= DAY_NS:
            self.refresh_due = False
            for row in present:
                row.expired = True
            key = self._new_key()
            version = 1 + max((row.version for row in self._rows(self.identity, self.installation)), default=0)
            row = BundleRow(self.identity, self.installation, version, self.clock(), key)
            self.prekeys[key.public_key.format()] = row
        listed = {}
        for name in [self.installation, *self.active(self.identity)[:2]]:
            usable = self._usable(self.identity, name)
            if usable:
                known = self.installations.get((self.identity, name))
                listed[name] = (usable[-1], self.prekeys[usable[-1]].version, known.protocol_version if known else 1)
        timestamp = self.clock()
        digest = keccak256(_material(listed, timestamp))
        entries = [
            (2, write((1, name.encode()), (2, write((1, key), (2, version), (3, protocol)))))
            for name, (key, version, protocol) in sorted(listed.items())
        ]
        signature = self.secret.sign_recoverable(digest, hasher=None)
        return write((1, self.identity), *entries, (4, signature), (5, timestamp))

    def process_bundle(self, raw: bytes) -> None:
        fields = read(raw)
        identity, timestamp, signature = last(fields, 1), last(fields, 5, 0), last(fields, 4)
        listed = {}
        for name, entry in map_of(fields.get(2, [])).items():
            each = read(entry)
            listed[name] = (last(each, 1), last(each, 2, 0), last(each, 3, 0))
        for name, (key, version, _) in listed.items():
            self._keep(key, BundleRow(identity, name, version, timestamp))
        digest = keccak256(_material(listed, timestamp))
        try:
            signer = PublicKey.from_signature_and_message(signature, digest, hasher=None).format()
        except Exception:  # whatever the library makes of bytes that are no signature
            signer = b""
        if signer != identity:
            raise StatusGoError("identity key and signature mismatch")
        for name, (_, _, protocol_version) in listed.items():
            if (identity, name) == (self.identity, self.installation):
                continue
            known = self.installations.setdefault(
                (identity, name), Installation(timestamp, identity != self.identity, protocol_version)
            )
            known.timestamp = max(known.timestamp, timestamp)

    def _keep(self, prekey: bytes, new: BundleRow) -> None:
        for row in self._rows(new.identity, new.installation):
            row.expired = row.expired or row.version < new.version
        self.prekeys.setdefault(prekey, new)

    def _rows(self, identity: bytes, installation: str) -> list[BundleRow]:
        return [row for row in self.prekeys.values() if (row.identity, row.installation) == (identity, installation)]

    def _usable(self, identity: bytes, installation: str) -> list[bytes]:
        """By version, what has not expired: the first is written to, the last is listed in our own bundle."""
        usable = [
            key
            for key, row in self.prekeys.items()
            if (row.identity, row.installation) == (identity, installation) and not row.expired
        ]
        return sorted(usable, key=lambda key: self.prekeys[key].version)

    def enable(self, installation: str) -> None:
        self.installations[self.identity, installation].enabled = True

    def active(self, identity: bytes) -> list[str]:
        """Those that published last first, never our own."""
        found = [
            (-each.timestamp, name)
            for (owner, name), each in self.installations.items()
            if owner == identity and each.enabled and (owner, name) != (self.identity, self.installation)
        ]
        return [name for _, name in sorted(found)][:MAX_INSTALLATIONS]

    # --- sending -----------------------------------------------------------------------------------------------------

    def build(self, to: bytes, payload: bytes) -> bytes:
        """For every active installation, or for whichever there is if none is known."""
        entries = {name: self._encrypt(to, name, payload) for name in self.active(to)}
        sealed = {name: entry for name, entry in entries.items() if entry is not None}
        return self._message(sealed if entries else {"none": self._encrypt_with_dh(to, payload)})

    def build_dh(self, to: bytes, payload: bytes) -> bytes:
        return self._message({"none": self._encrypt_with_dh(to, payload)})

    def build_public(self, payload: bytes) -> bytes:
        return self._message({}, payload)

    def _message(self, entries: dict[str, bytes], public: bytes = b"") -> bytes:
        listed = [(101, write((1, name.encode()), (2, entry))) for name, entry in sorted(entries.items())]
        own = (2, self.installation.encode())
        return write(own, (3, self.bundle()), *listed, (102, public or None))

    def _encrypt(self, to: bytes, name: str, payload: bytes) -> bytes | None:
        prekey = next(
            (
                key
                for identity, installation, key in self.infos
                if (identity, installation) == (to, name) and key in self.prekeys and not self.prekeys[key].expired
            ),
            None,
        )
        if prekey is None:
            usable = self._usable(to, name)
            if not usable:
                return None
            prekey = usable[0]
            self._begin(to, name, prekey)
        info = self.infos[to, name, prekey]
        header, sealed = self._ratchet(prekey, name, info).seal(payload)
        opening = write((1, info.ephemeral), (4, prekey)) if info.ephemeral else None
        ratchet = write((1, header.key), (2, header.n), (3, header.pn), (4, prekey))
        return write((1, opening), (2, ratchet), (3, sealed))

    def _begin(self, to: bytes, name: str, prekey: bytes) -> None:
        ephemeral = self._new_key()
        secret = keccak256(agree(self.secret, prekey) + agree(ephemeral, to) + agree(ephemeral, prekey))
        self.infos[to, name, prekey] = RatchetInfo(secret, ephemeral.public_key.format())

    def _ratchet(self, prekey: bytes, installation: str, info: RatchetInfo) -> Ratchet:
        """Made when it is first needed, and found without asking whose it is."""
        found = self.ratchets.get((prekey, installation))
        if found is None:
            own = self.prekeys[prekey].private
            found = answer(info.secret, own) if own is not None else begin(info.secret, prekey, self._new_key)
            self.ratchets[prekey, installation] = found
        return found

    def _encrypt_with_dh(self, to: bytes, payload: bytes) -> bytes:
        ephemeral = self._new_key()
        nonce = self.rng(12)
        sealed = AESGCM(agree(ephemeral, to)).encrypt(nonce, payload, None) + nonce
        return write((3, sealed), (101, write((1, ephemeral.public_key.format()))))

    # --- receiving ---------------------------------------------------------------------------------------------------

    def deliver(self, sender: bytes, message: bytes) -> tuple[bytes, ...]:
        """The application messages in it: taken out of data sync if it was wrapped so. None: our own, come back."""
        payload = self.handle(sender, message)
        return () if payload is None else status_go_messages.unwrap(payload)

    def handle(self, sender: bytes, message: bytes) -> bytes | None:
        """The payload; None: our own message, come back. StatusGoError for all else."""
        try:
            return self._handle(sender, read(message))
        except (NotProtobuf, UnicodeDecodeError):
            raise StatusGoError("the message does not parse") from None

    def _handle(self, sender: bytes, fields: dict[int, list[bytes]]) -> bytes | None:
        installation = last(fields, 2).decode()
        for bundle in fields.get(3, []):
            self.process_bundle(bundle)
        public = last(fields, 102)
        if public:
            return bytes(public)
        entries = map_of(fields.get(101, []))
        if not entries:
            raise StatusGoError("no payload")
        entry = entries.get(self.installation, entries.get("none"))
        if entry is None:
            if sender != self.identity:
                raise StatusGoError("device not found")
            if installation != self.installation:
                raise StatusGoError("received a message from not paired device")
            return None
        return self._decrypt(sender, installation, read(entry))

    def _decrypt(self, sender: bytes, installation: str, entry: dict[int, list[bytes]]) -> bytes:
        sealed = last(entry, 3)
        if 1 in entry:
            opening = read(last(entry, 1))
            self._answer(sender, installation, last(opening, 1), last(opening, 4))
        if 2 in entry:
            ratchet = read(last(entry, 2))
            prekey = last(ratchet, 4)
            info = self.infos.get((sender, installation, prekey))
            if info is None:
                raise StatusGoError("session not found")
            info.ephemeral = b""
            header = Header(last(ratchet, 1), last(ratchet, 2, 0), last(ratchet, 3, 0))
            return self._ratchet(prekey, installation, info).open(header, sealed, self.kept, self._new_key)
        if 101 in entry:
            key = agree(self.secret, last(read(last(entry, 101)), 1))
            try:
                return AESGCM(key).decrypt(sealed[-12:], sealed[:-12], None)
            except (InvalidTag, ValueError):
                raise StatusGoError("can't decrypt") from None
        raise StatusGoError("no key specified")

    def _answer(self, sender: bytes, installation: str, ephemeral: bytes, prekey: bytes) -> None:
        row = self.prekeys.get(prekey)
        if row is None or row.private is None:
            raise StatusGoError("session not found")
        secret = keccak256(agree(row.private, sender) + agree(self.secret, ephemeral) + agree(row.private, ephemeral))
        self.infos.pop((sender, installation, prekey), None)  # it is replaced, and so becomes the youngest
        self.infos[sender, installation, prekey] = RatchetInfo(secret, b"")


def _material(listed: dict[str, tuple[bytes, int, int]], timestamp: int) -> bytes:
    parts = [name.encode() + key + str(version).encode() for name, (key, version, _) in listed.items()]
    return b"".join(sorted(parts)) + (str(timestamp).encode() if timestamp else b"")
