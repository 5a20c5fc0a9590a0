"""Predictions that a loop gathered, compared with an array of the dataset."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class PredictionOrder:
    """One comparison after a loop over a loader."""

    place: Span
    """The comparison."""
    labels: str
    """The array as written: `test_set.targets`."""
    loader_place: Span
    """Where the loader is made."""
    shuffled: bool
    """The loader has `shuffle=True` for sure."""
    order_kept: bool
    """Something there sorts, or keeps indices: the order may be restored."""
    in_test_suite: bool
    run: RunEvidence | None = None
