"""The demo's story, told to a person; and the silence for programs."""

from __future__ import annotations

import textwrap

from kexkit import Guarantee, SessionOpened, TextReceived

from kexkit_cli.console import Console
from kexkit_cli.demo.peer import Peer, Place
from kexkit_cli.demo.play import Choice, Report
from kexkit_cli.negotiating import in_words
from kexkit_cli.people import short
from kexkit_cli.safe_text import safe

SHOWN = 8
"""texts of a scene that are shown; the others are counted"""
WIDTH = 88
NO_FORWARD_SECRECY = (
    "Whoever steals what either of them stores for the session can read all of it. The policy of this demo allows "
    "that, since you asked for it; the default policy does not."
)


class Silence:
    """For programs."""

    def scene(self, title: str) -> None:
        return None

    def people(self, alice: Peer, bob: Peer, place: Place) -> None:
        return None

    def negotiated(self, alice: Peer, code: str, bobs: tuple[str, ...], choice: Choice) -> None:
        return None

    def begun(self, alice: Peer) -> None:
        return None

    def confirmed(self, peer: Peer, event: SessionOpened) -> None:
        return None

    def came(self, peer: Peer, event: TextReceived) -> None:
        return None

    def kept(self, stored: int, sent: int) -> None:
        return None


class Told:
    """For people."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.scenes = 0
        self.shown = 0

    def scene(self, title: str) -> None:
        self._finish()
        self.scenes += 1
        self.shown = 0
        number = self.console.styled(f"{self.scenes}", "dim")
        self.console.raw(f"\n{number}  {self.console.styled(title, 'bold')}\n")

    def _finish(self) -> None:
        if self.shown > SHOWN:
            self.console.raw(f"   {self.console.styled(f'… and {self.shown - SHOWN} more', 'dim')}\n")

    def fact(self, head: str, content: str) -> None:
        lines = textwrap.wrap(safe(content), WIDTH - 17, break_on_hyphens=False) or [""]
        self.console.raw(f"   {self.console.styled(f'{head:13}', 'dim')} {lines[0]}\n")
        for line in lines[1:]:
            self.console.raw(f"{'':17}{line}\n")

    def people(self, alice: Peer, bob: Peer, place: Place) -> None:
        self.scene("Two people who have never heard of each other")
        for peer in (alice, bob):
            self.fact(peer.name, f"{short(peer.identity)}…  a fresh profile, kept in {place.store}")
        url = place.transport_settings.get("url", "")
        self.fact(place.transport, f"{url}  stores and forwards sealed envelopes".strip())

    def negotiated(self, alice: Peer, code: str, bobs: tuple[str, ...], choice: Choice) -> None:
        self.scene("Bob hands Alice his contact code, and that is all they share")
        self.fact("the code", f"{code[:32]}…  ({len(code)} characters)")
        self.fact("Bob offers", f"{', '.join(bobs)}   (best first, signed)")
        self.fact("Alice offers", ", ".join(alice.terms.offered))
        self.fact("both choose", choice.name or "nothing")
        self.fact("why", choice.why)
        for exchange in alice.terms.exchanges:
            if exchange.name == choice.name and Guarantee.FORWARD_SECRECY not in exchange.guarantees:
                self.fact("beware", f"{exchange.name} gives NO forward secrecy. {NO_FORWARD_SECRECY}")

    def begun(self, alice: Peer) -> None:
        self.fact("begun", f"by {alice.name}, and not confirmed yet")

    def confirmed(self, peer: Peer, event: SessionOpened) -> None:
        """Whoever began it knows last: the other's answer says so."""
        head = f"session {short(event.session_id)}…"
        if not event.ours:
            said = f"{head}: the choice, made again at this end, is {event.mechanism} too; the answer says so"
            self.fact(f"{peer.name} agrees", said)
            return
        self.fact(f"{peer.name} knows", f"{head}: both ends have confirmed {event.mechanism}")
        self.fact("it gives", in_words(event.guarantees))

    def came(self, peer: Peer, event: TextReceived) -> None:
        """Told where it arrives."""
        self.shown += 1
        if self.shown > SHOWN:
            return
        author = "Alice" if peer.name == "Bob" else "Bob"
        arrow = "→" if self.console.unicode else "->"
        head = self.console.styled(f"{author:>5} {arrow} {peer.name:5}", "cyan" if author == "Alice" else "green")
        self.console.raw(f"   {head}   {safe(event.text)}\n")

    def kept(self, stored: int, sent: int) -> None:
        self.fact("sealed", f"{sent} texts, of which the network keeps {stored} for Bob")

    def end(self, report: Report) -> None:
        self._finish()
        self.console.raw("\n")
        confirmed = ", confirmed by both" if report.confirmed else ", NOT confirmed by both"
        counts = f"{report.sent} sent, {report.delivered} delivered, {report.lost} lost, {report.duplicated} duplicated"
        over = f"over {report.mechanism}{confirmed}"
        self.console.say(f"{counts}, in {report.seconds:.1f} s {over}.", "bold", *_colour(report))
        weak = report.delivered - report.forward_secret
        if weak:
            said = "came before the session had forward secrecy" if report.forward_secret else "had no forward secrecy"
            self.console.say(f"{weak} of them {said}: a later theft of keys could open those.", "dim")
        self.console.say("Now for yourself: kexkit init", "dim")


def _colour(report: Report) -> tuple[str, ...]:
    return ("green",) if report.good else ("red",)
