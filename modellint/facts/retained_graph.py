"""A backward that keeps its graph in a loop where nothing comes back to it."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class RetainedGraph:
    """A call of backward with `retain_graph=True`, all that its graph goes through followed."""

    place: Span
    text: str
    flag: Span
    """The argument."""
    loop: Span
    backwards: int
    """How many calls of backward or `autograd.grad` reach the busiest part of one pass's graph."""
