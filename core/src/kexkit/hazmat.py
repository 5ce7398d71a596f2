"""Labelled doors. What is here has sharp edges: no envelope, no chat, no storage, no retry.

`SecurityLayer` is Status's encryption layer alone, ProtocolMessages in and out, over rows in memory. It is what one
wants in front of another implementation of the same layer, and for replaying its recordings; it is not what one wants
in an application, because nothing in it survives the process, and nothing falls due by itself: rows that a node would
delete in time (keys of texts that never came, sessions that were displaced) stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kexkit import _records as records
from kexkit._engine.engine import Engine
from kexkit._engine.frames import Postponed, Sealed
from kexkit._engine.noting import note_bundles
from kexkit._engine.offering import renew
from kexkit._engine.opening import open_frame
from kexkit._engine.peers import device_of, load_person, save_person
from kexkit._engine.receiving import frames_for
from kexkit._engine.requests import Draft, Flow, Moment, Outcome
from kexkit._engine.sealing import seal_for, seal_unknown
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import message_around
from kexkit._shell.direct import DirectShell
from kexkit._wire.protocol_message import encode, parse
from kexkit.api import Context, Device, Guarantee, Identity, KeyExchange, Plain, Unpicklable
from kexkit.errors import Malformed, NoCommonMechanism, NotForThisDevice
from kexkit.policy import Policy


class SecurityLayer(Unpicklable):
    """One installation's encryption layer. `clock` gives milliseconds."""

    def __init__(
        self,
        identity: Identity,
        installation: str,
        exchanges: Sequence[KeyExchange],
        *,
        clock: Callable[[], int],
        rng: Callable[[int], bytes],
        policy: Policy | None = None,
    ) -> None:
        me = Device(identity.public, installation)
        self.engine = Engine(
            Setting(me, tuple(exchanges), policy if policy is not None else Policy(), negotiates=False)
        )
        self.shell = DirectShell(self.engine.restore)
        self._clock = clock
        self._rng = rng
        self._identity = identity

    def bundle(self) -> bytes:
        """Our present Status bundle, renewed if it is due."""
        self.shell.perform(self._renew())
        message = self.shell.ask(message_around(Draft(), (), self.engine.setting))
        if not message.bundles:
            raise NoCommonMechanism("No key exchange here has a Status bundle.")
        return message.bundles[0]

    def process_bundle(self, maker: bytes, bundle: bytes) -> None:
        """Take in what `maker` publishes, or raise Refusal."""
        self.shell.perform(self._note(maker, bundle))

    def enable(self, installation: str) -> None:
        """Pair another installation of our own, whose bundle has been seen."""
        self.shell.perform(self._enable(installation))

    def seal(self, to: bytes, payload: bytes) -> bytes:
        """A ProtocolMessage for all active devices of one person, as the policy allows."""
        self.shell.perform(self._renew())
        sealed = self.shell.perform(self._seal(to, payload, fallback=False)).result
        assert isinstance(sealed, bytes)
        return sealed

    def seal_fallback(self, to: bytes, payload: bytes) -> bytes:
        """A ProtocolMessage for whichever device, protected by identity keys alone."""
        self.shell.perform(self._renew())
        sealed = self.shell.perform(self._seal(to, payload, fallback=True)).result
        assert isinstance(sealed, bytes)
        return sealed

    def seal_public(self, payload: bytes) -> bytes:
        """A ProtocolMessage that anybody may read, with our bundle."""
        self.shell.perform(self._renew())
        return encode(self.shell.ask(message_around(Draft(), (), self.engine.setting, public=payload)))

    def open(self, sender: bytes, message: bytes) -> tuple[Plain, ...] | None:
        """What a ProtocolMessage of `sender` holds for us, or Refusal, and then nothing has changed.

        None: it is our own, come back.
        """
        opened: tuple[Plain, ...] | None = self.shell.perform(self._open(sender, message)).result  # type: ignore[assignment]  # the flow's own result
        return opened

    def restart(self) -> None:
        """As after a restart of a process whose rows are in a store: every session is restored from its row."""
        self.shell.forget_sessions()

    # --- flows -------------------------------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        context = Context(self.engine.setting.me, self._clock(), self._rng, self._identity)
        return Moment(context, lambda: context.now * 1_000_000)

    def _renew(self) -> Flow[Outcome]:
        draft = Draft()
        yield from renew(draft, self.engine.setting, self._moment())
        return draft.outcome()

    def _note(self, maker: bytes, bundle: bytes) -> Flow[Outcome]:
        draft = Draft()
        person = yield from load_person(draft, maker)
        note_bundles(draft, person, (bundle,), Device(maker, ""), self.engine.setting, self._moment())
        save_person(draft, person)
        return draft.outcome()

    def _enable(self, installation: str) -> Flow[Outcome]:
        draft = Draft()
        ourselves = yield from load_person(draft, self.engine.setting.me.identity)
        device = device_of(ourselves, installation)
        if device is None:
            raise NotForThisDevice("That installation of ours is not known.")
        device.enabled = True
        ourselves.changed = True
        save_person(draft, ourselves)
        own = [exchange.name for exchange in self.engine.setting.exchanges]
        for key in [records.own_key(name) for name in own]:  # our bundle lists it from now on
            draft.remove(key)
        return draft.outcome()

    def _seal(self, to: bytes, payload: bytes, *, fallback: bool) -> Flow[Outcome]:
        draft, moment, setting = Draft(), self._moment(), self.engine.setting
        person = yield from load_person(draft, to)
        parts: list[Sealed | Postponed] = []
        if not fallback:
            parts = yield from seal_for(draft, person, payload, setting, moment)
        if not parts:
            parts = [(yield from seal_unknown(draft, person, payload, setting, moment))]
        sealed = [part for part in parts if isinstance(part, Sealed)]
        if not sealed:
            reasons = {part.reason for part in parts if isinstance(part, Postponed)}
            raise NoCommonMechanism("; ".join(sorted(reasons)))
        save_person(draft, person)
        message = yield from message_around(draft, sealed, setting)
        return draft.outcome(encode(message))

    def _open(self, sender: bytes, message: bytes) -> Flow[Outcome]:
        draft, moment, setting = Draft(), self._moment(), self.engine.setting
        parsed = parse(message)
        device = Device(sender, parsed.installation)
        if device == setting.me:
            return draft.outcome(None)
        person = yield from load_person(draft, sender)
        note_bundles(draft, person, parsed.bundles, device, setting, moment)
        save_person(draft, person)
        if parsed.public is not None:
            return draft.outcome((Plain(parsed.public, Guarantee.NONE),))
        if not parsed.slots and not parsed.frames:
            raise Malformed("A ProtocolMessage holds nothing.")
        mine = frames_for(parsed, setting)
        if not mine:
            raise NotForThisDevice("A message is for other devices.")
        plains: list[Plain] = []
        for exchange, frame, _ in mine:
            came = yield from open_frame(draft, person, device, exchange, frame, setting, moment)
            plains += came.texts
        save_person(draft, person)
        return draft.outcome(tuple(plains))
