"""An `nn.Module` subclass as its constructor leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from modellint.facts.model import LayerRef
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class SuperInit(Enum):
    """Whether `nn.Module.__init__` has run when the constructor first registers something."""

    CALLED = "called"
    ABSENT = "absent"
    LATE = "late"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HiddenModules:
    """Modules in a plain container attribute: no `parameters()`, `.to()`, `state_dict()` or `eval()` sees them."""

    attribute: str
    place: Span
    """The assignment, or the `append` and the like that put the first module in."""
    container: str
    """`list`, `tuple`, `dict` or `set`."""
    element: LayerRef
    element_place: Span
    has_parameters: bool
    used_in_forward: bool
    registered_later: bool
    """All of them are also registered somewhere (`ModuleList(self.x)`, `add_module`, another attribute)."""
    hidden_on_purpose: bool
    """The modules came from outside as an argument (a teacher kept out of the student's parameters)."""


@dataclass(frozen=True, slots=True)
class ModuleClass:
    """One class statement."""

    name: str
    place: Span
    """The class name in its statement."""
    init_place: Span | None
    """The name in `def __init__`, None when the class has no constructor of its own."""
    bases: str
    super_init: SuperInit
    super_place: Span | None
    """The base call, when it is there but late."""
    first_registration: str | None
    """The first attribute that holds a module, parameter or buffer."""
    first_registration_place: Span | None
    hidden: tuple[HiddenModules, ...]
    run: RunEvidence | None = None
