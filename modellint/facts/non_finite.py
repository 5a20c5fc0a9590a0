"""A loss that was NaN or infinite."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class NonFinite:
    """The first backward from a loss that is no number any more, followed by a step."""

    place: Span
    """The call of backward."""
    loss: str
    """`loss` of `loss.backward()`."""
    value: str
    """`nan`, `inf`, `-inf`; `nan or inf` where only that was seen."""
    parameter: str
    """The first parameter that is not finite, itself or in its gradient; empty when none was found."""
    in_gradient: bool
    """All parameters were finite before the step, only gradients were not."""
    optimizer: str
    """The optimizer that stepped; empty when none did."""
    skipped: int
    """How many such losses were not followed by a step."""
    run: RunEvidence | None = None
