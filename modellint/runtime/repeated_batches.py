"""Batches that repeat within a round of a loader with several workers. Takes a sum of every batch that it sees.

A batch is what the first forward of a window gets, or what a loss compares with: the only places where a run sees data.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from modellint.facts.repeated_batches import RepeatedBatches
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime.call_site import Site
from modellint.runtime.graph import tensors_in
from modellint.runtime.loader_setup import iterated
from modellint.runtime.observer import Observer
from modellint.runtime.session import RootCall, Session
from modellint.runtime.value_read import checksum, may_compare

_FEWEST_NUMBERS = 32
_MOST_BATCHES = 1000


@dataclass(slots=True, eq=False)
class _Loop:
    """One loop over a loader with several workers."""

    site: Site
    workers: int
    first_step: int
    repeats: list[int] = field(default_factory=list)
    """Of each round: how many batches were equal to an earlier one."""
    batches: int = 0
    """Windows of which a batch was seen."""


@dataclass(slots=True, eq=False)
class _Batch:
    """One batch of the round that runs."""

    ref: weakref.ref[torch.Tensor]
    windows: list[int]
    """In which it came, each time as another object."""


class RepeatedBatchesObserver(Observer):
    """Makes a RepeatedBatches of every loop over several workers whose batches repeat."""

    makes = (RepeatedBatches,)
    functions = frozenset({
        functional.mse_loss, functional.l1_loss, functional.smooth_l1_loss, functional.huber_loss,
        functional.binary_cross_entropy, functional.binary_cross_entropy_with_logits,
    })  # fmt: skip

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._loops: dict[Site, _Loop] = {}
        self._loop: _Loop | None = None
        self._seen: dict[tuple[int, tuple[int, ...]], _Batch] = {}
        """By sum and shape, in the round that runs."""

    def loader_started(self, loader: Any, site: Site | None) -> None:
        workers = getattr(loader, "num_workers", 0)
        self._end_round()
        if site is not None and isinstance(workers, int) and workers > 1:
            self._loop = self._loops.setdefault(site, _Loop(site, workers, self.session.steps))

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._loop is not None and call.training and call.grad:
            for tensor in tensors_in(args):
                self._note(tensor)

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        if self._loop is not None:
            for tensor in tensors_in([*args, *kwargs.values()]):
                self._note(tensor)

    def _note(self, tensor: torch.Tensor) -> None:
        loop = self._loop
        if loop is None or tensor.requires_grad or not tensor.is_floating_point() or tensor.numel() < _FEWEST_NUMBERS:
            return
        if not may_compare(tensor) or len(self._seen) >= _MOST_BATCHES:
            return
        window = self.session.steps
        key = (checksum([tensor]), tuple(tensor.shape))
        known = self._seen.get(key)
        if known is None:
            self._seen[key] = _Batch(weakref.ref(tensor), [window])
        elif known.windows[-1] != window and known.ref() is not tensor:
            known.windows.append(window)
            known.ref = weakref.ref(tensor)

    def _end_round(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.batches += len({window for batch in self._seen.values() for window in batch.windows})
            # What comes in every window is no batch: fixed targets, a grid of positions.
            repeats = {tuple(b.windows) for b in self._seen.values() if 2 <= len(b.windows) <= loop.workers}
            if len(repeats) > 1:
                loop.repeats.append(sum(len(windows) - 1 for windows in repeats))
        self._seen.clear()

    def facts(self) -> Iterator[object]:
        self._end_round()
        for loop in self._loops.values():
            pairs = sum(loop.repeats)
            if pairs:
                place, text = iterated(loop.site)
                yield RepeatedBatches(
                    place=place,
                    text=text,
                    workers=loop.workers,
                    pairs=pairs,
                    batches=loop.batches,
                    run=RunEvidence(pairs, loop.batches, loop.first_step, "batches", likely=True),
                )
