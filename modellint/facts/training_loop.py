"""The passes through a loop body, each an ordered list of what happens in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


class EventKind(Enum):
    """What happened."""

    FORWARD = "FORWARD"
    LOSS = "LOSS"
    ZERO_GRAD = "ZERO_GRAD"
    BACKWARD = "BACKWARD"
    UNSCALE = "UNSCALE"
    CLIP = "CLIP"
    OPTIMIZER_STEP = "OPTIMIZER_STEP"
    SCHEDULER_STEP = "SCHEDULER_STEP"
    SCALER_UPDATE = "SCALER_UPDATE"
    UNKNOWN_CALL = "UNKNOWN_CALL"
    """A call that was not followed and received the optimizer, the loss or the model: anything may happen there."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a pass."""

    kind: EventKind
    place: Span
    text: str
    """The user's expression: `optimizer.step()`."""
    optimizers: tuple[int, ...]
    """The optimizers it concerns: the one that steps; those whose parameters are cleared or receive gradients."""


@dataclass(frozen=True, slots=True)
class OptimizerRef:
    """One optimizer object."""

    key: int
    text: str
    kind: str
    """`AdamW`; empty for a parameter of an uncalled function."""
    place: Span | None


@dataclass(frozen=True, slots=True)
class TrainingLoop:
    """An innermost loop that runs backward or an optimizer step, every path through its body."""

    place: Span
    """The loop's header."""
    passes: tuple[tuple[Event, ...], ...]
    complete: bool
    """Every path was followed; False when a bound was hit."""
    optimizers: tuple[OptimizerRef, ...]
    cleared_outside: tuple[Event, ...]
    """ZERO_GRAD events of the loops around it and of the code before it."""
    framework: str | None
    run: RunEvidence | None = None
