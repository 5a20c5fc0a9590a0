"""A target that a model made for itself, and that carries a gradient."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


@record
class BootstrapTarget:
    """A regression onto data plus what the same model says of something else, all of it live."""

    place: Span
    """The call of the loss."""
    loss: str
    target: str
    """The user's expression for the target."""
    model: ModelRef
    model_places: tuple[Span, ...]
    """The calls of the model behind the target."""
    optimizer: OptimizerRef
    """It holds the parameters of the model."""
