"""A norm with running statistics, and how the training uses it."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class NormUse:
    """One norm that training forwards call in train mode: each of them moves its running statistics."""

    place: Span
    model: ModelRef
    layer: LayerRef
    momentum: float | None
    """The smallest that was seen in training; None for a cumulative average."""
    frozen_part: str
    """Dotted path of the outermost module around it of which every parameter is frozen; empty when there is none."""
    frozen_passes: int
    """In how many passes the norm and the module around it needed no gradient and kept their values."""
    adapter: bool
    """The model is trained by an adapter (LoRA and the like) beside frozen weights."""
    held_place: Span | None = None
    """Where code put this norm, by itself, in eval mode, before a `train()` of the whole switched it back."""
    run: RunEvidence | None = None
