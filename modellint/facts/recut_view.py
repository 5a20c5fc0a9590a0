"""A view whose axes are those of its input in another order."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class RecutView:
    """`x.view(b, w, h)` of a tensor whose shape was unpacked as `b, h, w`."""

    place: Span
    text: str
    before: tuple[str, ...]
    """The axes of the input, by the names that stand in `after`."""
    after: tuple[str, ...]
    order: tuple[int, ...] | None
    """The permutation of the axes that would be needed; None when it cannot be told."""
