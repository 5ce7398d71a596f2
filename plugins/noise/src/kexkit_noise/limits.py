"""Every bound of this plugin, with its reason."""

from __future__ import annotations

from typing import Final

from kexkit.limits import PAYLOAD_BYTES as PAYLOAD_BYTES  # what the network carries bounds a version-2 payload too

# --- wire ------------------------------------------------------------------------------------------------------------

FIELDS_BYTES: Final = 255
"""Keys of a handshake message: their length is one byte on the wire (35)."""

HANDSHAKE_PAYLOAD_BYTES: Final = 8192
"""Padded payload of a handshake message, tag included. Ours carry a key and a statement of 162 bytes; a stranger's
message 1 is read before anything is authentic. The Noise specification would allow 65535."""
