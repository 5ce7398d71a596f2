"""python -m tests.vectors.generate_healing_noise writes the vectors of healing Noise (data/healing-noise/ORIGIN.md)."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from tests.vectors import healing_noise_reference as reference

FOLDER: Final = Path(__file__).parent / "data" / "healing-noise"
MESSAGES: Final = 60
ROLES: Final = ("initiator", "responder")


@define
class Script:
    """A conversation of two references, written down."""

    name: str
    ends: dict[str, reference.End] = field(factory=dict)
    steps: list[dict[str, Any]] = field(factory=list)
    sent: list[tuple[str, bytes, bytes]] = field(factory=list)

    def draw(self, what: str, size: int = 32) -> bytes:
        return sha256(f"kexkit healing noise vectors, {self.name}: {what}".encode()).digest()[:size]

    def begin(self) -> dict[str, Any]:
        k1, k2, h = self.draw("k1"), self.draw("k2"), self.draw("h")
        privates = {role: self.draw(f"r of the {role}") for role in ROLES}
        publics = {role: reference.public_of(private) for role, private in privates.items()}
        for role, other in zip(ROLES, reversed(ROLES), strict=True):
            initiator = role == "initiator"
            self.ends[role] = reference.End.begin(k1, k2, h, privates[role], publics[other], initiator=initiator)
        start = reference.Start.derive(k1, k2, h, privates["initiator"], publics["responder"])
        told = {key: getattr(start, key).hex() for key in ("sid", "root_before", "header_i", "header_r", "root")}
        told |= {"topic": start.topic.hex(), "content_topic": start.content_topic, "chain": start.chain.hex()}
        told |= {"next_header_i": start.next_header_i.hex()}
        return {
            "name": self.name,
            "k1": k1.hex(),
            "k2": k2.hex(),
            "h": h.hex(),
            "private": {role: private.hex() for role, private in privates.items()},
            "public": {role: public.hex() for role, public in publics.items()},
            "start": told,
        }

    def seal(self, role: str, text: bytes) -> None:
        end, number = self.ends[role], len(self.sent)
        begins = not end.send_chain
        new_private, nonce = self.draw(f"ratchet key of message {number}"), self.draw(f"nonce of message {number}", 12)
        sealed = end.seal(text, new_private, nonce)
        self.sent.append((role, text, sealed.frame))
        self.steps.append(
            {
                "op": "seal",
                "by": role,
                "message": number,
                "text": text.hex(),
                "new_private": new_private.hex() if begins else None,
                "nonce": nonce.hex(),
                "n": sealed.n,
                "pn": sealed.pn,
                "ratchet_public": sealed.ratchet_public.hex(),
                "chain_key": sealed.chain.hex(),
                "header_key": sealed.header_key.hex(),
                "tag_key": reference.mac(sealed.header_key, reference.P + b"tag").hex(),
                "header_encryption_key": reference.mac(sealed.header_key, reference.P + b"header").hex(),
                "message_key": sealed.message_key.hex(),
                "nametag": sealed.frame[:16].hex(),
                "frame": sealed.frame.hex(),
                "after": {
                    "root": end.root.hex(),
                    "chain_key": end.send_chain.hex(),
                    "next_sending_header_key": end.next_send_header.hex(),
                },
            }
        )

    def open(self, message: int) -> None:
        sender, text, frame = self.sent[message]
        role = ROLES[1 - ROLES.index(sender)]
        end = self.ends[role]
        assert end.open(frame) == text
        self.steps.append(
            {
                "op": "open",
                "by": role,
                "message": message,
                "after": {
                    "root": end.root.hex(),
                    "receiving_header_key": end.receive_header.hex(),
                    "receiving_chain_key": end.receive_chain.hex(),
                    "received": end.received,
                    "peer": end.peer.hex(),
                    "next_receiving_header_key": end.next_receive_header.hex(),
                    "kept": sorted(tag.hex() for tag in end.skipped),
                },
            }
        )

    def text(self, size: int) -> bytes:
        return (self.draw(f"text {len(self.sent)}") * 40)[:size]


def in_turns(script: Script) -> None:
    """One to four messages a turn, all in order; texts around the edges of a block."""
    sizes = (0, 1, 100, 243, 244, 245, 491, 492, 1000)
    turn = 0
    while len(script.sent) < MESSAGES:
        for _ in range(min(1 + turn % 4, MESSAGES - len(script.sent))):
            script.seal(ROLES[turn % 2], script.text(sizes[len(script.sent) % len(sizes)]))
            script.open(len(script.sent) - 1)
        turn += 1


def with_gaps(script: Script) -> None:
    """Lost, late and crossing messages."""
    chance, flying = random.Random(60), list[int]()
    while len(script.sent) < MESSAGES or flying:
        if len(script.sent) < MESSAGES and (not flying or chance.random() < 0.55):
            script.seal(chance.choice(ROLES), script.text(chance.choice((5, 50, 300))))
            if chance.random() < 0.85:
                flying.append(len(script.sent) - 1)
        else:
            script.open(flying.pop(chance.randrange(len(flying))))


def responder_first(script: Script) -> None:
    """The responder turns at once; then long chains of which every third message arrives, last ones first."""
    turn = 1
    while len(script.sent) < MESSAGES:
        first = len(script.sent)
        for _ in range(12):
            script.seal(ROLES[turn % 2], script.text(20))
        for message in reversed(range(first + 2, len(script.sent), 3)):
            script.open(message)
        turn += 1


SCRIPTS: Final = {"in-turns": in_turns, "with-gaps": with_gaps, "responder-first": responder_first}


def documents() -> dict[str, str]:
    """File names and contents."""
    made = {}
    for name, play in SCRIPTS.items():
        script = Script(name)
        case = script.begin()
        play(script)
        case["steps"] = script.steps
        document = {"generator": "tests/vectors/generate_healing_noise.py", "cases": [case]}
        made[f"healing-{name}.json"] = json.dumps(document, indent=1) + "\n"
    return made


if __name__ == "__main__":
    for name, content in documents().items():
        (FOLDER / name).write_text(content, "utf-8")
