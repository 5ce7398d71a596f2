"""What this application allows. The engine asks nothing else for permission."""

from __future__ import annotations

from attrs import frozen

from kexkit.api import Guarantee


@frozen
class Policy:
    """The default sends nothing without forward secrecy, and hears strangers."""

    require: Guarantee = Guarantee.SECRET | Guarantee.FORWARD_SECRECY
    """what a session must give before a text of ours leaves through it"""
    mechanisms: frozenset[str] | None = None
    """names allowed; None: all that are loaded"""
    hear_unprotected: bool = True
    """take texts that belong to no session (Status's fallback); they are flagged, and lower no session"""
    hear_strangers: bool = True
    """False: only people who were added are heard"""
    advertise: bool = True
    """publish our bundle on our contact-code topic, where whoever knows our key can find it"""

    def allows(self, mechanism: str) -> bool:
        return self.mechanisms is None or mechanism in self.mechanisms

    def permits(self, grade: Guarantee | None) -> bool:
        return grade is not None and self.require in grade


#: Also sends when nothing but the peer's key is known: anyone who later steals that key reads such a text.
WITHOUT_FORWARD_SECRECY = Policy(require=Guarantee.SECRET)

__all__ = ["WITHOUT_FORWARD_SECRECY", "Policy"]
