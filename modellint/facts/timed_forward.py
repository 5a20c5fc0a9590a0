"""A forward between two readings of the wall clock."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class TimedForward:
    """A forward of a model on an accelerator that nothing waits for before the clock is read again."""

    place: Span
    """The difference of the two readings."""
    text: str
    start: Span
    """The first reading."""
    forward: str
    """The model as called: `model`."""
    forward_place: Span
    device: str
    """Where the model was moved to: `cuda`."""
    in_test_suite: bool
