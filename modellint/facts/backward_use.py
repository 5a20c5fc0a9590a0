"""A call of backward that trains nothing: what it starts from, and which optimizer gets no gradient by it."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


@record
class BackwardUse:
    """One call of backward before the step of an optimizer whose parameters never got a gradient."""

    place: Span
    text: str
    """`loss.backward()`."""
    loss: str
    """`loss`."""
    leaf: bool
    """It starts from a tensor that no operation made: `torch.tensor(value, requires_grad=True)`."""
    optimizer: OptimizerRef
    model: ModelRef
    """The model whose parameters that optimizer holds; it ran with gradients."""
    model_place: Span | None
    """The call of the model."""
    run: RunEvidence | None = None
    cut: str = ""
    """From code: the operation that ends the last way to these parameters, `loss.item()`; empty if none was seen."""
    cut_place: Span | None = None
    decides: bool = False
    """That operation picks, compares or rounds: it has no gradient at all, or none but zero."""
