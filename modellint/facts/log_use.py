"""A logarithm of something for whose logarithm torch has a function of its own."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.span import Span


@record
class LogUse:
    """`torch.log(torch.softmax(x, dim=1))`."""

    place: Span
    text: str
    """The call of the logarithm."""
    of: str
    """`softmax`, `sigmoid`, `sum of exp`."""
    made_place: Span | None
    """What makes the argument, where that is another statement."""
    single_use: bool
    """The argument is made in this expression, or held by a local name that nothing else reads."""
    recorded: bool
    """Gradients are recorded there."""
    double: bool
    """It is computed in float64, as the code around says."""
