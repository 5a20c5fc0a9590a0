"""A backward that keeps its graph in a loop where nothing comes back to it."""

from __future__ import annotations

from dataclasses import dataclass

from modellint.facts.span import Span


@dataclass(frozen=True, slots=True)
class RetainedGraph:
    """A call of backward with `retain_graph=True`, all that its graph goes through followed."""

    place: Span
    text: str
    flag: Span
    """The argument."""
    loop: Span
    backwards: int
    """How many calls of backward or `autograd.grad` reach the busiest part of one pass's graph."""
