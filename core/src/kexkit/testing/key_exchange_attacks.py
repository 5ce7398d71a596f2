"""The part of `KeyExchangeKit` in which the network, a stranger or the peer's other device does wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kexkit.api import Answer, Carriage, Close, Device, Guarantee, Offer, Step
from kexkit.errors import Refusal
from kexkit.testing.key_exchange_case import (
    AGES,
    DAY,
    KeyExchangeCase,
    altered,
    any_bytes,
    attempt,
    force,
    resized,
    talk,
    texts,
)
from kexkit.testing.key_exchange_party import Party, Sent, bind_of
from kexkit.testing.key_exchange_rules import ask, demand, typed_errors_only
from kexkit.testing.pair import Pair

MARK = b"a text that only its reader should ever see, whoever else looks for it"


class Refuses(KeyExchangeCase):
    def test_an_altered_frame_is_refused_and_the_genuine_one_still_opens(self) -> None:
        self._attack_every_frame(altered)

    def test_a_cut_or_lengthened_frame_is_refused_and_the_genuine_one_still_opens(self) -> None:
        self._attack_every_frame(resized)

    def _attack_every_frame(self, variants: Callable[[bytes], Iterator[bytes]]) -> None:
        """Through an opening, a first answer and settled talk: each frame first comes in all its variants."""
        pair = self.pair()
        wire = list(pair.alice.initiate(pair.bob.me).sent)
        todo = [(pair.alice, MARK), (pair.bob, b""), (pair.alice, b"again"), (pair.bob, MARK)]
        for _ in range(32):
            if not wire:
                if not todo:
                    return
                sender, text = todo[0]
                if not sender.can_seal(pair.other(sender).me):
                    wire += pair.advance(pair.next_due() - pair.clock.now)
                    continue
                todo.pop(0)
                wire += sender.seal(text, pair.other(sender).me)
            sent = wire.pop(0)
            self._attack(pair, sent, variants)
            wire += pair.deliver(sent).sent
            wire += pair.answers(pair.log[-1].reader, pair.log[-1].took)

    def _attack(self, pair: Pair, sent: Sent, variants: Callable[[bytes], Iterator[bytes]]) -> None:
        reader = pair.reader_of(sent)
        genuine = reader.copy().receive(sent).texts
        victim = reader.copy()
        for frame in variants(sent.frame):
            if frame == sent.frame:
                continue
            took = attempt(victim, sent.altered(frame))  # that a refusal changes nothing is checked in there
            if took is None:
                continue
            if took.plain:
                demand(self.frames_may_differ, "an altered frame opened")
                demand(took.texts == genuine, "an altered frame opened to another text")
            else:
                peer = victim.sessions[took.session].peer if took.session in victim.sessions else None
                fresh = took.session not in reader.sessions
                demand(fresh, "an altered frame moved a session that was there")
                demand(peer is None, "an altered opening made a session with a proven peer")
            victim = reader.copy()

    def test_any_bytes_are_refused_and_nothing_else_happens(self) -> None:
        pair = self.pair()
        took = pair.alice.initiate(pair.bob.me)
        begins = [sent.frame for sent in took.sent]
        pair.settle(took.sent)
        pair.meet()
        begins += [delivered.sent.frame for delivered in pair.log]
        bob, before = pair.bob, pair.bob.state()
        session, opening = bob.session_with(pair.alice.me), bob.opening(pair.alice.me, bob.issued[0].bind)
        if bob.exchange.carriage is Carriage.BARE:
            opening = bob.opening(None, bob.issued[0].bind)
        genuine = set(begins)
        for noise in any_bytes(self.random_inputs // 2, beginnings=begins):
            if noise in genuine:
                continue
            step = _refused(bob, lambda have, noise=noise: session.receive(noise, have, ctx=bob.context))
            demand(step is None, "random bytes moved a session")
            step = _refused(bob, lambda have, noise=noise: bob.exchange.accept(noise, opening, have, ctx=bob.context))
            if step is not None:
                demand(not step.plain, "random bytes opened a text")
                unproven = step.session is None or step.session.peer is None
                demand(unproven, "random bytes opened a session with a proven peer")
        demand(bob.state() == before, "refused bytes changed something")
        for noise in any_bytes(self.random_inputs // 4, beginnings=[pair.bob.issued[0].offer.public]):
            try:
                bob.read_offer(noise, pair.alice.me)
            except Refusal:
                continue

    def test_a_frame_opens_at_most_once(self) -> None:
        pair = self.pair()
        pair.meet()
        talk(pair, turns=2)
        for sender in (pair.alice, pair.bob):
            burst = [sender.seal(text, pair.other(sender).me) for text in texts(5, "burst")]
            pair.settle(*(burst[::-1] if self.declares(Guarantee.OUT_OF_ORDER) else burst))
        for delivered in list(pair.log):
            if not delivered.took.plain:
                continue
            for reader in (delivered.reader, delivered.reader.copy()):
                took = attempt(reader, delivered.sent)
                demand(took is None or not took.plain, "a frame opened a second time")
        pair.say(pair.alice, b"after all those repetitions")
        pair.say(pair.bob, b"it still works")

    def test_a_first_flight_opens_once_even_when_its_session_is_over_if_it_says_so(self) -> None:
        pair = self.pair()
        pair.meet()
        if not self.declares(Guarantee.REPLAY_SAFE):
            return
        bob = pair.bob
        bob.cue(bob.session_with(pair.alice.me).id, Close())
        began = pair.clock.now
        genuine = [delivered.sent for delivered in pair.log if delivered.reader is bob]
        ends = {row.until for row in bob.drawer.values() if row.until is not None}
        for moment in (pair.clock.now, *sorted(ends), pair.clock.now + AGES):
            pair.advance(moment - pair.clock.now)  # whatever was kept against repetitions is gone at one of these
            for sent in genuine:
                took = attempt(bob, sent)
                demand(
                    took is None or not took.plain,
                    "a repeated first flight opened again after its session was over, "
                    f"{(pair.clock.now - began) // DAY} days after it began",
                )

    def test_a_frame_returned_to_its_sender_does_not_open(self) -> None:
        pair = self.pair()
        pair.meet()
        for sender in (pair.alice, pair.bob):
            for sent in sender.seal(MARK, pair.other(sender).me):
                mirrored = Sent(pair.other(sender).me, sender.me, sent.frame, sent.topic)
                took = force(sender.copy(), mirrored, sender.issued[0].bind)
                demand(took is None or not took.plain, "a device opened its own frame, sent back to it")

    def test_a_frame_does_not_open_in_another_session(self) -> None:
        """Nor with the head of that session's frames before it."""
        pair = self.pair()
        pair.meet()
        talk(pair, turns=3)
        first = pair.bob.session_with(pair.alice.me).id
        pair.meet()
        second = pair.bob.session_with(pair.alice.me).id
        frames: dict[bytes, list[Sent]] = {first: [], second: []}
        for delivered in pair.log:
            if delivered.reader is pair.bob and delivered.took.plain and delivered.took.session is not None:
                frames[delivered.took.session].append(delivered.sent)
        for sent in frames[first]:
            head = frames[second][-1].frame
            for size in range(min(len(head), 128)):
                took = attempt(pair.bob.copy(), sent.altered(head[:size] + sent.frame[size:]))
                demand(took is None or not took.plain, "a frame of one session opened in another")

    def test_the_binding_is_in_the_transcript_if_it_says_so(self) -> None:
        if not self.declares(Guarantee.BINDS):
            return
        pair = self.pair()
        right = bind_of(pair.alice.exchange, pair.alice.adverts[pair.bob.me])
        for place in (0, len(right) - 1):
            wrong = bytearray(right)
            wrong[place] ^= 1
            pair = self.pair()
            try:
                opened = pair.settle(pair.alice.initiate(pair.bob.me, bind=bytes(wrong)).sent)
                if pair.alice.can_seal(pair.bob.me):
                    opened += pair.settle(pair.alice.seal(MARK, pair.bob.me))
            except Refusal:
                continue
            demand(not opened, "Opening.bind differs on the two sides, and a text opened")
            demand(not pair.alice.can_seal(pair.bob.me), "Opening.bind differs on the two sides, and nobody noticed")


class Impersonations(KeyExchangeCase):
    """Carol runs the same program with her own identity key and drawer, in the name of another."""

    def test_a_stranger_cannot_make_a_frame_that_opens_as_the_peers(self) -> None:
        if not self.declares(Guarantee.FROM_PEER):
            return
        for settled in (False, True):
            for name in ("carol", "alice"):  # with her own name inside, and with Alice's
                pair = self.pair()
                if settled:
                    pair.meet()
                self._pose_as_initiator(pair, pair.carol.copy(seed="poses", me=getattr(pair, name).me))

    def _pose_as_initiator(self, pair: Pair, mallory: Party) -> None:
        alice, bob = pair.alice.me, pair.bob
        try:
            wire = list(mallory.initiate(bob.me).sent)
            if mallory.can_seal(bob.me):
                wire += mallory.seal(MARK, bob.me)
        except Refusal:
            return
        sealed = mallory.can_seal(bob.me)
        for _ in range(16):
            if not wire:
                if sealed or not mallory.can_seal(bob.me):
                    return
                sealed = True
                wire += mallory.seal(MARK, bob.me)
            sent = wire.pop(0)
            took = attempt(bob, Sent(alice, sent.to, sent.frame, sent.topic))
            if took is None:
                continue
            for plain in took.plain:
                believed = bob.sessions[took.session].peer if took.session in bob.sessions else alice
                demand(
                    Guarantee.FROM_PEER not in plain.grade or believed != alice,
                    "it declares FROM_PEER, and a text sealed by a stranger opened as the peer's",
                )
            for answer in took.sent:
                wire += self._reaction(mallory, answer, b"")

    def test_only_the_peer_can_open_what_is_sealed_to_them(self) -> None:
        """Actively, with Carol in Bob's place from the first flight on."""
        if not self.declares(Guarantee.TO_PEER):
            return
        pair = self.pair()
        mallory = pair.carol.copy(seed="poses", me=pair.bob.me)
        bind = bind_of(pair.alice.exchange, pair.alice.adverts[pair.bob.me])
        wire, left = list(pair.alice.initiate(pair.bob.me).sent), 3
        for _ in range(16):
            if not wire:
                if not left or not pair.alice.can_seal(pair.bob.me):
                    return
                left -= 1
                grade = pair.alice.session_with(pair.bob.me).grade or Guarantee.NONE
                promised = Guarantee.SECRET | Guarantee.TO_PEER in grade
                for sent in pair.alice.seal(MARK, pair.bob.me):
                    took = force(mallory, sent, bind)
                    opened = promised and took is not None and bool(took.plain)
                    demand(not opened, "it declares TO_PEER, and a stranger in the peer's place opened it")
                    wire += took.sent if took else ()
                continue
            for answer in self._reaction(mallory, wire.pop(0), bind):
                reaction = attempt(pair.alice, Sent(pair.bob.me, pair.alice.me, answer.frame, answer.topic))
                wire += reaction.sent if reaction else ()

    def _reaction(self, mallory: Party, sent: Sent, bind: bytes) -> list[Sent]:
        """What a stranger's program sends back; to its questions she says what it wants to hear."""
        took = force(mallory, sent, bind)
        answers = list(took.sent) if took else []
        for question in took.asks if took else ():
            answers += mallory.cue(took.session or b"", Answer(self.answer(question))).sent if took else ()
        return answers

    def test_a_stranger_who_sees_everything_opens_nothing(self) -> None:
        if not self.declares(Guarantee.SECRET):
            return
        pair = self.pair()
        pair.meet()
        for sender in (pair.alice, pair.bob):
            pair.say(sender, MARK)
        for victim in (pair.alice, pair.bob):
            self._eavesdrop(pair, victim, pair.carol.copy(seed="listens", me=victim.me))

    def test_the_peers_other_device_opens_nothing(self) -> None:
        """It has the same identity key and configuration, and neither the sessions nor the drawer."""
        if not self.declares(Guarantee.SECRET):
            return
        pair = self.pair()
        laptop = pair.bob.copy(seed="laptop", me=Device(pair.bob.me.identity, "1a9709ff-0000-4000-8000-000000000004"))
        laptop.drawer.clear()
        laptop.issued.clear()
        laptop.make_offer()
        pair.meet()
        pair.say(pair.alice, MARK)
        self._eavesdrop(pair, pair.bob, laptop)

    def _eavesdrop(self, pair: Pair, victim: Party, listener: Party) -> None:
        binds = [issued.bind for party in (victim, listener) for issued in party.issued]
        for delivered in pair.log:
            demand(
                MARK not in delivered.sent.frame or not delivered.took.plain,
                "it declares SECRET, and the text stands in its frame",
            )
            if delivered.reader is not victim:
                continue
            for bind in binds:
                took = force(listener, delivered.sent, bind)
                promised = any(Guarantee.SECRET in plain.grade for plain in delivered.took.plain)
                opened = took is not None and bool(took.plain)
                demand(
                    not (opened and promised), "it declares SECRET, and somebody else than the peer's device opened it"
                )


def _refused(party: Party, call: Callable[..., object]) -> Step | None:
    """The step that these bytes led to, if they led to one."""
    try:
        step = typed_errors_only(lambda: ask(call, party.look_up, party.draws))
    except Refusal:
        return None
    demand(isinstance(step, Step) and not isinstance(step, Offer), "neither Step nor Refusal")
    assert isinstance(step, Step)
    return step
