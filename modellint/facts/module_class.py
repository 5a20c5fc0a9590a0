"""An `nn.Module` subclass as its constructor leaves it."""

from __future__ import annotations

from enum import Enum

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class SuperInit(Enum):
    """Whether `nn.Module.__init__` has run when the constructor first registers something."""

    CALLED = "called"
    ABSENT = "absent"
    LATE = "late"
    UNKNOWN = "unknown"


@record
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


@record
class HiddenTensor:
    """A tensor in an ordinary attribute, or in a plain container: `parameters()` and `buffers()` do not see it."""

    attribute: str
    place: Span
    container: str
    """`list`, `dict` and the like, empty for a tensor that is the attribute itself."""
    shape: tuple[int, ...] | None
    """None when it is not known."""
    trainable: bool
    """It requires a gradient, or was computed from a tensor that does."""
    leaf: bool
    """It is a tensor of its own; False for a result such as `nn.Parameter(...) * 0.1`."""
    used_in_forward: bool
    registered: bool
    """It is registered somewhere, or shares its memory with a parameter that is."""
    trained: bool
    """An optimizer holds it, or the program changes it by hand."""
    device: str
    module_device: str
    """Where all parameters of the module are; empty where it has none, or in several places."""
    moved_at_use: bool
    """Every method that reads it moves it (`.to(x.device)`) or asks it for its shape only."""


@record
class StrayFlag:
    """An attribute like `requires_grad` that was set where it means nothing."""

    attribute: str
    place: Span
    owner: str
    """What it was set on: `model.backbone`, `model.fc.weight`."""
    on_parameter: bool
    value: bool | None
    """None when it was not followed."""
    parameters: int | None
    """How many parameters it may have been meant for: they have the other value. None when that is not known."""
    defined_by_class: bool
    """The class has such an attribute of its own."""


class Shadow(Enum):
    """In which way a name of nn.Module has got another meaning."""

    SIGNATURE = "cannot be called as nn.Module calls it"
    NO_BASE_CALL = "never calls the method that it replaces"
    PROPERTY = "is a property"
    VALUE = "is a value"


@record
class ShadowedMethod:
    """A name of nn.Module to which a subclass gives another meaning."""

    name: str
    place: Span
    how: Shadow
    signature: str
    """`train(self, loader, epochs)`, or the type of the value."""
    still_training: str
    """A layer below that was in train mode while the whole model was in eval mode; empty when none was seen."""


@record
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
    tensors: tuple[HiddenTensor, ...] = ()
    flags: tuple[StrayFlag, ...] = ()
    """From code: a fact has one, and says nothing else."""
    shadowed: tuple[ShadowedMethod, ...] = ()
    run: RunEvidence | None = None
