"""One constructed module: what its attributes are, and which of them one forward calls."""

from __future__ import annotations

from dataclasses import dataclass

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@dataclass(frozen=True, slots=True)
class Branch:
    """An `if` whose condition the arguments of this instance decided."""

    test: str
    """The condition as written: `self.use_sequential`."""
    taken: bool
    place: Span
    because: str = ""
    """The constructor arguments that it reads: `use_sequential=False`."""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One call of a layer within one forward of the instance."""

    layer: int
    """Identity of the layer object: two calls with the same number are of one object, whatever its names."""
    ref: LayerRef
    place: Span
    """The call, or for an element of a Sequential the place where the element is put into it."""
    stateful_norm: bool
    """The layer keeps running statistics of what it sees, and is not frozen or held in eval mode."""
    producer: str | None
    """What made its input: `output of Linear(32, 64)`, `argument x`; None when that was not followed."""
    producer_key: object
    """Equal keys mean the same producer object. None when not followed."""
    branches: tuple[tuple[int, int], ...]
    """The undecided branches it lies in, as (branch, arm): two calls that disagree on an arm exclude each other."""


@dataclass(frozen=True, slots=True)
class UnusedLayer:
    """A registered layer with parameters that a complete trace of forward neither called nor read."""

    ref: LayerRef
    parameters: int | None
    """How many numbers it holds, with its children; None when a size is unknown."""
    excluded_by: tuple[Branch, ...]
    """Empty: no code in the project reads the attribute, apart from code that initialises it. Otherwise every read
    lies under one of these branches, which the constructor arguments of this instance exclude."""


@dataclass(frozen=True, slots=True)
class ModuleInstance:
    """One module as it was constructed, and what one forward of it does."""

    model: ModelRef
    calls: tuple[LayerCall, ...]
    """Of every layer below it, in the order of one forward, helpers such as `encode()` included."""
    unused: tuple[UnusedLayer, ...]
    parameters: int | None
    """How many numbers all its registered layers hold; None when a size is unknown."""
    optimizer: str | None
    """Text of an optimizer that was given all its parameters: `AdamW`, if one is known."""
    optimizer_place: Span | None
    root: bool
    """Forward was called from code that is no module (or by nobody): the calls are a whole forward."""
    run: RunEvidence | None = None
