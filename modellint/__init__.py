"""modellint finds the PyTorch bugs that do not crash.

The public names are loaded when they are first used (PEP 562): importing the package imports neither libcst nor torch.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as type checkers know it; importing typing would take longer than all the rest
if TYPE_CHECKING:
    from modellint.finding import Finding as Finding
    from modellint.lint import lint as lint
    from modellint.rule import Rule as Rule
    from modellint.runtime.inspection import inspect as inspect
    from modellint.runtime.watch import watch as watch
    from modellint.testing import ModelLintError as ModelLintError

__version__ = "0.1.0"

_PUBLIC = {
    "Finding": "modellint.finding",
    "ModelLintError": "modellint.testing",
    "Rule": "modellint.rule",
    "inspect": "modellint.runtime.inspection",
    "lint": "modellint.lint",
    "watch": "modellint.runtime.watch",
}

__all__ = ["Finding", "ModelLintError", "Rule", "__version__", "inspect", "lint", "watch"]


def __getattr__(name: str) -> object:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if module.startswith("modellint.runtime."):
        _require_torch(f"modellint.{name}")
    value = getattr(importlib.import_module(module), name)
    # `modellint.lint` is also the name of a submodule: importing it binds the module, this binds the function.
    globals()[name] = value
    return value


def _require_torch(who: str) -> None:
    """Raise an ImportError that says what to install, for a user who has no torch."""
    import sys
    from importlib.util import find_spec

    if "torch" not in sys.modules and find_spec("torch") is None:
        raise ImportError(
            f"{who} needs PyTorch in this environment (pip install torch); the static checks do not.", name="torch"
        )


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
