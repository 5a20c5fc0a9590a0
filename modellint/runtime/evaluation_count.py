"""How often each model was evaluated: what a report on a run begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from torch import nn

from modellint.runtime.observer import Observer
from modellint.runtime.session import RootCall, Session


class EvaluationCount(Observer):
    """Counts the forwards in eval mode or without gradients, by the key of their root. Makes no fact."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.evaluations: Counter[int] = Counter()

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not call.training or not call.grad:
            self.evaluations[call.root.key] += 1


def evaluations(observers: Iterable[Observer], roots: Collection[int]) -> int:
    """The evaluation forwards of some roots, by their keys."""
    counts = [observer.evaluations for observer in observers if isinstance(observer, EvaluationCount)]
    return sum(count[root] for count in counts for root in roots)
