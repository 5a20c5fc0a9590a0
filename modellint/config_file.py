"""Where the configuration that holds in a folder lies. Imports next to nothing: `modellint --version` shows it."""

from __future__ import annotations

import os
import sys


def find_config(folder: str) -> str | None:
    """The nearest configuration file at or above an absolute folder, else the user's own."""
    above = folder
    while True:
        found = config_in(above)
        if found is not None:
            return found
        parent = os.path.dirname(above)
        if parent == above:
            return user_config()
        above = parent


def config_in(folder: str) -> str | None:
    """The configuration file in one folder; a pyproject.toml without the table `tool.modellint` does not count."""
    own = os.path.join(folder, "modellint.toml")
    if os.path.isfile(own):
        return own
    project = os.path.join(folder, "pyproject.toml")
    return project if os.path.isfile(project) and _has_table(project) else None


def user_config() -> str | None:
    """The user-level file: it counts only where the project has none."""
    user = os.path.join(_user_folder(), "modellint", "modellint.toml")
    return user if os.path.isfile(user) else None


def _user_folder() -> str:
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        return os.environ.get("APPDATA") or os.path.join(home, "AppData", "Roaming")
    return os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")


def _has_table(project: str) -> bool:
    """Whether a pyproject.toml has our table; one that does not parse counts if it names it, and fails on loading."""
    try:
        with open(project, "rb") as file:
            data = file.read()
    except OSError:
        return False
    if b"modellint" not in data:
        return False
    import tomllib

    try:
        tool = tomllib.loads(data.decode("utf-8-sig")).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        return b"tool.modellint" in data
    return isinstance(tool, dict) and "modellint" in tool
