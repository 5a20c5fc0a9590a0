"""A layer that cannot take what it is given."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class SizeClash:
    """A layer and its input, or two arguments of one layer, whose sizes do not fit. Both are numbers in the code."""

    place: Span
    """The call of the layer; of an element of a Sequential, the element; the construction where nothing is called."""
    layer: LayerRef
    model: ModelRef | None
    """The model whose forward calls it; None when the layer cannot be constructed at all."""
    parameter: str
    """`in_features`; `rank` when the number of axes is wrong; `in_channels by groups` for a division."""
    given: int
    wanted: tuple[int, ...]
    axis: int
    """Of the input, counted as Python does."""
    maker: str | None
    """The layer that made this axis so long: `Linear(8, 16)`."""
    maker_place: Span | None
    """Where it is called."""
