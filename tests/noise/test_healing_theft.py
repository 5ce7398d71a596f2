"""What a stolen state opens is exactly what the table says: neither more, nor less, at any step, at either end."""

from __future__ import annotations

import random

import pytest
from attrs import define, evolve, field
from kexkit.api import Row
from kexkit.errors import KexkitError, NotMine, Replayed
from kexkit_noise import healing, healing_skipped
from kexkit_noise.healing import HealingSession
from kexkit_noise.healing_state import Listening, Speaking
from kexkit_noise.keys import key_pair

from tests.noise.healing_support import Couple, End, begun, couple, met, split_of, stream
from tests.noise.healing_thief import INITIATOR, RESPONDER, Place, Thief, View, views

STEPS = 36


@define
class Theft:
    view: View
    snapshot: bytes
    drawer: dict[bytes, Row]


@define
class Sent:
    place: Place
    pn: int
    text: bytes
    frame: bytes


@define
class Conversation:
    """A random one, with what is lost, late and played again; the count of chains runs beside."""

    pair: Couple
    views: dict[str, View] = field(factory=views)
    sent: list[Sent] = field(factory=list)
    flying: list[Sent] = field(factory=list)
    thefts: list[Theft] = field(factory=list)

    def end(self, name: str) -> End:
        return self.pair.initiator if name == INITIATOR else self.pair.responder

    def step(self, chance: random.Random) -> None:
        if not self.flying or chance.random() < 0.55:
            sent = self.seal(chance.choice((INITIATOR, RESPONDER)))
            if chance.random() < 0.8:
                self.flying.append(sent)
        else:
            sent = self.flying[chance.randrange(len(self.flying))]
            if chance.random() < 0.8:
                self.flying.remove(sent)  # else it comes again
            self.deliver(sent)

    def seal(self, name: str) -> Sent:
        text = f"text {len(self.sent)}".encode()
        place, pn = self.views[name].seal()
        sent = Sent(place, pn, text, self.end(name).seal(text))
        self.sent.append(sent)
        return sent

    def deliver(self, sent: Sent) -> None:
        view = self.views[RESPONDER if sent.place[0] == INITIATOR else INITIATOR]
        if view.take(sent.place, sent.pn):
            assert self.end(view.name).open(sent.frame) == sent.text
        else:
            assert self.end(view.name).refuses(sent.frame) in (NotMine, Replayed)

    def rob(self) -> None:
        for name, view in self.views.items():
            end = self.end(name)
            self.thefts.append(Theft(view.copy(), end.value.snapshot(), dict(end.drawer)))

    def compare(self) -> int:
        """Of every theft: what the thief opens with what the table says. How many texts were opened at all."""
        frames = {sent.frame[:16]: sent.frame for sent in self.sent}
        count = 0
        for theft in self.thefts:
            thief = Thief(frames)
            thief.steal(theft.snapshot, theft.drawer)
            opened = thief.work()
            expected = {sent.frame[:16]: sent.text for sent in self.sent if theft.view.stolen(sent.place)}
            assert opened == expected, f"{len(opened)} texts opened, {len(expected)} in the table"
            count += len(opened)
        return count


@define
class Ending(Conversation):
    """One of them says goodbye in the midst of it; the other answers with its own when that is read."""

    gone: set[str] = field(factory=set)

    def seal(self, name: str) -> Sent:
        if self.views[name].over or name in self.gone:
            return self.sent[-1]  # it seals no more
        return super().seal(name)

    def say_goodbye(self, name: str) -> None:
        end, view = self.end(name), self.views[name]
        place, pn = view.seal()
        said = end.value.farewell(end.rng)
        assert said is not None
        end.value, frame = HealingSession.restore(said[0].snapshot()), said[1]
        view.over = True
        self.sent.append(Sent(place, pn, end.value.marker, frame))
        self.flying.append(self.sent[-1])

    def deliver(self, sent: Sent) -> None:
        view = self.views[RESPONDER if sent.place[0] == INITIATOR else INITIATOR]
        if view.name in self.gone:
            return
        end = self.end(view.name)
        news = evolve(view).take(sent.place, sent.pn)
        super().deliver(sent)
        if news and sent.text == end.value.marker:
            if not view.over:
                self.say_goodbye(view.name)
            view.parted = True
        if view.parted:
            left = end.value.parted()
            assert (left is None) == (not view.missing)
            if left is None:
                self.gone.add(view.name)
            else:
                end.value = left
        elif view.over:
            end.value = end.value.silenced()

    def rob(self) -> None:
        """What is gone is stolen by nobody."""
        for name, view in self.views.items():
            if name not in self.gone:
                end = self.end(name)
                self.thefts.append(Theft(view.copy(), end.value.snapshot(), dict(end.drawer)))


def ended(seed: int) -> Ending:
    chance, talk = random.Random(f"ended {seed}"), Ending(couple(seed, stores=seed % 2 == 0))
    for step in range(STEPS):
        talk.step(chance)
        if step == STEPS // 2:
            ends = chance.sample((INITIATOR, RESPONDER), 1 + (seed % 4 == 0))  # or both at once
            for name in ends:
                talk.say_goodbye(name)
        talk.rob()
    return talk


@pytest.mark.parametrize("seed", range(20))
def test_a_session_that_was_ended_opens_to_a_thief_what_is_under_way_and_nothing_else(seed: int) -> None:
    assert ended(seed).compare() > 0


def talked(seed: int) -> Conversation:
    """Every other one without a restart between any two steps."""
    chance, talk = random.Random(seed), Conversation(couple(seed, stores=seed % 2 == 0))
    talk.rob()
    for _ in range(STEPS):
        talk.step(chance)
        talk.rob()
    return talk


@pytest.mark.parametrize("seed", range(20))
def test_a_stolen_state_opens_what_the_table_says_and_nothing_else(seed: int) -> None:
    assert talked(seed).compare() > 0


def caught(seeds: int = 6) -> bool:
    """Does the table notice?"""
    for seed in range(seeds):
        try:
            talked(seed).compare()
        except (AssertionError, KexkitError):
            return True
    return False


def test_the_table_notices_a_ratchet_key_that_is_made_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    turned, draw = HealingSession._open_turned, stream("early")

    def early(self: HealingSession, *given: object) -> object:
        opened = turned(self, *given)  # type: ignore[arg-type]  # handed on as it came
        if isinstance(opened, healing.Opened):
            ratchet = opened.successor.ratchet
            assert isinstance(ratchet.sending, Listening)
            root, sending, following = healing._turn(ratchet, ratchet.sending, draw)
            ratchet.root, ratchet.sending, ratchet.next_sending = root, sending, following  # type: ignore[misc]
        return opened

    monkeypatch.setattr(HealingSession, "_open_turned", early)
    assert caught()


def test_the_table_notices_a_chain_and_key_of_our_own_that_outlive_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = HealingSession._open_turned

    def hoarding(self: HealingSession, parts: object, turn: Speaking, *given: object) -> object:
        opened = turned(self, parts, turn, *given)  # type: ignore[arg-type]  # handed on as it came
        if isinstance(opened, healing.Opened):
            opened.successor.ratchet.sending = turn  # type: ignore[misc]  # slots are open at run time
        return opened

    monkeypatch.setattr(HealingSession, "_open_turned", hoarding)
    assert caught()


def test_the_table_notices_our_last_key_used_for_the_next_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(healing, "key_pair", lambda private: key_pair(bytes(range(1, 33))))
    assert caught()


def test_the_table_notices_a_kept_key_that_outlives_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    use = healing_skipped.use

    def hoarding(session: bytes, kept: healing_skipped.Kept, tag: bytes) -> healing_skipped.Filed:
        return healing_skipped.Filed(use(session, kept, tag).kept)

    monkeypatch.setattr(healing_skipped, "use", hoarding)
    assert caught()


def test_the_table_notices_the_key_of_an_opened_message_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = HealingSession._open_ahead

    def hoarding(self: HealingSession, parts: object, receiving: object, *given: object) -> object:
        opened = ahead(self, parts, receiving, *given)  # type: ignore[arg-type]  # handed on as it came
        if isinstance(opened, healing.Opened):
            after = opened.successor.ratchet.receiving
            assert after is not None
            after.chain = self.ratchet.receiving.chain  # type: ignore[misc, union-attr]
            after.n = self.ratchet.receiving.n  # type: ignore[misc, union-attr]
        return opened

    monkeypatch.setattr(HealingSession, "_open_ahead", hoarding)
    assert caught()


def test_what_a_turn_ends_is_in_no_snapshot_after_it() -> None:
    pair = met()
    before = pair.initiator.value.ratchet.sending
    assert isinstance(before, Speaking)
    pair.initiator.open(pair.responder.seal(b"an answer"))
    stored = pair.initiator.value.snapshot()
    for gone in (before.secret, before.public, before.chain, before.header.key):
        assert gone not in stored


def test_the_responder_keeps_no_key_of_the_handshake() -> None:
    ours, theirs = key_pair(stream("r")(32)), key_pair(stream("s")(32))
    stored = begun(split_of("r"), ours, theirs.public, initiator=False).snapshot()
    assert theirs.public in stored
    for gone in (ours.private, ours.public, split_of("r").k1, split_of("r").k2):
        assert gone not in stored


def test_a_thief_of_both_states_before_a_full_turn_opens_nothing_after_it() -> None:
    pair = met("healed")
    stolen = [(end.value.snapshot(), dict(end.drawer)) for end in pair.ends]
    frames = {}
    for sender in (pair.responder, pair.initiator, pair.responder, pair.initiator):
        frame = sender.seal(b"after")
        frames[frame[:16]] = frame
        pair.other(sender).open(frame)
    places = list(frames)
    for snapshot, drawer in stolen:
        thief = Thief(frames)
        thief.steal(snapshot, drawer)
        assert set(thief.work()) <= set(places[:1])
