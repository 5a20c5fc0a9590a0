"""One constructed module: what its attributes are, and which of them one forward calls."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class Branch:
    """An `if` whose condition the arguments of this instance decided."""

    test: str
    """The condition as written: `self.use_sequential`."""
    taken: bool
    place: Span
    because: str = ""
    """The constructor arguments that it reads: `use_sequential=False`."""


@record
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
    trained_slope: bool = False
    """The layer is a PReLU whose slope is trained."""
    size: tuple[int, ...] | None = None
    """Extents of its input without batch and channels, where a run saw it: `(32, 32)` of an image."""
    own_input: bool = False
    """The part of the model that it runs in was given an argument of forward, just as it came."""
    after_itself: bool = False
    """Its input was made from what an earlier call of the layer returned, and from something new: a recurrence."""


@record
class UnusedLayer:
    """A registered layer with parameters that a complete trace of forward neither called nor read."""

    ref: LayerRef
    parameters: int | None
    """How many numbers it holds, with its children; None when a size is unknown."""
    excluded_by: tuple[Branch, ...]
    """Empty: no code in the project reads the attribute, apart from code that initialises it. Otherwise every read
    lies under one of these branches, which the constructor arguments of this instance exclude."""


@record
class DetachedLayer:
    """A layer with trainable parameters that runs with gradients on and gets none, while others get theirs."""

    ref: LayerRef
    parameters: int | None
    call: Span | None
    """Where it is called."""
    returned: bool | None
    """What it makes is part of what forward returns, and no backward comes in there; None when not followed."""


@record
class UnusedParameter:
    """A trainable parameter that gets no gradient although the module that owns it runs."""

    name: str
    """Dotted path from the instance: `attention.scale`."""
    text: str
    """`Parameter(1, 64)`."""
    parameters: int | None
    place: Span | None


@record
class ModuleInstance:
    """One module as it was constructed, and what one forward of it does.

    A run makes one fact of what gets no gradient, and one of every layer that a forward calls more than once, so that
    each has its own evidence. The numbers of the latter: `calls` and `forwards` watched, and for a norm `gap` (largest
    |m1 - m2| / sqrt(v1 + v2) of a channel between two of its inputs), `difference` and `std` there, `variance_ratio`.
    """

    model: ModelRef
    calls: tuple[LayerCall, ...]
    """Of every layer below it, in the order of one forward, helpers such as `encode()` included. From a run: of one
    layer that one forward calls more than once."""
    unused: tuple[UnusedLayer, ...]
    parameters: int | None
    """How many numbers all its registered layers hold; None when a size is unknown."""
    optimizer: str | None
    """Text of an optimizer that was given all its parameters: `AdamW`, if one is known."""
    optimizer_place: Span | None
    root: bool
    """Forward was called from code that is no module (or by nobody): the calls are a whole forward."""
    run: RunEvidence | None = None
    detached: tuple[DetachedLayer, ...] = ()
    """From a run only, as `unused_parameters`."""
    unused_parameters: tuple[UnusedParameter, ...] = ()
