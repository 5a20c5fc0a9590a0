"""Optimizers that never step although backward after backward reaches their parameters."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import Event, EventKind, OptimizerRef, PassCount, TrainingLoop
from modellint.runtime import value_read
from modellint.runtime.call_site import Site, assigned_name
from modellint.runtime.gradient_calls import is_scaled
from modellint.runtime.live_optimizers import live_optimizers
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, RootCall, Session

_ENOUGH = 3
_MOST_CHECKSUMS = 8


@dataclass(slots=True)
class _Received:
    """A parameter that received gradients before any of its optimizers has stepped."""

    ref: weakref.ref[torch.Tensor]
    version: int
    times: int = 0
    site: Site | None = None
    checksum: int | None = None
    """Of its values at the second backward: `p.data -= ...` leaves the version where it was."""
    changed: bool = False
    """Something wrote to it since the first backward."""

    def look(self, parameter: torch.Tensor) -> None:
        """Compare it with what it was."""
        self.changed = self.changed or parameter._version != self.version
        if self.checksum is not None and not self.changed:
            self.changed = value_read.checksum([parameter]) != self.checksum


class UnsteppedOptimizerObserver(Observer):
    """Makes a TrainingLoop without a step of every optimizer that was needed and never stepped."""

    makes = (TrainingLoop,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._stepped: set[int] = set()
        self._received: dict[int, _Received] = {}
        self._checksums = 0
        self._training: set[int] = set()
        self._scaled = False
        self._found: list[tuple[OptimizerRecord, Site, int]] = []

    def quiet_events(self) -> frozenset[str]:
        return frozenset({"backward_begins", "step_begins"}) if self._received else frozenset()

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if call.training and call.grad:
            self._training.add(call.root.key)

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        # A GradScaler may have skipped every step so far.
        if self._received and not self._scaled:
            self._scaled = any(is_scaled(tensor) for tensor in tensors)

    def accumulated(self, parameter: torch.Tensor) -> None:
        key = id(parameter)
        if key in self._stepped or self.session.backward_depth != 1:
            return
        received = self._received.get(key)
        if received is None or received.ref() is not parameter:
            received = self._received[key] = _Received(weakref.ref(parameter), parameter._version)
        received.times += 1
        received.site = self.session.backward_site
        if received.changed or received.times < _ENOUGH - 1:
            return
        if received.times >= _ENOUGH:
            received.look(parameter)
        elif self._checksums < _MOST_CHECKSUMS and value_read.may_read(parameter):
            self._checksums += 1
            received.checksum = value_read.checksum([parameter])

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        if record.steps and not self._received:
            return
        self._stepped.update(record.held)
        for key in record.held:
            self._received.pop(key, None)

    def closing(self) -> None:
        waiting = {key: one for key, one in self._received.items() if self._waits(key, one)}
        if not waiting or self._scaled:
            return
        known = [record for record in self.session.all_optimizers() if not record.steps]
        if not any(record.held.get(key) is one.ref for record in known for key, one in waiting.items()):
            for optimizer in live_optimizers():
                if id(optimizer) not in self.session.optimizers:
                    record = self.session.optimizer_of(optimizer, None, built=False)
                    self.session.look_at_optimizer(record, optimizer)
                    known.append(record)
        for record in known:
            own = {key: one for key, one in self._received.items() if record.held.get(key) is one.ref}
            site = next((one.site for key, one in own.items() if key in waiting and one.site is not None), None)
            if site is not None and own.keys() <= waiting.keys():
                self._found.append((record, site, max(one.times for one in own.values())))

    def _waits(self, key: int, received: _Received) -> bool:
        """It received three gradients or more in training, and never changed."""
        parameter = received.ref()
        if parameter is not None:
            received.look(parameter)
        if received.changed or received.times < _ENOUGH:
            return False
        roots = (root.parameters.get(key) for root in self.session.all_roots() if root.key in self._training)
        return any(record is not None and record.ref is received.ref for record in roots)

    def facts(self) -> Iterator[object]:
        for record, site, times in self._found:
            place = record.site.span() if record.site is not None else None
            name = assigned_name(record.site) if record.site is not None else ""
            backward = Event(EventKind.BACKWARD, site.span(), site.text(), (record.key,))
            yield TrainingLoop(
                place=backward.place,
                passes=((backward,),),
                complete=True,
                optimizers=(OptimizerRef(record.key, name or record.kind, record.kind, place),),
                cleared_outside=(),
                framework=None,
                run=RunEvidence(times, times, 0, "backwards"),
                counts=(PassCount(times, 0),),
            )
