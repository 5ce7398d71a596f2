"""Peers whose offers go to people alone, or nowhere."""

from __future__ import annotations

from attrs import evolve
from kexkit._engine.wrapping import contact_code_channel
from kexkit._wire.protocol_message import ProtocolMessage, parse
from kexkit.api import Envelope
from kexkit.contact import ContactCode
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy, Publish

from tests.engine.negotiating_peers import (
    BARE,
    SLOT,
    Kit,
    Meeting,
)

OPEN = Kit((BARE, SLOT), Policy())
DISCREET = Kit((BARE, SLOT), Policy(publish=Publish.CONTACTS))
SILENT = Kit((BARE, SLOT), Policy(publish=Publish.NONE))
LENIENT = evolve(WITHOUT_FORWARD_SECRECY, publish=Publish.CONTACTS)


def inside(world: Meeting, envelope: Envelope) -> ProtocolMessage:
    data = world.ledger.ciphers.inside(envelope.payload)
    assert data is not None
    return parse(data)


def posted(world: Meeting, who: str) -> ContactCode:
    """The code as it is handed out as text."""
    peer = world.peers[who]
    return peer.ask(lambda: peer.engine.contact_code(posted=True))


def find(world: Meeting, who: str, whom: str) -> None:
    """From a text that was posted."""
    world.peers[who].add(posted(world, whom))


def seen_by_strangers(world: Meeting, who: str) -> list[ProtocolMessage]:
    topic = contact_code_channel(world.peers[who].me.identity).topic
    return [inside(world, envelope) for envelope in world.network.logged(topic)]


def everything_of(world: Meeting, who: str) -> list[ProtocolMessage]:
    signed = (envelope for envelope in world.network.logged() if envelope.version == 1)
    messages = [inside(world, envelope) for envelope in signed]
    return [message for message in messages if message.installation == world.peers[who].me.installation]
