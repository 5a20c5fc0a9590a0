"""The values that reach a loss whose graph is opaque: a few batches are read, and only what they prove is said."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from modellint.facts.loss_use import Expects, OutputKind
from modellint.runtime import value_read

_MOST_READS = 8
_BATCHES = 3
_VALUES = 256
_SUM_TOLERANCE = 1e-3
_ABOVE_ZERO = 1e-2
"""A log-softmax may round to a little more than 0."""


@dataclass(slots=True)
class ValueRange:
    """What was read of the input of one loss."""

    expects: Expects
    batches: int = 0
    values: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    off_one: float = 0.0
    """The largest distance of a sum over the classes from 1."""

    def read(self, given: torch.Tensor, axis: int | None) -> None:
        """Read one more batch, if more are needed. `axis` is that of the classes, the last one where it is None."""
        if self.batches >= _MOST_READS or (self.batches >= _BATCHES and self.values >= _VALUES):
            return
        if not value_read.may_read(given):
            return
        with value_read.reading():
            found = given.detach().float()
            sums = found.sum(-1 if axis is None else axis)
            low, high, off = value_read.numbers([found.min(), found.max(), (sums - 1).abs().max()])
        self.batches += 1
        self.values += given.numel()
        self.low, self.high, self.off_one = min(self.low, low), max(self.high, high), max(self.off_one, off)

    @property
    def exact(self) -> bool:
        """No log-probability is above 0."""
        return self.expects is Expects.LOG_PROBABILITIES and self.high > _ABOVE_ZERO

    def kind(self) -> OutputKind:
        """What the values can only be; UNKNOWN where they may be something else."""
        distribution = self._enough() and self._in_unit_range() and self.off_one <= _SUM_TOLERANCE
        if distribution and self.expects is not Expects.PROBABILITIES:
            return OutputKind.DISTRIBUTION
        return OutputKind.LOGITS if self.exact and not self._in_unit_range() else OutputKind.UNKNOWN

    def reason(self) -> str:
        """Why the kind is not known."""
        if self._enough() and self._in_unit_range():
            return f"made inside of compiled or checkpointed code, always in [{self.low:.3f}, {self.high:.3f}]"
        return "made inside of compiled or checkpointed code"

    def numbers(self) -> tuple[tuple[str, float], ...]:
        return (("lowest", self.low), ("highest", self.high), ("batches", float(self.batches)))

    def _enough(self) -> bool:
        return self.batches >= _BATCHES and self.values >= _VALUES

    def _in_unit_range(self) -> bool:
        return self.low >= 0 and self.high <= 1
