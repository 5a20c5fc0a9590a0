"""Graphs of past losses that something keeps alive."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class KeptGraph:
    """The graph of a loss outlives the optimizer step it was made for, step after step."""

    place: Span
    """The call of the model; without a model, the backward that shows that there is a graph."""
    text: str
    """`model(x)`."""
    model: ModelRef | None
    alive: int
    """Graphs of past steps that were alive at once, after a full garbage collection."""
    run: RunEvidence | None = None
    keeper: str = ""
    """From code: what keeps it, `total += loss`."""
    keeper_place: Span | None = None
