"""Where profiles and caches live.

On Linux the rule is two lines and importing platformdirs would cost a fifth of the whole start; a test holds the two
equal. Elsewhere platformdirs says.
"""

from __future__ import annotations

import os
import sys

CONFIG_NAME = "config.toml"
LINUX: bool = sys.platform.startswith("linux")


def data_folder() -> str:
    """`KEXKIT_HOME`, or the user's data folder."""
    home = os.environ.get("KEXKIT_HOME")
    if home:
        return os.path.abspath(os.path.expanduser(home))
    if LINUX:
        return os.path.join(_xdg("XDG_DATA_HOME", "~/.local/share"), "kexkit")
    from platformdirs import user_data_dir

    return user_data_dir("kexkit", appauthor=False)


def cache_folder() -> str:
    """For what can be lost. With `KEXKIT_HOME`, everything is there."""
    if os.environ.get("KEXKIT_HOME"):
        return os.path.join(data_folder(), "cache")
    if LINUX:
        return os.path.join(_xdg("XDG_CACHE_HOME", "~/.cache"), "kexkit")
    from platformdirs import user_cache_dir

    return user_cache_dir("kexkit", appauthor=False)


def profile_folder(name: str) -> str:
    return os.path.join(data_folder(), "profiles", name)


def config_file(name: str) -> str:
    return os.path.join(profile_folder(name), CONFIG_NAME)


def _xdg(variable: str, otherwise: str) -> str:
    named = os.environ.get(variable, "").strip()
    return named or os.path.expanduser(otherwise)
