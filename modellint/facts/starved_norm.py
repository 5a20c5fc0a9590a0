"""A batch norm with hardly anything to average over."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class StarvedNorm:
    """A norm over the batch alone that is called in train mode with one or two samples."""

    place: Span
    layer: LayerRef
    model: ModelRef
    samples: int
    trains: bool
    """The forward is backwarded and an optimizer steps."""
