"""A value that a statement makes and drops, or a method that is named where its result is wanted."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
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
    role: str = ""
    """Empty: a method without its call. `tensor`, `layer`: a call whose result a statement drops. `unread`: a name
    that holds such a result and is never read. `context`, `class`: a context that is never entered, or entered for
    the construction of the class that it decorates only."""
    known: bool = False
    """What was to change is a tensor for sure."""
    read_later: bool = False
    """What was to change is read afterwards, unchanged."""
    excused: bool = False
    """The code around times it, expects it to fail, or shows its result."""
    name: str = ""
    """Of an `unread` one: the name."""
