"""Every bound of this plugin, with its reason."""

from __future__ import annotations
