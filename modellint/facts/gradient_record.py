"""Sizes of the gradients that optimizer steps used, over many steps of one model."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class WeightGradient:
    """The gradient of one weight matrix, by the size of the weight."""

    layer: LayerRef
    parameter: str
    """Dotted path of the parameter: `fc1.weight`."""
    ratio: float
    """Median of |gradient| / |weight| over the steps, both as norms."""
    steps: int


@record
class GradientRecord:
    """The gradients of one model as one optimizer got them: unscaled, clipped if the loop clips."""

    place: Span
    """The optimizer's step."""
    model: ModelRef
    optimizer: str
    """The user's expression for it: `optimizer`."""
    weights: tuple[WeightGradient, ...]
    """In the order of the model's parameters."""
    median_norm: float
    """Median over the steps of the norm of all gradients together."""
    largest_norm: float
    spikes: int
    """Steps whose norm was above 1,000 and more than ten times the median of the steps before."""
    steps: int
    """Steps that were measured."""
    complete: bool
    """All were plain gradients; False where some were scaled, sparse or not finite."""
    run: RunEvidence | None = None
