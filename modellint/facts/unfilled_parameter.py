"""A parameter made of uninitialised memory."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span


@record
class UnfilledParameter:
    """One `nn.Parameter(torch.empty(...))` that forward reads and that nothing had filled by then."""

    place: Span
    text: str
    """`nn.Parameter(torch.empty(dim))`."""
    model: ModelRef
    name: str
    """Dotted path from the model: `encoder.scale`."""
    owner: str
    """The class whose attribute it is."""
    may_be_filled: bool
    """Code that was not run here (another method, another file) may fill it."""
    in_test_suite: bool
