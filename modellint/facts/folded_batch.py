"""A reshape that mixes the batch with the features."""

from __future__ import annotations

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class FoldedBatch:
    """A reshape after which a row is not one sample, and the layer that takes it row by row."""

    place: Span
    text: str
    before: tuple[int | None, ...]
    """Shape of its input, the batch first."""
    width: int | None
    """Elements of a row; None: all samples become one row."""
    rows: int | None
    layer: LayerRef
