"""A value that a statement makes and drops, or a method that is named where its result is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from modellint.facts.span import Span


@dataclass(frozen=True, slots=True)
class DiscardedValue:
    """`model.eval` as a statement, or `model.state_dict` given to `torch.save`."""

    place: Span
    text: str
    """`model.eval`."""
    receiver: str
    receiver_kind: str
    """`module`, `optimizer`, `scheduler`, `tensor`, `scaler`."""
    attribute: str
    """`eval`."""
    given_to: str | None
    """The function that wanted its result: `torch.save`; None for a statement."""
    given_place: Span | None
