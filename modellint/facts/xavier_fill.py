"""A Xavier initialisation, and the activation behind the layers that it fills."""

from __future__ import annotations

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class XavierFill:
    """One call of `xavier_uniform_` or `xavier_normal_` on weights."""

    place: Span
    function: str
    """`xavier_normal_`."""
    gain_given: bool
    rectified: tuple[LayerRef, ...]
    """Layers whose whole output goes into a ReLU and nowhere else."""
    others: int
    """How many layers it fills besides."""
