"""A sampler that is built, and whose name nothing reads."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class UnusedSampler:
    """One assignment of a new sampler to a name that is never read."""

    place: Span
    """The call that builds it."""
    kind: str
    """`WeightedRandomSampler`."""
    name: str
    loader_place: Span
    """A DataLoader without a sampler in the same function."""
    run: RunEvidence | None = None
