"""What an optimizer was given, and what the model that trains has."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


@record
class OptimizerSetup:
    """One optimizer beside one model that receives gradients of which some are used by no optimizer."""

    place: Span
    """Its construction; its first step where the construction was not seen."""
    optimizer: OptimizerRef
    model: ModelRef
    """The model that receives the gradients."""
    given: int
    """How many values of the model's parameters it holds."""
    given_part: str
    """Dotted path of the one part of the model to which all of these belong; empty for several parts, or for none."""
    missing: tuple[LayerRef, ...]
    """The layers and parameters that receive gradients and that no optimizer holds, as large as possible."""
    missing_values: int
    """How many values these have."""
    foreign: int = 0
    """Tensors that it holds, that no model in use has, and that had no gradient at any step."""
    holds: int = 0
    """How many tensors it holds."""
    idle_model: ModelRef | None = None
    """The other model to which all that it holds belongs, where none of that had a gradient at any step."""
    run: RunEvidence | None = None
    counted: bool = True
    """The numbers above count values and tensors; False where code does not show sizes: they count layers."""
