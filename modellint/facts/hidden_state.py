"""A state that a module prepares for its recurrent layer."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class HiddenState:
    """An attribute that is filled with zeros or the like, in a module that calls a recurrent layer.

    Or an argument of its forward that is replaced by the state which the layer returns.
    """

    model: ModelRef
    attribute: str
    prepared: Span
    """Where it is filled."""
    layer: LayerRef
    call: Span
    call_text: str
    given: bool
    """Some call of a recurrent layer gets a state, or it was not followed whether it does."""
    read: bool
    """Code reads the attribute, otherwise than to detach or refill it; not looked into where a state is given."""
    rewritten: bool
    """The recurrent layer's own state is put into it."""
    reset_outside: Span | None
    """Where code outside of the class refills it."""
    argument: bool = False
    """It is no attribute but an argument of forward, which the state that the layer returns replaces unread."""
