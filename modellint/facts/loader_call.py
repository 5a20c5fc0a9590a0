"""One construction of a DataLoader: the arguments that exclude each other, and what its workers read."""

from __future__ import annotations

from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class IterableRead:
    """What an IterableDataset of the project does in each worker."""

    class_name: str
    place: Span
    """Its `__iter__`."""
    source: str
    """What it runs over, as written: `open(self.path)`."""
    source_place: Span
    divides: bool | None
    """It asks for the worker or the rank anywhere; None when that was not followed."""
    endless: bool
    """It never ends, or draws its samples: nothing is repeated in an epoch."""


@record
class LoaderCall:
    """One call of `DataLoader`. What is not known for sure counts as not given."""

    place: Span
    text: str
    """The callee as written."""
    sampler: str
    """The argument `sampler` as written where it is a sampler for sure, else empty."""
    batch_sampler: str
    """The same of `batch_sampler`."""
    shuffle: bool
    """`shuffle=True` is given as a constant."""
    shuffle_place: Span | None
    others: tuple[tuple[str, Span], ...]
    """Of `batch_size` and `drop_last`: what is given with another constant than its default."""
    workers: int | None
    """`num_workers`, None when it is not known."""
    initialised: bool
    """It has a `worker_init_fn`, or may have one."""
    iterable: IterableRead | None
    in_test_suite: bool
    run: RunEvidence | None = None
