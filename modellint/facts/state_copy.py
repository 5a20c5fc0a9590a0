"""A state dict that is kept while the model goes on training."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class StateCopy:
    """One `state_dict()` whose tensors were still there at the end of the training, and still the model's own."""

    place: Span
    """The call of `state_dict()`."""
    text: str
    """`model.state_dict()`."""
    model: ModelRef
    later_steps: int
    """Optimizer steps of the model after the call."""
    used_at_once: bool
    """The next statements save or load it: that it lives on does not matter."""
    used_later: bool
    """Its variable is loaded, saved, returned or stored somewhere; False for a name that is only looked at."""
    used_place: Span | None = None
    """Where it is loaded, saved or returned after those steps."""
    run: RunEvidence | None = None
