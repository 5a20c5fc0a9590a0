"""A learning-rate scheduler: what its sizes count, and where it is stepped."""

from __future__ import annotations

from enum import Enum

from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.facts.training_loop import OptimizerRef


class Interval(Enum):
    """What happens between two steps of a schedule."""

    BATCH = "batch"
    EPOCH = "epoch"
    UNKNOWN = "unknown"


@record
class SchedulePlace:
    """A place that steps the scheduler."""

    place: Span
    text: str
    interval: Interval
    """BATCH: in the loop that steps the optimizer, inside of a loop over epochs. EPOCH: in that outer loop."""
    always: bool
    """Every pass of its loop comes there."""


@record
class SchedulerSetup:
    """One scheduler of a program that was followed to its end."""

    place: Span
    text: str
    kind: str
    """`StepLR`."""
    optimizer: OptimizerRef | None
    trains: bool
    """Its optimizer steps in a loop."""
    other: OptimizerRef | None
    """Another optimizer that steps over the same parameters, while its own never does."""
    other_step: Span | None
    steps: tuple[SchedulePlace, ...]
    untouched: bool
    """Nothing at all is done with it: no step, not passed on, returned, stored or saved."""
    counts: Interval
    """What its sizes count, as far as the code shows."""
    shown: str
    """What shows it: "`T_max=epochs` is the number of epochs"."""
    framework: str | None
