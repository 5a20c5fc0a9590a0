"""The passes through a loop body, each an ordered list of what happens in it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from modellint.facts.record import record
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


@record
class Event:
    """One event of a pass."""

    kind: EventKind
    place: Span
    text: str
    """The user's expression: `optimizer.step()`."""
    optimizers: tuple[int, ...]
    """The optimizers it concerns: the one that steps; those whose parameters are cleared or receive gradients."""
    scaled: bool = False
    """BACKWARD: of a loss that a GradScaler multiplied. CLIP: of gradients that still carry its scale. From code also
    OPTIMIZER_STEP: by `scaler.step(optimizer)`."""
    sure: bool = True
    """From code, False: something else may be meant; a BACKWARD or CLIP is scaled only where the scaler is on."""


@record
class OptimizerRef:
    """One optimizer object."""

    key: int
    text: str
    kind: str
    """`AdamW`; empty for a parameter of an uncalled function."""
    place: Span | None
    fresh: bool = False
    """Each round of the loop makes its own, in whatever function."""


@record
class ScalerRef:
    """A GradScaler that steps an optimizer of a loop, and what the whole program does with it."""

    text: str
    optimizer: int
    """The key of the optimizer."""
    step: Span
    scales: bool
    """The gradients of the step carry its scale, or may."""
    updates: bool
    on: bool
    """It is known to be enabled."""
    complete: bool
    """All that happens to it was followed."""


@record
class Accumulation:
    """A step under `i % n`, while backward runs in the passes between as well."""

    optimizer: int
    step: Span
    backward: Span
    period: str
    """The `n` of the code."""
    number: int | None
    cleared: bool
    """Every pass with that backward clears the gradients before it."""
    mean: bool
    """The loss is known to be a mean over its batch, as it is when backward runs."""
    weighed: bool
    """`n` is used elsewhere, or the loss is divided or multiplied by something."""
    framework: bool
    """A framework runs backward."""


@record
class PassCount:
    """How often a live run went through a pass."""

    times: int
    first_step: int
    """How many optimizer steps had ended when it first came."""


@record
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
    counts: tuple[PassCount, ...] = ()
    """From a run: how often each of `passes` came. They begin after a step and end with the next one."""
    start: tuple[Event, ...] = ()
    """The steps of schedulers before the first step of the optimizer, and that; empty if not seen."""
    when: str = ""
    """From code: what holds in these rounds of the loops around it: "`epoch == 0` is false"."""
    scalers: tuple[ScalerRef, ...] = ()
    accumulations: tuple[Accumulation, ...] = ()

    def count(self, shows: Callable[[tuple[Event, ...]], object]) -> PassCount:
        """From a run: how often a pass came that shows something, and when first; (0, 0) for never."""
        counts = [count for events, count in zip(self.passes, self.counts, strict=False) if shows(events)]
        return PassCount(sum(c.times for c in counts), min((c.first_step for c in counts), default=0))

    def evidence(self, count: PassCount) -> dict[str, object]:
        """For a finding that is about a part of the passes only."""
        watched = sum(one.times for one in self.counts)
        return {"times": count.times, "watched": watched, "first_step": count.first_step}
