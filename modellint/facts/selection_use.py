"""A score on held-out data that decides what is kept of a training."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class SelectionUse:
    """One test of a score, in a loop that trains, that guards a save or the end of the training."""

    place: Span
    """The comparison."""
    text: str
    """`accuracy > best`."""
    action: str
    """What it guards, as written: `torch.save`, `break`."""
    action_place: Span
    held_out: str
    """What shows that the data are a test split: `train=False`, `split="test"`."""
    data_place: Span
    """Where the dataset is made."""
    final_test: bool
    """Another dataset is evaluated besides."""
    on_purpose: bool
    """A name says that it is a benchmark's convention, or folds are made."""
    in_test_suite: bool
    run: RunEvidence | None = None
