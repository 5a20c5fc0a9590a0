"""A threshold between 0 and 1 that is applied to raw scores."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class ThresholdUse:
    """`model(x) > 0.5`, where the same output of the same model goes to a loss that applies sigmoid itself."""

    place: Span
    text: str
    """`logits > 0.5`."""
    test: str
    """`> 0.5`, `round`."""
    model: ModelRef
    maker: str
    """The layer that made the scores: `Linear(64, 1)`."""
    maker_place: Span | None
    loss: str
    """`BCEWithLogitsLoss`."""
    loss_place: Span
    """Where the model is trained with it."""
    trains: bool
    """That loss is backwarded."""
