"""A DataLoader as its loops use it."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class LoaderSetup:
    """One loop over a loader, all its rounds together."""

    place: Span
    """The loader in the loop's header."""
    text: str
    """As written there: `train_loader`."""
    sampler: str
    """Class name of the sampler."""
    sequential: bool
    """Each round has the samples in the order of the dataset."""
    distributed_shuffle: bool
    """torch's DistributedSampler with `shuffle=True`, which draws its order from its seed and its epoch."""
    epochs: int
    """Rounds that trained: the first forward was one in train mode, and at least two steps followed."""
    sampler_epochs: tuple[int, ...]
    """`sampler.epoch` at the start of each of them."""
    steps: int
    """Optimizer steps in these rounds."""
    shuffled_otherwise: bool
    """The dataset draws its samples itself, or is a subset with an order of its own."""
    ordered_on_purpose: bool
    """The model that it feeds is recurrent: the order of the samples may matter."""
    run: RunEvidence | None = None
    epoch_variable: str = ""
    """From the source: what counts the rounds of the loop around, an int."""
    sampler_text: str = ""
    """From the source: the name that the sampler was given."""
