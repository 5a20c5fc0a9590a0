"""A choice between two values of which the one not chosen has no finite derivative."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class GuardedSingularity:
    """`where(x > 0, x.sqrt(), 0)`: the condition keeps the singular point out of the value, not of the gradient."""

    place: Span
    """The call of where."""
    condition: str
    operation: str
    """The user's expression that has no finite derivative at one point."""
    operation_place: Span
    operand: str
    at: str
    """That point: `0`."""
