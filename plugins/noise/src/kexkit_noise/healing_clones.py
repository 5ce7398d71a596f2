"""Signs that one end of a healing session exists twice: its device was copied, a backup put back, or its keys stolen.

A message key is gone once it is used, so of two messages at one place the second cannot be verified, and whoever
carries frames can set a garbled text under a header that he saw. But a header authenticates one ratchet key at one
place of one chain, under a key that nobody has but the two ends. So what counts is an authentic header that one honest
end cannot have made: another ratchet key in a chain than the chain's own, or a place of our own chains that we have not
come to. And an authentic text that says its maker's last chain was shorter than what was opened of it. None of these
can be made without keys of the session.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from kexkit.errors import Cloned

from kexkit_noise import healing_frames as frames
from kexkit_noise.healing_keys import HeaderKey
from kexkit_noise.healing_state import Fixed, Ratchet, Speaking

_THEIRS: Final = "A message of the peer's shows that its end of the session exists twice."
_OURS: Final = "A message shows that our end of the session exists twice, or that the peer pretends so."


def ratchet_key(header: HeaderKey, n: int, parts: frames.Parts, fixed: Fixed) -> bytes | None:
    """What an authentic header shows at this place of its chain. None: it is not authentic."""
    tag, sealed, _, _ = parts
    try:
        return header.open(n, sealed, frames.header_data(fixed.sid, tag))
    except InvalidTag:
        return None


def theirs(fixed: Fixed) -> Cloned:
    """What the peer has authenticated contradicts itself."""
    return Cloned(_THEIRS, session=fixed.id)


def check_used(fixed: Fixed, ratchet: Ratchet, n: int, parts: frames.Parts) -> None:
    """At a place of the peer's present chain whose key is gone, or opened nothing."""
    receiving = ratchet.receiving
    if receiving is not None and ratchet_key(receiving.header, n, parts, fixed) not in (None, ratchet.peer):
        raise theirs(fixed)


def check_kept(fixed: Fixed, ratchet: Ratchet, parts: frames.Parts) -> None:
    """A key was kept for this nametag, and does not open the text: is the place one of the peer's present chain?"""
    if ratchet.receiving is None:
        return
    header, tag = ratchet.receiving.header, parts[0]
    n = header.find_near(tag, 0)
    n = header.find_far(tag, 0) if n is None else n
    if n is not None:
        check_used(fixed, ratchet, n, parts)


def check_ours(fixed: Fixed, ratchet: Ratchet, parts: frames.Parts) -> None:
    """At a place of no message that we expect. Both directions share a topic, so our own messages come here too."""
    tag, sending = parts[0], ratchet.sending
    if isinstance(sending, Speaking):
        n = sending.header.find_near(tag, sending.n)
        n = sending.header.find_near(tag, 0) if n is None else n
        if n is not None:
            shown = ratchet_key(sending.header, n, parts, fixed)
            if shown is not None and (shown != sending.public or n >= sending.n):
                raise Cloned(_OURS, session=fixed.id, ours=True)
            return
        later: tuple[HeaderKey, ...] = (ratchet.next_sending,)
    else:  # somebody has answered in our place, or been answered
        later = (ratchet.next_sending, ratchet.next_receiving)
    for header in later:
        n = header.find_near(tag, 0)
        if n is not None and ratchet_key(header, n, parts, fixed) is not None:
            raise Cloned(_OURS, session=fixed.id, ours=True)
