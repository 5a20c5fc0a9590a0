"""A read of `.data`."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class DataAttribute:
    """`x.data` of a tensor that a model or an operation made; parameters are not among them."""

    place: Span
    text: str
    """`loss.data`."""
    receiver: str
    in_forward: bool
    """In a forward of a module."""
    read_as_number: bool
    """`loss.data.item()`."""
