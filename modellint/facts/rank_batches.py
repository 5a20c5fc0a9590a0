"""The batches that the ranks of a process group train on, as sums over their bits."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class RankBatches:
    """One model under DistributedDataParallel. Made on rank 0 only, when every rank has reported."""

    model: ModelRef
    place: Span
    """Its first training forward."""
    world_size: int
    equal: int
    """Steps at which the batches of all ranks were equal."""
    distinct: int
    """Different batches among these."""
    compared: int
    run: RunEvidence | None = None
    loader: str = ""
    """From the source: the loader that feeds it, whose data nothing divides between the ranks."""
    loader_place: Span | None = None
