"""What is noted about weights: how they start, what is loaded over them, what is frozen, copies that are kept."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from modellint.facts.record import slotted
from modellint.source.interpreter.values import FunctionValue, ModuleValue, OptimizerValue, Site

if TYPE_CHECKING:
    from modellint.source.interpreter.records import FillRecord, ForwardRecord

Path = tuple[tuple[int, int], ...]
WEIGHT_FAMILIES = frozenset({"linear", "conv", "conv_transpose", "bilinear"})


@slotted
class LoadRecord:
    """Weights that come from elsewhere: `load_state_dict`, or the constructor of a pretrained model."""

    site: Site
    text: str
    path: Path
    forwards: int
    """How many forwards had been noted by then."""
    layers: int
    """How many layers with a weight matrix it reached."""
    model: ModuleValue


@slotted
class OverwriteRecord:
    """An initialisation of a weight that had been loaded before and not been used since."""

    load: LoadRecord
    module: ModuleValue
    fill: FillRecord
    reloaded: bool = False
    """Weights were loaded again later."""


@slotted
class SpreadRecord:
    """The last fill of one weight matrix, where it was random."""

    module: ModuleValue
    fill: FillRecord


@slotted
class PaddingRecord:
    """The table of an embedding with a padding index, at the first forward of a model."""

    model: ModuleValue
    text: str
    name: str
    layer: ModuleValue
    index: int | None
    """None: an index that was None zeroed the whole table."""
    fill: FillRecord


@slotted
class RawRecord:
    """A parameter that nothing had filled at the first forward of a model that reads it."""

    model: ModuleValue
    text: str
    owner: ModuleValue
    owner_name: str
    attribute: str
    site: Site


@slotted
class PassRecord:
    """A function that goes through the modules of a model: given to `apply`, or it loops over `modules()`."""

    function: FunctionValue
    site: Site
    root: ModuleValue
    parts: tuple[tuple[str, ModuleValue], ...]
    applied: bool


@slotted
class ForwardNote:
    """What a forward shows about frozen parts."""

    forward: ForwardRecord
    frozen: bool
    """No parameter of the model requires a gradient."""
    told_to_train: bool
    """`train()` was called on the model itself."""
    given_weights: bool
    """Some of its weights were loaded or copied: it is more than a random net."""
    norms: dict[int, tuple[str, ModuleValue, str]]
    """Norms that move their statistics although they and all around them are frozen: key -> name, norm, the part."""
    trained_norms: frozenset[int]
    """Keys of the other norms that it called."""
    released: dict[int, tuple[str, ModuleValue, Site]] = field(default_factory=dict)
    """Norms that were put in eval mode one by one, and that a `train()` of a whole model switched back."""


@slotted
class MoveRecord:
    """A write to weights while a loop or a forward ran."""

    module: ModuleValue
    whole: bool
    """All below the module may have changed, not only its own parameters."""
    loops: tuple[Any, ...]
    in_forward: bool


@slotted
class StateRecord:
    """One `state_dict()`."""

    site: Site
    text: str
    model: ModuleValue
    steps: int
    """How many optimizer steps had been noted by then."""
    used: Site | None = None
    """Where it was loaded, saved or returned after a later step."""
    later_steps: int = 0


@slotted
class DecayRecord:
    """An optimizer with weight decay that was given parameters in one group."""

    optimizer: OptimizerValue
    site: Site
    decay: float
    decay_given: bool
    models: tuple[ModuleValue, ...]


@slotted
class WeightRecords:
    """All of these."""

    overwritten: list[OverwriteRecord] = field(default_factory=list)
    spread: dict[int, SpreadRecord] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    """Keys of modules with a parameter that something wrote."""
    scaled: set[int] = field(default_factory=set)
    """Keys of layers whose output is multiplied or divided by a number."""
    paddings: list[PaddingRecord] = field(default_factory=list)
    raw: list[RawRecord] = field(default_factory=list)
    passes: list[PassRecord] = field(default_factory=list)
    forwards: list[ForwardNote] = field(default_factory=list)
    holds: int = 0
    """How often a single norm was put in eval mode."""
    freezes: int = 0
    """How often something was frozen: where nothing is, nothing has to be looked for."""
    moves: list[MoveRecord] = field(default_factory=list)
    states: list[StateRecord] = field(default_factory=list)
    decays: list[DecayRecord] = field(default_factory=list)

    def lists(self) -> tuple[list[Any], ...]:
        """What is cut when a run does not come to its end."""
        return self.overwritten, self.paddings, self.raw, self.passes, self.forwards, self.states, self.decays
