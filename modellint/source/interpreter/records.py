"""What the interpreter notes while it runs, before it is known how the story ends. `readers` turn these into facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modellint.facts.forward_use import SignKind
from modellint.facts.loss_use import Expects
from modellint.facts.record import slotted
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.flow_nodes import FlowNode
from modellint.source.interpreter.module_notes import ModuleNotes
from modellint.source.interpreter.reach import BackwardNote, GraphNotes
from modellint.source.interpreter.shape_records import ShapeRecords
from modellint.source.interpreter.value_records import FactorRecord, ValueRecords
from modellint.source.interpreter.values import (
    DeviceMove,
    Key,
    ModeEntry,
    ModuleValue,
    OptimizerValue,
    SchedulerValue,
    Site,
    Tensor,
    Unknown,
    Value,
    now,
)
from modellint.source.interpreter.weight_records import WeightRecords

Branches = tuple[tuple[int, int], ...]
Assumed = frozenset[tuple[Key, bool]]


@slotted
class CallRecord:
    """A layer called in a forward."""

    module: ModuleValue
    site: Site
    producer: object
    producer_text: str | None
    branches: Branches
    stateful: bool
    trained_slope: bool = False
    """A PReLU whose slope is trained."""
    node: FlowNode | None = None


@slotted
class ForwardRecord:
    """One call of a model from code that is no module."""

    site: Site
    model: ModuleValue
    text: str
    modes: frozenset[ModeEntry]
    grad: bool | None
    grad_site: Site | None
    assumed: Assumed
    branches: Branches
    functions: tuple[tuple[str, Site | None], ...]
    loop_depth: int
    input: Value | None
    input_site: Site | None
    model_device: DeviceMove | None
    input_device: DeviceMove | None
    framework: str | None
    mode_dependent: tuple[tuple[str, ModuleValue, bool], ...]
    loops: tuple[object, ...]
    signs: dict[tuple[SignKind, object], tuple[Site | None, str]] = field(default_factory=dict)
    backwards: list[Assumed] = field(default_factory=list)
    stepped: bool = False
    escaped: bool = False
    needs_gradient: bool = False
    function: object = None
    """The node of the function it stands in."""
    stochastic: bool = False
    wrapper: ModuleValue | None = None
    """The wrapper that was called, of which this is the inner model's forward."""
    ranks: Any = None
    """What is known about the processes that train together, a RankState."""


@slotted
class LossRecord:
    """One call of a loss."""

    site: Site
    name: str
    text: str
    module: ModuleValue | None
    expects: Expects
    input: Value
    target: Value | None
    backwarded: bool = False
    options: dict[str, Value] | None = None
    """The arguments that say how it is computed, by torch's names; None when they were not followed."""
    recorded: bool = True
    """Gradients are recorded there, as far as is known."""
    function: Any = None
    """The node of the function it stands in."""
    factors: list[FactorRecord] = field(default_factory=list)
    """What a KL divergence is multiplied by."""


@slotted
class EventRecord:
    """Something that happened in a loop."""

    kind: EventKind
    site: Site
    text: str
    optimizers: tuple[OptimizerValue, ...] = ()
    modules: tuple[ModuleValue, ...] = ()
    everything: bool = False
    """It concerns optimizers that were not followed."""
    forward: ForwardRecord | None = None
    """Of a FORWARD."""
    gradient: BackwardNote | None = None
    """Of a BACKWARD: where its gradient goes."""
    subject: Value | None = None
    """The scaler, scheduler or loss whose method it is."""
    sure: bool = True
    """False: something else may be meant, or nothing happens there."""
    given: bool = False
    """Of a SCHEDULER_STEP: it was told the epoch or a metric."""
    library: bool = False
    """A framework's method does it."""
    path: Branches = ()
    """The branches around it."""


@slotted
class Alternatives:
    """A branch in a trace: one trace an arm, with what ended the arm (`return`, `continue`, …) or None."""

    arms: list[tuple[list[Any], str | None]]
    conditions: Any = ()
    """What holds in each arm."""
    test: Any = None
    """The PathTest of an `if`."""


@slotted
class CallTrace:
    """The trace of a function that was called: a `return` ends no more than it."""

    items: list[Any]


@slotted
class LoopRecord:
    """A loop in a trace, with the trace of each round."""

    site: Site
    rounds: list[list[Any]]
    parent: LoopRecord | None
    before: list[Any]
    """The trace of the code before it, for what was cleared outside."""
    framework: str | None = None
    counted: bool = False
    """It runs over a `range`: the same again and again."""
    iterated: Value | None = None
    """What a `for` runs over."""
    data: Any = None
    """Of a loader: its datasets as they were when the loop began, a FrozenData."""
    path: Branches = ()
    """The branches around it."""
    born: int = field(default_factory=now)
    """When it began."""
    first_key: int = 0
    """Objects with a higher key were made in it or after it."""


@slotted
class TimingRecord:
    """Two readings of the clock, and the last forward that was queued between them."""

    site: Site
    start: Site
    forward: ForwardRecord


@slotted
class FillRecord:
    """The last write to one parameter of one module."""

    site: Site
    text: str
    value: float | None
    """None: something else than a constant."""
    applied: Site | None
    previous: FillRecord | None
    how: str = ""
    """`random`, `constant`, `part` (some of its elements), `copy`; empty when that is not known."""
    spread: float | None = None
    """The standard deviation of a random one, where its arguments say so."""


@slotted
class TorchCallRecord:
    """A call of a torch name."""

    name: str
    site: Site
    text: str
    arguments: tuple[tuple[str, Site, Value], ...]
    open_arguments: bool
    receiver_text: str | None
    receiver_kind: str | None
    module_class: str | None
    function: str | None
    training_only: bool
    stochastic: bool
    delegating: bool
    framework: str | None
    spelled: str
    """The name by which it was imported."""


@slotted
class DiscardedRecord:
    """A method named where its call was meant."""

    site: Site
    receiver_text: str
    receiver_kind: str
    attribute: str
    given_to: str | None
    given_site: Site | None


@slotted
class HiddenRecord:
    """A plain container attribute of a module that holds modules."""

    attribute: str
    site: Site
    container: str
    value: Value


@slotted
class ConstructionRecord:
    """One run of the constructor of a project's module class."""

    module: ModuleValue
    super_state: str
    super_site: Site | None
    first_registration: str | None
    first_registration_site: Site | None
    hidden: list[HiddenRecord] = field(default_factory=list)


@slotted
class TrainedRecord:
    """The state of a model's weights at its first backward."""

    model: ModuleValue
    site: Site
    fills: dict[tuple[int, str], FillRecord]
    """By key of the layer and name of the parameter."""
    frozen: set[int]
    """Keys of layers that require no gradient."""
    text: str


@slotted
class DataRecords:
    """What concerns loaders, samplers and processes that train together."""

    loaders: dict[object, Any] = field(default_factory=dict)
    """By node of the call: the loaders made there."""
    samplers: dict[object, Any] = field(default_factory=dict)
    told: list[Value] = field(default_factory=list)
    """Samplers whose `set_epoch` was called; an Unknown stands for one that was not followed."""
    escaped: list[Value] = field(default_factory=list)
    """Loaders and samplers that went into code that was not followed."""
    backwards: list[frozenset[ForwardRecord]] = field(default_factory=list)
    """The forwards of each backward."""
    collectives: set[str] = field(default_factory=set)
    """Functions of torch.distributed that were called and may average something."""
    writes: list[tuple[Value, str, Value, Site]] = field(default_factory=list)
    """Transforms that were assigned to a dataset: which one, the attribute, the value."""
    comparisons: list[tuple[Site, Value, Value, tuple[object, ...]]] = field(default_factory=list)
    """What was made by a model, compared with something, with the loops around."""


@dataclass(frozen=True, slots=True, eq=False)
class ScheduleStep:
    """A place that steps a scheduler."""

    site: Site
    loops: tuple[LoopRecord, ...]
    path: Branches
    given: bool
    """It was told the epoch or a metric."""


@dataclass(frozen=True, slots=True, eq=False)
class BackwardRecord:
    """A call of backward."""

    site: Site
    value: Value
    loops: tuple[LoopRecord, ...]
    retains: bool
    creates: bool
    """It records a graph of the gradients, or may."""
    function: object


@slotted
class OrderRecords:
    """What concerns schedulers and graphs that are kept."""

    schedulers: list[SchedulerValue] = field(default_factory=list)
    backwards: list[BackwardRecord] = field(default_factory=list)
    handed: dict[tuple[object, int], list[Any]] = field(default_factory=dict)
    """The functions that a call gave an optimizer or a scheduler to: by call and identity of the object."""
    grad_calls: set[object] = field(default_factory=set)
    """Functions that call `autograd.grad`."""
    steps: list[tuple[OptimizerValue, LoopRecord | None]] = field(default_factory=list)
    """The steps of optimizers, with the innermost loop around each."""


@slotted
class Records:
    """All that one entry point yields."""

    constructions: list[ConstructionRecord] = field(default_factory=list)
    instances: list[tuple[ModuleValue, list[CallRecord]]] = field(default_factory=list)
    method_calls: dict[object, tuple[ModuleValue, list[list[CallRecord]]]] = field(default_factory=dict)
    """Layers called by methods of a model that one function calls in one pass, in order."""
    forwards: list[ForwardRecord] = field(default_factory=list)
    losses: list[LossRecord] = field(default_factory=list)
    loops: list[LoopRecord] = field(default_factory=list)
    torch_calls: dict[object, TorchCallRecord] = field(default_factory=dict)
    discarded: dict[object, DiscardedRecord] = field(default_factory=dict)
    optimizers: list[OptimizerValue] = field(default_factory=list)
    steps: list[tuple[OptimizerValue, Site]] = field(default_factory=list)
    gradient_functions: set[object] = field(default_factory=set)
    """Functions that ask for gradients of their inputs: what they run is for that."""
    trained: dict[int, TrainedRecord] = field(default_factory=dict)
    """By key of the model: its weights when it was first backwarded."""
    values: ValueRecords = field(default_factory=ValueRecords)
    data: DataRecords = field(default_factory=DataRecords)
    graph: GraphNotes = field(default_factory=GraphNotes)
    shapes: ShapeRecords = field(default_factory=ShapeRecords)
    weights: WeightRecords = field(default_factory=WeightRecords)
    not_followed: dict[object, tuple[Site, str, str]] = field(default_factory=dict)
    module_notes: ModuleNotes = field(default_factory=ModuleNotes)
    timings: dict[object, TimingRecord] = field(default_factory=dict)
    order: OrderRecords = field(default_factory=OrderRecords)
    flow: list[FlowNode] = field(default_factory=list)
    """Calls of layers and operations that write into their input."""
    dropouts: list[ModuleValue] = field(default_factory=list)
    """Layers with a dropout rate, as they are made."""
    xavier: list[tuple[Site, str, bool, ModuleValue]] = field(default_factory=list)
    """Xavier initialisations: the call, the function, whether a gain is given, the layer."""

    def sizes(self) -> tuple[int, ...]:
        """How much there is of what a run must have ended for, to be judged."""
        return tuple(len(part) for part in self._lists())

    def cut(self, sizes: tuple[int, ...]) -> None:
        """Forget what came after `sizes` was taken."""
        for part, size in zip(self._lists(), sizes, strict=True):
            del part[size:]

    def _lists(self) -> tuple[list[Any], ...]:
        return (
            self.constructions, self.instances, self.forwards, self.losses, self.loops, self.optimizers, self.steps,
            self.flow, self.order.schedulers, self.order.backwards, self.order.steps, *self.weights.lists(),
        )  # fmt: skip


__all__ = [
    "Alternatives", "CallRecord", "CallTrace", "ConstructionRecord", "DiscardedRecord", "EventRecord", "FillRecord",
    "ForwardRecord", "HiddenRecord", "LoopRecord", "LossRecord", "Records", "Tensor", "TorchCallRecord", "Unknown",
]  # fmt: skip
