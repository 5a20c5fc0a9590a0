"""Training loops from a run: the order of what happened between two steps, and gradients that were never cleared.

Whether gradients were cleared is seen by effect. After a step each parameter's `.grad` is remembered by identity and
version; when the next backward adds to the same object, and its version grew by that addition alone, nothing cleared
it. `p.grad.data.zero_()` hides from the version counter, so the first suspicion is confirmed by reading one gradient
at the entry of every backward until the next step.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import Event, EventKind, OptimizerRef, TrainingLoop
from modellint.runtime import torch_internals
from modellint.runtime.call_site import Site
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, Session, Window


@dataclass(slots=True)
class _Mark:
    """One parameter's gradient at one moment."""

    parameter: weakref.ref[torch.Tensor]
    gradient: weakref.ref[torch.Tensor]
    version: int


@dataclass(slots=True)
class _Clearing:
    """What is known about the gradients of one optimizer."""

    record: OptimizerRecord
    suspect: _Mark | None = None
    """A gradient that was added to without being cleared, since the last step."""
    before: _Mark | None = None
    """The same of the step before, if no backward since found it to be zero."""
    suspected_at: int = 0
    clears: bool = False
    """It was seen to be zero at a backward: the loop clears behind the version counter."""
    found: int = 0
    first_step: int = 0
    windows: int = 0
    """Traced windows in which its parameters received gradients."""
    last: dict[str, Site] = field(default_factory=dict)


class TrainingLoopObserver(Observer):
    """Makes a TrainingLoop of every optimizer that stepped in a traced window."""

    makes = (TrainingLoop,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._snapshots: dict[int, _Mark] = {}
        self._pending: dict[int, _Mark] = {}
        self._clearing: dict[int, _Clearing] = {}
        self._open: set[int] = set()
        self._backward_site: Site | None = None

    def accumulated(self, parameter: torch.Tensor) -> None:
        key = id(parameter)
        mark = self._snapshots.pop(key, None) or self._pending.pop(key, None)
        gradient = parameter.grad
        if mark is None or mark.parameter() is not parameter or gradient is None:
            return
        if gradient is mark.gradient() and gradient._version == mark.version + 1:
            self._pending[key] = _Mark(mark.parameter, mark.gradient, gradient._version)

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        if site is not None:
            self._backward_site = site
        for clearing in self._clearing.values():
            suspect = clearing.suspect
            gradient = suspect.gradient() if suspect is not None else None
            if gradient is not None and not gradient.any().item():
                clearing.clears, clearing.suspect, clearing.found = True, None, 0

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        clearing = self._of(record)
        clearing.before, clearing.suspect = clearing.suspect, None
        self._confirm(record)
        for key in record.held:
            self._pending.pop(key, None)
        self._open.add(record.key)

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if record.key in self._open:
            self._confirm(record)  # a closure made the gradients inside of the step
            self._open.discard(record.key)
        clearing = self._of(record)
        if window.traced and any(key in record.held for key in window.accumulated):
            clearing.windows += 1
            if self._backward_site is not None:
                clearing.last["backward"] = self._backward_site
        for key, ref in record.held.items():
            self._pending.pop(key, None)
            self._snapshots.pop(key, None)
            parameter = ref()
            if parameter is None or not self.session.window.traced:
                continue
            gradient = parameter.grad
            if gradient is not None and torch_internals.is_plain(gradient) and torch_internals.is_plain(parameter):
                self._snapshots[key] = _Mark(ref, weakref.ref(gradient), gradient._version)

    def _of(self, record: OptimizerRecord) -> _Clearing:
        return self._clearing.setdefault(record.key, _Clearing(record))

    def _confirm(self, record: OptimizerRecord) -> None:
        """Whether a gradient of this optimizer was added to, and to nothing but what the last step had used."""
        clearing = self._of(record)
        if clearing.clears or clearing.suspect is not None:
            return
        for key, ref in record.held.items():
            mark, parameter = self._pending.get(key), ref()
            if mark is None or parameter is None or parameter.grad is None or parameter.grad is not mark.gradient():
                continue
            if clearing.before is not None:
                clearing.found += 1
                clearing.first_step = clearing.first_step or clearing.suspected_at
            elif not clearing.found:
                clearing.suspected_at = self.session.steps
            clearing.suspect = mark
            return

    def facts(self) -> Iterator[object]:
        for clearing in self._clearing.values():
            record, backward = clearing.record, clearing.last.get("backward")
            if record.step_site is None or backward is None or not clearing.windows:
                continue
            step = record.step_site.span()
            place = record.site.span() if record.site is not None else None
            events = [Event(EventKind.BACKWARD, backward.span(), backward.text(), (record.key,))]
            if not clearing.found:
                events.insert(0, Event(EventKind.ZERO_GRAD, step, "", (record.key,)))
            events.append(Event(EventKind.OPTIMIZER_STEP, step, record.step_site.text(), (record.key,)))
            yield TrainingLoop(
                place=step,
                passes=(tuple(events),),
                complete=True,
                optimizers=(OptimizerRef(record.key, record.text(), record.kind, place),),
                cleared_outside=(),
                framework=None,
                run=RunEvidence(clearing.found, clearing.windows, clearing.first_step, "steps"),
            )
