"""One recurrent, attention or transformer layer in a forward: which axis is which, and what is read of its output."""

from __future__ import annotations

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class AxisSign:
    """Something that says which axis of the layer's input or output counts the samples."""

    batch_axis: int
    """0 for (batch, time, features), 1 for (time, batch, features)."""
    text: str
    """`the output is read as [:, -1]`."""
    place: Span
    decisive: bool = False
    """It leaves no doubt: a loader stacks its samples along the first axis."""


@record
class StepRead:
    """One time step taken out of the output: `out[:, -1]`."""

    place: Span
    text: str
    axis: int
    index: int
    features: bool
    """All features of the step are taken, those of both directions."""


@record
class SequenceCall:
    """All calls of one such layer, as far as one run of the code showed them."""

    layer: LayerRef
    family: str
    """`recurrent`, `attention` or `transformer`."""
    call: Span
    batch_first: bool | None
    """None when the argument was not followed."""
    bidirectional: bool | None
    signs: tuple[AxisSign, ...]
    steps: tuple[StepRead, ...]
    """Of the output, in the order in which they are read."""
    read_otherwise: bool
    """The output is read by something else as well: attention, pooling, a head for each step."""
    packed: bool
    """The input may be a packed sequence, or was not followed."""
    unbatched: bool | None
    """The input has two axes; None when its rank is not known."""
    one_sample: bool = False
    """The batch has size one on purpose: `unsqueeze(0)` or `view(1, ...)` of the input."""
