"""A gradient that one optimizer's loss leaves for another optimizer's step."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


@record
class GradientLeak:
    """Two models trained in turn: the backward of one fills gradients of the other, and they are there at its step."""

    place: Span
    """The backward that reaches too far."""
    text: str
    trained: OptimizerRef
    """The optimizer that steps on this backward."""
    polluted: OptimizerRef
    """The optimizer that steps later, on gradients of this backward as well."""
    model: ModelRef
    """The model whose parameters `polluted` holds."""
    model_place: Span | None
    """The call of that model whose result the backward goes through."""
    own_place: Span
    """The backward that was meant for `polluted`."""
    own_text: str
    step_place: Span
