"""An optimizer that a loop makes anew for the same model."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


@record
class OptimizerRebuild:
    """One construction of an optimizer in every round of a loop, each time for all that the last one held."""

    place: Span
    optimizer: OptimizerRef
    model: ModelRef
    loop: Span
    """The loop's header."""
    each_batch: bool
    """The loop runs over batches: each optimizer makes one step. Else it runs over epochs."""
    step_place: Span
    momentum: bool
    """It keeps something from step to step: everything but plain SGD does."""
    settings_change: bool
    """Its settings differ from round to round: a schedule, a restart."""
    weights_change: bool
    """The weights are loaded or initialised again in the loop: a new training begins each time."""
