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

__version__ = "0.1.0"

_PUBLIC = {"Finding": "modellint.finding", "Rule": "modellint.rule", "lint": "modellint.lint"}

__all__ = ["Finding", "Rule", "__version__", "lint"]


def __getattr__(name: str) -> object:
    module = _PUBLIC.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    # `modellint.lint` is also the name of a submodule: importing it binds the module, this binds the function.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
