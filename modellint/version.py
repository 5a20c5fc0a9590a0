"""What `modellint --version` says, told without importing click, torch or anything else that is slow to import."""

from __future__ import annotations

import os
import sys

import modellint


def describe() -> str:
    """Versions of modellint, Python and torch, and the configuration file that holds here."""
    from modellint.config_file import find_config

    cwd = os.getcwd()
    config = find_config(cwd)
    torch = torch_version()
    return "\n".join(
        (
            f"modellint {modellint.__version__}",
            f"Python {sys.version.split()[0]}",
            f"torch {torch}" if torch else "torch is not installed (the static checks do not need it)",
            f"configuration: {os.path.relpath(config, cwd) if config else 'none found'}",
        )
    )


def torch_version() -> str | None:
    """The version of the installed torch by the name of its metadata folder.

    `importlib.metadata` would tell as well, and takes longer to import than everything else here together.
    """
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in sorted(names):
            if name.startswith("torch-") and name.endswith((".dist-info", ".egg-info")):
                return name.removeprefix("torch-").rpartition(".")[0].partition("-")[0]
    return None
