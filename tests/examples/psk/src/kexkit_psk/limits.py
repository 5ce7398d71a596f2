"""Every bound of this plugin, with its reason."""

from typing import Final

DAY: Final = 24 * 3600 * 1000

SECRET_BYTES: Final = 32
"""The shared secret. Fewer bytes could be guessed from the commitment that an offer publishes."""

WINDOW: Final = 64
"""How far a frame may lag behind the newest one and still open: one integer in the snapshot."""

SENT: Final = 2**32
"""Frames sealed in one session and direction: nonces are random, and beyond this two could meet."""

OPENING_LIFE: Final = 30 * DAY
"""How old a session's first frame may be: networks keep messages for about as long. Its seen-row lives as long."""

CLOCK_AHEAD: Final = DAY
"""How far the other clock may lead ours. A seen-row lives this much longer at most."""

OFFER_LIFE: Final = 30 * DAY
"""An offer holds no key, so its life only says how long a device that went away still looks reachable."""

OFFER_RENEWAL: Final = 7 * DAY
"""Soon enough that an offer in use never comes near its end."""

INSTALLATION_BYTES: Final = 255
"""The length of an installation's name is one byte in the snapshot."""
