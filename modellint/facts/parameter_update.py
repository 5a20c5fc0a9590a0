"""What the steps of an optimizer did to its parameters."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


@record
class ParameterUpdate:
    """One optimizer, and the parameters that its steps left as they were although they had a gradient."""

    place: Span
    """Its construction; its first step where the construction was not seen."""
    optimizer: OptimizerRef
    unchanged: tuple[str, ...]
    """Names of parameters of which no bit changed at any step, with a gradient that is not zero."""
    low_precision: bool
    """All of them are in 16 bits or fewer: an update may be too small for them."""
    changed: int
    """How many others did change."""
    run: RunEvidence | None = None
