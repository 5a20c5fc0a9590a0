"""How many samples the arguments of a model's forward hold, over the training calls that were traced."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class InputSize:
    """One tensor argument."""

    name: str
    """The name of forward's parameter: `ids`."""
    shape: tuple[int, ...]
    """Of the last call that was seen."""
    broadcast: int
    """Calls in which it held one sample while the output held several, and no other axis of it was the batch."""
    same_object: bool
    """It was one and the same tensor in every call."""
    boolean: bool
    """It holds truth values: a mask."""
    integer: bool
    """It holds integers: ids, positions."""


@record
class InputRecord:
    """The tensor arguments of one model. Made by a run, of selected rules only."""

    place: Span
    """The training call."""
    model: ModelRef
    inputs: tuple[InputSize, ...]
    batch: int
    """How many samples the output of the last such call held."""
    calls: int
    """Training calls whose output held more than one sample."""
    run: RunEvidence | None = None
