"""What a probe measured: an experiment on a copy of a model, made by `inspect` and never in somebody's training."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class BatchLeak:
    """In eval mode the output of one sample depends on another sample of its batch."""

    affected: int
    """Which sample's output, by its position in the batch that was tried."""
    changed: int
    """Which other sample it depends on."""
    batch: int
    """How many samples the batch had."""
    change: float
    """The largest derivative by the other sample (or difference after it was replaced), over that by its own."""
    by_gradient: bool
    """Seen in the gradient; otherwise by replacing a sample of integers."""
    exact: bool
    """Seen again in double precision; False when the model does not run in it."""
    layer: LayerRef | None
    """The first layer whose output mixes samples while its input does not; None when that is the model's own forward,
    or was not found."""


@record
class FirstLoss:
    """The cross entropy of one batch before any step."""

    value: float
    classes: int
    samples: int
    """Targets that count, those of `ignore_index` left out."""


@record
class OverfitTrial:
    """A training on one small batch, dropout off."""

    first: float
    """The loss of the first step."""
    lowest: float
    """The lowest loss of any step."""
    steps: int
    samples: int
    optimizer: str
    """Its class: `Adam`."""


@record
class ProbeRecord:
    """The outcome of one probe; the fields of the others are None."""

    model: ModelRef
    place: Span
    """The definition that it is about; where there is none, the call of `inspect`."""
    leak: BatchLeak | None = None
    first_loss: FirstLoss | None = None
    overfit: OverfitTrial | None = None
    run: RunEvidence | None = None
