"""A call of `load_state_dict` on a module."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class StateLoad:
    """Weights are read into a module."""

    place: Span
    text: str
    """`model.load_state_dict`."""
    model: str
    """The receiver as written."""
    given: str
    """The state dict as written."""
    strict: object
    """The constant given, None when nothing is given, UNKNOWN (see `torch_call`) when it was not followed."""
    result_dropped: bool
    """Nobody reads which keys were missing and which unexpected."""
    changed: bool
    """Keys of the state dict were taken out, renamed or chosen before, or it was not followed."""
