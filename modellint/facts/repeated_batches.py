"""Batches of different workers that are equal in every bit."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class RepeatedBatches:
    """One loop over a loader with several workers whose batches repeat within a round."""

    place: Span
    """The loader in the loop's header."""
    text: str
    """As written there: `train_loader`."""
    workers: int
    pairs: int
    """Batches that are equal to an earlier one of the same round."""
    batches: int
    """Batches of which a sum was taken."""
    run: RunEvidence | None = None
    cause: str = ""
    """From the source: `kept` for a generator that the dataset keeps, `seeded` for a worker_init_fn with one seed."""
    generator: str = ""
    """From the source: `self.draw`, or the call that seeds: `np.random.seed(0)`."""
    generator_place: Span | None = None
