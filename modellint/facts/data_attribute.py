"""A read of `.data`."""

from __future__ import annotations

from dataclasses import dataclass

from modellint.facts.span import Span


@dataclass(frozen=True, slots=True)
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
