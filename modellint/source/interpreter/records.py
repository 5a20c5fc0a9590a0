"""What the interpreter notes while it runs, before it is known how the story ends. `readers` turn these into facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modellint.facts.forward_use import SignKind
from modellint.facts.loss_use import Expects
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.values import (
    DeviceMove,
    Key,
    ModeEntry,
    ModuleValue,
    OptimizerValue,
    Site,
    Tensor,
    Unknown,
    Value,
)

Branches = tuple[tuple[int, int], ...]
Assumed = frozenset[tuple[Key, bool]]


@dataclass(slots=True, eq=False)
class CallRecord:
    """A layer called in a forward."""

    module: ModuleValue
    site: Site
    producer: object
    producer_text: str | None
    branches: Branches
    stateful: bool


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class Alternatives:
    """A branch in a trace: one trace an arm, with what ended the arm (`return`, `continue`, …) or None."""

    arms: list[tuple[list[Any], str | None]]


@dataclass(slots=True, eq=False)
class CallTrace:
    """The trace of a function that was called: a `return` ends no more than it."""

    items: list[Any]


@dataclass(slots=True, eq=False)
class LoopRecord:
    """A loop in a trace, with the trace of each round."""

    site: Site
    rounds: list[list[Any]]
    parent: LoopRecord | None
    before: list[Any]
    """The trace of the code before it, for what was cleared outside."""
    framework: str | None = None


@dataclass(slots=True, eq=False)
class FillRecord:
    """The last write to one parameter of one module."""

    site: Site
    text: str
    value: float | None
    """None: something else than a constant."""
    applied: Site | None
    previous: FillRecord | None


@dataclass(slots=True, eq=False)
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


@dataclass(slots=True, eq=False)
class DiscardedRecord:
    """A method named where its call was meant."""

    site: Site
    receiver_text: str
    receiver_kind: str
    attribute: str
    given_to: str | None
    given_site: Site | None


@dataclass(slots=True, eq=False)
class HiddenRecord:
    """A plain container attribute of a module that holds modules."""

    attribute: str
    site: Site
    container: str
    value: Value


@dataclass(slots=True, eq=False)
class ConstructionRecord:
    """One run of the constructor of a project's module class."""

    module: ModuleValue
    super_state: str
    super_site: Site | None
    first_registration: str | None
    first_registration_site: Site | None
    hidden: list[HiddenRecord] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class TrainedRecord:
    """The state of a model's weights at its first backward."""

    model: ModuleValue
    site: Site
    fills: dict[tuple[int, str], FillRecord]
    """By key of the layer and name of the parameter."""
    frozen: set[int]
    """Keys of layers that require no gradient."""
    text: str


@dataclass(slots=True)
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
    not_followed: dict[object, tuple[Site, str, str]] = field(default_factory=dict)

    def sizes(self) -> tuple[int, ...]:
        """How much there is of what a run must have ended for, to be judged."""
        return tuple(len(part) for part in self._lists())

    def cut(self, sizes: tuple[int, ...]) -> None:
        """Forget what came after `sizes` was taken."""
        for part, size in zip(self._lists(), sizes, strict=True):
            del part[size:]

    def _lists(self) -> tuple[list[Any], ...]:
        return self.constructions, self.instances, self.forwards, self.losses, self.loops, self.optimizers, self.steps


__all__ = [
    "Alternatives", "CallRecord", "CallTrace", "ConstructionRecord", "DiscardedRecord", "EventRecord", "FillRecord",
    "ForwardRecord", "HiddenRecord", "LoopRecord", "LossRecord", "Records", "Tensor", "TorchCallRecord", "Unknown",
]  # fmt: skip
