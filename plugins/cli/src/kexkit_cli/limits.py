"""Every bound of the command: its name, its value, its reason."""

from __future__ import annotations

from typing import Final

# --- what is read ----------------------------------------------------------------------------------------------------

NAME_CHARACTERS: Final = 64
"""Of a name for oneself, a contact or a profile: it stands at the head of lines, or is a folder's name."""

CODE_BYTES: Final = 128 * 1024
"""Read from stdin as a contact code: twice the longest there can be, so that core refuses it in its own words."""

TEXT_BYTES: Final = 1024 * 1024
"""Read from stdin as a text. Core refuses far shorter ones in its own words."""

PIPED_LINE_BYTES: Final = 64 * 1024
"""A line that a pipe brings to a chat; a longer one is cut there, and core refuses the pieces."""

TYPED_CHARACTERS: Final = 8192
"""A line in work in a chat: twice the longest text, so that its refusal can be read."""

PASTE_BYTES: Final = 64 * 1024
"""Pasted at once: more than a line in work can hold at four bytes a character."""

KEY_BYTES: Final = 32
"""An escape sequence of a key. What is longer and not complete is none."""

LINES_REMEMBERED: Final = 200
"""Lines said before that the up arrow finds."""

DEMO_MESSAGES: Final = 10_000
"""Texts of a demo: each costs a commit on either side, and more would tell nothing new."""

CACHED_CHARACTERS: Final = 64 * 1024
"""Of the file of plugins' commands. A longer one is not ours."""

# --- how long is waited ----------------------------------------------------------------------------------------------

WAIT_SECONDS: Final = 10.0
"""For the relay to have a text, unless --wait says otherwise: twice what its client waits for an answer."""

PARTING_SECONDS: Final = 2.0
"""For what is on its way when a person leaves a chat: as long as a node takes to close at most."""

NO_NEWS_SECONDS: Final = 20.0
"""Of a demo in which nothing arrives any more, after which what has not come counts as lost."""

AWAY_SECONDS: Final = 5.0
"""In a demo, for what is written to somebody who is away to reach the network."""

RELAY_START_SECONDS: Final = 20.0
"""For a demo's relay to listen: a process on a busy machine takes its time to import things."""

RELAY_STOP_SECONDS: Final = 5.0
"""For a demo's relay to end by itself, before it is killed."""
