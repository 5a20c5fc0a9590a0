"""A constant initialisation of weights, by whatever spelling, and which layers it reaches."""

from __future__ import annotations

from enum import Enum

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class FillPattern(Enum):
    """In which way the units of a layer start alike."""

    CONSTANT = "one constant"
    EQUAL_ROWS = "all rows equal"
    COPIED_ROWS = "some rows are copies of others"


@record
class FilledLayer:
    """One weight matrix (two or more axes, more than one output unit) that the fill reaches and nothing overwrites."""

    ref: LayerRef
    parameter: str
    """`weight`."""
    called: bool
    """The instance's forward uses the layer."""
    frozen: bool
    """It does not require a gradient."""
    depthwise: bool
    """A convolution whose filters each have an input of their own."""
    last: bool
    """No other weight layer comes after it in the instance's forward."""
    bias_set_per_unit: bool
    """The layer's bias was filled at random or unit by unit, which tells the units apart."""


@record
class ParameterFill:
    """One write of a constant into weights of one instance, where it is the last write before training."""

    place: Span
    text: str
    """`torch.nn.init.constant_(m.weight, 0.01)`."""
    value: float
    model: ModelRef
    layers: tuple[FilledLayer, ...]
    others: tuple[LayerRef, ...]
    """Weight layers of the instance that the fill leaves alone and forward uses."""
    applied_place: Span | None
    """The `.apply(fn)` or call that ran it on this instance."""
    trained: bool
    """An optimizer that steps holds the instance's parameters, or it is backwarded."""
    trained_place: Span | None
    overwritten: tuple[Span, ...]
    """Earlier fills of the same weights that this one replaced."""
    in_test_suite: bool
    pattern: FillPattern = FillPattern.CONSTANT
    kept: bool | None = None
    """A run saw that training steps left the rows alike; None when it was not seen, or has not been looked at."""
    in_series: bool = False
    """Zero layers of which one feeds the other, and which no step could move."""
    copies: int = 0
    """How many rows are copies of another row, for COPIED_ROWS."""
    run: RunEvidence | None = None
