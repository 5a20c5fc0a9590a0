"""Backward calls of a run that give an optimizer nothing to step on.

An optimizer is suspected when, since its last step, a backward ran and a model of its parameters ran with gradients,
but no gradient arrived at any of the tensors that it holds. Only one that never received a gradient is reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from modellint.facts.backward_use import BackwardUse
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import OptimizerRef
from modellint.runtime.call_site import Site
from modellint.runtime.models import model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, RootCall, RootRecord, Session, Window

_LEAST_PASSES = 2


@dataclass(slots=True, eq=False)
class _Reach:
    """What the backwards before the steps of one optimizer reached."""

    record: OptimizerRecord
    last: int
    """The moment of its last step."""
    passes: int = 0
    """Steps after a forward with gradients and a backward."""
    missed: int = 0
    """Those of them before which none of its parameters received a gradient."""
    leaves: int = 0
    """Those of them in which the backward started from a leaf."""
    first_step: int = 0
    site: Site | None = None
    root: RootRecord | None = None
    forward: Site | None = None


class BackwardUseObserver(Observer):
    """Makes a BackwardUse of every optimizer whose parameters never receive a gradient."""

    makes = (BackwardUse,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._now = 0
        """Counts events; what is later has the larger number."""
        self._unseen = 0
        """The end of the last window that was not traced."""
        self._gradients: dict[int, int] = {}
        """By id of a parameter: when it last received a gradient."""
        self._forwards: dict[int, tuple[int, RootCall]] = {}
        """By key of a root: when it last ran with gradients."""
        self._backward = self._leaf = 0
        self._site: Site | None = None
        self._reaches: dict[int, _Reach] = {}

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if call.grad:
            self._now += 1
            self._forwards[call.root.key] = self._now, call

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        self._now += 1
        self._backward = self._now
        if site is None:
            return
        self._site = site
        if any(isinstance(one, torch.Tensor) and one.grad_fn is None and not self._is_held(one) for one in tensors):
            self._leaf = self._now

    def _is_held(self, tensor: torch.Tensor) -> bool:
        return any(record.holds(tensor) for record in self.session.optimizers.values())

    def accumulated(self, parameter: torch.Tensor) -> None:
        self._gradients[id(parameter)] = self._now

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        self._now += 1
        if not window.traced:
            self._unseen = self._now
        reach = self._reaches.setdefault(record.key, _Reach(record, self._now))
        since, reach.last = reach.last, self._now
        if since == self._now or since < self._unseen or self._backward <= since:
            return  # its first step, something was not seen, or no backward at all
        reached = any(self._gradients.get(key, 0) > since for key in record.held)
        if reached:
            reach.passes += 1
            return
        call = self._forward_since(record, since)
        if call is None or not self._may_train(record) or self._belongs_to_nobody(since):
            return
        reach.passes += 1
        reach.missed += 1
        reach.leaves += self._leaf > since
        if reach.site is None:
            reach.first_step, reach.site, reach.root, reach.forward = window.number, self._site, call.root, call.site

    def _forward_since(self, record: OptimizerRecord, since: int) -> RootCall | None:
        """The last forward with gradients of a model whose parameters the optimizer holds."""
        found = [
            (moment, call)
            for moment, call in self._forwards.values()
            if moment > since and any(key in record.held for key in call.root.parameters)
        ]
        return max(found, key=lambda pair: pair[0])[1] if found else None

    def _may_train(self, record: OptimizerRecord) -> bool:
        """It holds something that wants a gradient, and no gradient was put there by hand."""
        tensors = [tensor for tensor in (ref() for ref in record.held.values()) if tensor is not None]
        return any(tensor.requires_grad for tensor in tensors) and all(tensor.grad is None for tensor in tensors)

    def _belongs_to_nobody(self, since: int) -> bool:
        """A gradient arrived at a parameter that no optimizer holds: then the optimizer was given the wrong ones."""
        held = {key for record in self.session.optimizers.values() for key in record.held}
        return any(moment > since and key not in held for key, moment in self._gradients.items())

    def facts(self) -> Iterator[object]:
        for reach in self._reaches.values():
            if reach.missed < _LEAST_PASSES or reach.missed < reach.passes:
                continue
            record, root, site = reach.record, reach.root, reach.site
            if root is None or site is None:
                continue
            if root.wrapper.startswith("FullySharded"):
                self.session.out_of_sight(root.text(), "its parameters are flattened by FSDP", "detached-loss")
                continue
            yield BackwardUse(
                place=site.span(),
                text=site.text(),
                loss=site.receiver(),
                leaf=reach.leaves == reach.missed,
                optimizer=OptimizerRef(
                    record.key, record.text(), record.kind, record.site.span() if record.site is not None else None
                ),
                model=model_ref(self.session, root, complete=True),
                model_place=reach.forward.span() if reach.forward is not None else None,
                run=RunEvidence(reach.missed, reach.passes, reach.first_step, "passes", root=root.key),
            )
