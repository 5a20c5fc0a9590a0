"""A value that is read as it was meant to be, after an operation has written into it."""

from __future__ import annotations

from modellint.facts.model import LayerRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class InplaceRead:
    """An in-place activation on a value that is later added to what was made of it: a skip connection."""

    text: str
    """As written: `ReLU(inplace=True)`, `F.relu`, `x.relu_`."""
    place: Span
    """Where it is made, or called if it is no layer."""
    layer: LayerRef | None
    call: Span
    """Where it writes into the value."""
    read: Span
    """The sum that reads the value after that."""
    read_text: str
    unchanged: bool
    """The value is known to be what the operation would make of it: relu of what is never negative."""
    grad: bool | None
    """Gradients are recorded; None when not known."""
