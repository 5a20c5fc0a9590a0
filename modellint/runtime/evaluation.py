"""Which forwards of a window were an evaluation.

A *stretch* is a part of a window in which no forward served a backward. A root that ran on two or more different
inputs within one stretch was evaluated there; one that ran several times on each input was sampled from (Monte Carlo
dropout).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from modellint.runtime.call_site import Site
from modellint.runtime.forward_fate import Fate, Forward

_MOST_INPUTS = 4096
EVALUATING = ("sanity", "validate", "test", "predict")
"""The phases of a caller that are evaluation."""


@dataclass(slots=True, eq=False)
class Tally:
    """Forwards of one root at one call, in one mode, with or without a graph."""

    root: int
    site: Site
    training: bool
    graph: bool
    first_step: int
    active: tuple[Any, ...] = ()
    count: int = 0
    taken: int = 0
    """How often a loss without parameters was given the output."""
    merged: Tally | None = None

    def add(self, forward: Forward) -> None:
        self.count += 1
        self.active = self.active or forward.active
        forward.tally = self

    def take_back(self, forward: Forward) -> None:
        """A forward turned out to serve the training of another model."""
        if self.merged is not None:
            self.merged.take_back(forward)
        else:
            self.count -= 1

    def loss_took(self) -> None:
        if self.merged is not None:
            self.merged.loss_took()
        else:
            self.taken += 1

    def merge(self, other: Tally) -> None:
        self.count += other.count
        self.taken += other.taken
        self.active = self.active or other.active
        self.first_step = min(self.first_step, other.first_step)
        other.merged = self


@dataclass(slots=True, eq=False)
class _Inputs:
    """What one root was given in one stretch."""

    forwards: int = 0
    distinct: set[object] = field(default_factory=set)
    given: bool = False
    """A caller said that it is an evaluation."""

    def evaluated(self) -> bool:
        return self.given or (len(self.distinct) >= 2 and self.forwards < 2 * len(self.distinct))


class Stretch:
    """The forwards between two that served a backward."""

    def __init__(self) -> None:
        self.tallies: dict[tuple[object, ...], Tally] = {}
        self._inputs: dict[int, _Inputs] = {}

    def add(self, forward: Forward) -> None:
        if forward.site is None or forward.under == "train":
            return
        graph = forward.fate is Fate.DROPPED
        key = (forward.root, forward.site, forward.training, graph)
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally(forward.root, forward.site, forward.training, graph, forward.step)
        tally.add(forward)
        if forward.taken:
            tally.taken += 1
        inputs = self._inputs.setdefault(forward.root, _Inputs())
        inputs.given |= forward.under in EVALUATING
        if len(inputs.distinct) < _MOST_INPUTS:
            inputs.forwards += 1
            inputs.distinct.add(forward.inputs)

    def merge(self, other: Stretch) -> None:
        for key, tally in other.tallies.items():
            if key in self.tallies:
                self.tallies[key].merge(tally)
            else:
                self.tallies[key] = tally
        for root, inputs in other._inputs.items():
            mine = self._inputs.setdefault(root, _Inputs())
            mine.forwards += inputs.forwards
            mine.distinct |= inputs.distinct
            mine.given |= inputs.given

    def evaluations(self) -> Iterator[tuple[Tally, bool]]:
        """What was evaluated, and whether a caller said so."""
        for tally in self.tallies.values():
            inputs = self._inputs[tally.root]
            if tally.count > 0 and inputs.evaluated():
                yield tally, inputs.given


class _Break:
    """A forward that served a backward, or of which that is not known."""


_BREAK = _Break()


@dataclass(slots=True, eq=False)
class SeenWindow:
    """The forwards of one window, in order: finished ones are counted, the others wait."""

    number: int
    traced: bool
    items: list[Forward | Stretch | _Break] = field(default_factory=list)
    trained: dict[int, list[Forward]] = field(default_factory=dict)
    """By root: a training forward in train mode and one in eval mode, as far as there were such."""
    stepped: frozenset[int] = frozenset()
    """The roots of which the step that ended it holds parameters."""
    backwards: int = 0

    def append(self, forward: Forward) -> None:
        if forward.fate is not Fate.NO_GRAPH:
            self.items.append(forward)
            return
        last = self.items[-1] if self.items else None
        if not isinstance(last, Stretch):
            last = Stretch()
            self.items.append(last)
        last.add(forward)

    def pending(self) -> bool:
        return any(isinstance(item, Forward) and item.fate is Fate.PENDING for item in self.items)

    def fold(self, unclear: Callable[[Forward], bool], *, final: bool = False) -> list[Forward]:
        """Count what is finished. With `final` all is, and the forwards that still waited are returned."""
        items: list[Forward | Stretch | _Break] = []
        waiting: list[Forward] = []
        for item in self.items:
            last = items[-1] if items else None
            if isinstance(item, Stretch):
                if isinstance(last, Stretch):
                    last.merge(item)
                else:
                    items.append(item)
            elif isinstance(item, _Break):
                items.append(item)
            elif item.fate is Fate.DROPPED and not unclear(item):
                if not isinstance(last, Stretch):
                    last = Stretch()
                    items.append(last)
                last.add(item)
            elif item.fate is Fate.PENDING and not final:
                items.append(item)
            elif item.fate is not Fate.SERVED:
                if item.fate is Fate.PENDING:
                    waiting.append(item)
                elif item.fate is Fate.TRAINED:
                    self._note_trained(item)
                if not isinstance(last, _Break):
                    items.append(_BREAK)
        self.items = items
        return waiting

    def _note_trained(self, forward: Forward) -> None:
        known = self.trained.setdefault(forward.root, [])
        if all(other.training is not forward.training for other in known):
            known.append(forward)

    def stretches(self) -> list[Stretch]:
        return [item for item in self.items if isinstance(item, Stretch)]
