"""One parameter in two places of a model, and whether it stays one."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class WeightTie:
    """A tie that was there at the first forward: `head.weight` is `table.weight`."""

    place: Span
    """The definition of the layer that has another parameter now."""
    model: ModelRef
    changed: str
    """`head.weight`, which is another parameter now."""
    other: str
    """`table.weight`, with which it was tied."""
    lost_after: int | None
    """How many optimizer steps had ended when it was first seen to be gone; None when read from code."""
    steps_since: int | None
    """How many optimizer steps came after that; None when read from code."""
    run: RunEvidence | None = None
    lost_by: str = ""
    """From code only: what replaced the parameters, as written."""
    lost_place: Span | None = None
