"""A model that several processes train: what keeps its copies equal, and whether they are."""

from __future__ import annotations

from modellint.facts.model import ModelRef
from modellint.facts.record import record
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span


@record
class Bypass:
    """Backwards through the model that its wrapper did not prepare."""

    place: Span
    """The call of the inner module."""
    text: str
    """What is called there: `model.module`; empty where the source does not tell."""
    times: int
    first_step: int
    """How many optimizer steps had ended before the first one."""


@record
class RankRecord:
    """The copy of one rank."""

    rank: int
    checksums: tuple[tuple[int, int], ...]
    """A sum over the bits of its weights, by the number of steps that had ended."""


@record
class DistributedSetup:
    """One model that is trained in a process group of two or more. Made on rank 0 only."""

    model: ModelRef
    place: Span
    """Its first training forward."""
    wrapper: str
    """`DistributedDataParallel` and the like, empty for a bare model."""
    wrapper_key: int
    """The same number in two facts means the same wrapper; 0 for none."""
    world_size: int
    ranks: tuple[RankRecord, ...]
    """Those that reported a copy of it."""
    bypass: Bypass | None = None
    complete: bool = True
    """The weights are meant to be equal on all ranks, as far as the run can know."""
    run: RunEvidence | None = None
    alone: bool = False
    """From the source: there is a process group, no wrapper, and nothing that could average the gradients."""

    def compared(self) -> tuple[tuple[int, bool], ...]:
        """The numbers of steps at which all copies were read, each with whether they differ."""
        if len(self.ranks) < 2:
            return ()
        sums = [dict(record.checksums) for record in self.ranks]
        steps = sorted(set(sums[0]).intersection(*sums[1:]))
        return tuple((step, len({one[step] for one in sums}) > 1) for step in steps)

    def differing(self) -> tuple[int, ...]:
        """The numbers of steps after which the copies differed."""
        return tuple(step for step, differs in self.compared() if differs)
