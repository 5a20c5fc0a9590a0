"""A batch norm with hardly anything to average over."""

from __future__ import annotations

from dataclasses import dataclass

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.span import Span


@dataclass(frozen=True, slots=True)
class StarvedNorm:
    """A norm over the batch alone that is called in train mode with one or two samples."""

    place: Span
    layer: LayerRef
    model: ModelRef
    samples: int
    trains: bool
    """The forward is backwarded and an optimizer steps."""
