"""How widely the weights of layers are spread when training starts."""

from __future__ import annotations

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class SpreadLayer:
    """One layer whose weights were drawn with a known standard deviation."""

    ref: LayerRef
    fan_in: int
    """How many inputs each of its outputs sums."""
    normed: bool
    """A normalisation follows it."""
    scaled: bool
    """Its output is multiplied by a number, or something else changes its weights or output."""
    frozen: bool


@record
class InitialSpread:
    """One random fill of weight matrices, the last write to them."""

    place: Span
    text: str
    """`nn.init.normal_(m.weight, 0, 1)`."""
    spread: float
    """The standard deviation."""
    layers: tuple[SpreadLayer, ...]
    other_layers: int
    """Weight layers of the same forward that it does not reach."""
    in_test_suite: bool
