"""An optimizer whose weight decay also shrinks the scales of norms."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class DecayedNorms:
    """One optimizer with weight decay that was given all parameters of a model in one group."""

    place: Span
    optimizer: str
    """Its class: `AdamW`."""
    decay: float
    decay_given: bool
    """False: it is the default of the class."""
    model: ModelRef
    norms: tuple[LayerRef, ...]
    in_test_suite: bool
