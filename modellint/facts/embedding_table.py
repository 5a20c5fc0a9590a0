"""An embedding with a padding index, as training finds it."""

from __future__ import annotations

from modellint.facts.model import LayerRef, ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class EmbeddingTable:
    """One trainable nn.Embedding with a `padding_idx`."""

    place: Span
    model: ModelRef
    layer: LayerRef
    padding_index: int | None
    """None: it has none, and an initialisation that meant its row has zeroed the whole table."""
    largest: float | None
    """The largest absolute value in the row of the padding index before the first step; None when no run saw it."""
    may_be_loaded: bool
    """The program loads weights from somewhere: the row may come from there."""
    filled_place: Span | None = None
    """The write that filled it, in code."""
    fill_text: str = ""
    run: RunEvidence | None = None
