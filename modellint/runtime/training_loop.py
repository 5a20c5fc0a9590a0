"""Training loops from a run: the order of what happened between two steps of each optimizer.

Clears have no event: they are put in where their effect was seen (see `gradient_clearing` and `loop_events`). The first
pass of an optimizer is left out, because it may have begun before the watch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from modellint.facts.training_loop import EventKind, PassCount, TrainingLoop
from modellint.runtime import gradient_calls, torch_internals, value_read
from modellint.runtime.call_site import Site
from modellint.runtime.early_schedule import EarlySchedule
from modellint.runtime.gradient_calls import gradient_call, is_scaled, steps_by_scaler
from modellint.runtime.gradient_clearing import GradientClearing
from modellint.runtime.graph import tensors_in
from modellint.runtime.loop_events import EventLog, Noted, Step, cleared_between, folded
from modellint.runtime.loop_facts import LoopRecord, loop_fact
from modellint.runtime.observer import Observer
from modellint.runtime.scaled_gradients import ScaledGradients
from modellint.runtime.session import OptimizerRecord, RootCall, Session, Window

_MOST_PASSES = 12
_MOST_READS = 4


class TrainingLoopObserver(Observer):
    """Makes a TrainingLoop of every optimizer that stepped in a traced window."""

    makes = (TrainingLoop,)
    functions = gradient_calls.FUNCTIONS

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._clearing = GradientClearing(session)
        self._log = EventLog()
        self._loops: dict[int, LoopRecord] = {}
        self._backward: Noted | None = None
        self._scaled = ScaledGradients(session, self._log)
        self._early = EarlySchedule(session)

    # What happens

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.session.window.traced:
            return
        if not self.session.functions_seen and self._scaled.scale is not None:
            self._log.note(Noted(EventKind.UNKNOWN_CALL, None))  # clipping and unscaling go unseen from here on
        if call.training and call.grad and call.root.parameters:
            inputs = any(tensor.requires_grad and tensor.is_leaf for tensor in tensors_in(args))
            self._log.note(Noted(EventKind.FORWARD, call.site, set(call.root.parameters), inputs=inputs))

    def backward_begins(self, tensors: Sequence[torch.Tensor], site: Site | None) -> None:
        if self.session.backward_depth != 1:
            return  # a reentrant checkpoint
        self._clearing.backward_begins()
        self._backward = None
        if self.session.window.traced:
            scaled = self._scaled.scale is not None and any(is_scaled(tensor) for tensor in tensors)
            self._backward = self._log.note(Noted(EventKind.BACKWARD, site, scaled=scaled))

    def backward_ends(self) -> None:
        if self.session.backward_depth == 0:
            self._backward = None

    def accumulated(self, parameter: torch.Tensor) -> None:
        self._clearing.accumulated(parameter)
        if not self.session.window.traced:
            return
        if self._backward is None:
            # Not by `torch.autograd.backward` as we know it: another name for it that was imported before.
            self._backward = self._log.note(Noted(EventKind.BACKWARD, self.session.site()))
        gradient = parameter.grad
        if gradient is None:
            self._backward.reached.add(id(parameter))
            return
        certain = type(gradient) is torch.Tensor and gradient.layout is torch.strided and not gradient.requires_grad
        self._log.accumulated(parameter, gradient, self._backward, certain)

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        if not self.session.window.traced or not args:
            return
        call = gradient_call(function, args, result)
        if call is not None:
            self._scaled.note(call)

    def scheduler_stepped(self, scheduler: Any, site: Site | None) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if site is None or not isinstance(optimizer, torch.optim.Optimizer):
            return
        self._early.stepped(scheduler, optimizer, site, scaling=self._scaled.scale is not None)
        record = self.session.optimizers.get(id(optimizer))
        if self.session.window.traced and record is not None and record.ref() is optimizer:
            self._log.note(Noted(EventKind.SCHEDULER_STEP, site, optimizer=record.key))

    # Steps

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        self._clearing.step_begins(record)
        loop = self._loops.get(record.key)
        if loop is None:
            loop = self._loops[record.key] = LoopRecord(record, root=self._root_of(record))
            loop.scheduled = self._early.before(record, optimizer)
        if self.session.window.traced and self._scaled.scale is not None:
            record.by_scaler = steps_by_scaler()
        if torch_internals.in_backward():
            loop.in_backward = True
        loop.entries_before = len(self._log.entries)
        entries = self._log.since(record.key)
        loop.before_step = [] if entries is None else self._before_step(loop, record, optimizer, entries)

    def _root_of(self, record: OptimizerRecord) -> int:
        roots = self.session.all_roots()
        return next((root.key for root in roots if any(key in record.held for key in root.parameters)), 0)

    def _before_step(
        self, loop: LoopRecord, record: OptimizerRecord, optimizer: torch.optim.Optimizer, entries: list[Noted]
    ) -> list[Noted]:
        """What the gradients show at the entry of a step."""
        marks = [mark for key in record.held if (mark := self._log.marks.get(key)) is not None]
        opened = [mark for mark in marks if mark.open and mark.parameter() is not None]
        found: list[Noted] = []
        if not opened:
            gradients = any(ref() is not None and ref().grad is not None for ref in record.held.values())  # type: ignore[union-attr]
            if marks or gradients or any(entry.kind is EventKind.BACKWARD for entry in entries):
                found.append(Noted(EventKind.UNKNOWN_CALL, None))
            return found
        gradients_now = [parameter.grad for mark in opened if (parameter := mark.parameter()) is not None]
        if all(gradient is None for gradient in gradients_now):
            return [Noted(EventKind.ZERO_GRAD, None)]
        if not all(mark.intact() for mark in opened):
            found.append(Noted(EventKind.UNKNOWN_CALL, None))
            if loop.reads < _MOST_READS and _all_zero(gradients_now):
                found = [Noted(EventKind.ZERO_GRAD, None)]
            loop.reads += 1
        if getattr(optimizer, "grad_scale", None) is not None:
            found.append(Noted(EventKind.UNSCALE, None, optimizer=record.key))  # fused: it unscales by itself
        elif getattr(optimizer, "_step_supports_amp_scaling", False) and not _is_torch_s(type(optimizer)):
            found.append(Noted(EventKind.UNKNOWN_CALL, None))
        return found

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        suspicious = self._clearing.step_ends(record, window)
        loop = self._loops.get(record.key)
        entries = self._log.since(record.key)
        if loop is not None and window.traced:
            if entries is not None and not loop.in_backward:
                self._end_pass(loop, record, entries, suspicious)
            self._remember_backward(loop, record)
        self._log.used(record.held)
        if self.session.window.traced:
            self._log.note(Noted(EventKind.OPTIMIZER_STEP, record.step_site, set(record.held), record.key))
            self._log.begin(record.key)
        else:
            self._log.forget()

    def _remember_backward(self, loop: LoopRecord, record: OptimizerRecord) -> None:
        for entry in reversed(self._log.entries):
            if entry.kind is EventKind.BACKWARD and entry.site and any(key in record.held for key in entry.reached):
                loop.backward_site = entry.site
                return

    def _end_pass(self, loop: LoopRecord, record: OptimizerRecord, entries: list[Noted], suspicious: bool) -> None:
        in_step = any(entry.kind is EventKind.BACKWARD for entry in self._log.entries[loop.entries_before :])
        if in_step:
            loop.before_step = []  # a closure: what was there before the step does not matter
        steps = [] if suspicious else [Step(EventKind.ZERO_GRAD, record.step_site, (record.key,))]
        before: tuple[int, Noted] | None = None
        if not any(entry.kind is EventKind.BACKWARD and _concerns(entry, record) for entry in entries):
            steps.clear()
        for index, entry in enumerate(entries):
            if not _concerns(entry, record) or self._serves_another(entry, entries[index:], record):
                continue
            if entry.kind is EventKind.BACKWARD:
                if before is not None and not in_step:
                    kind = cleared_between(before[1], entry, entries[before[0] + 1 : index], record.held)
                    if kind is not None:
                        steps.append(Step(kind, record.step_site, (record.key,)))
                before = index, entry
            if entry.unsure and entry.kind is EventKind.CLIP:
                steps.append(Step(EventKind.UNKNOWN_CALL, record.step_site, ()))
            keys = (entry.optimizer or record.key,) if entry.kind is not EventKind.UNKNOWN_CALL else ()
            steps.append(Step(entry.kind, entry.site or record.step_site, keys, entry.scaled))
        steps += (Step(entry.kind, record.step_site, (record.key,)) for entry in loop.before_step)
        steps.append(Step(EventKind.OPTIMIZER_STEP, record.step_site, (record.key,)))
        self._count(loop, folded(steps))

    def _serves_another(self, entry: Noted, after: Sequence[Noted], record: OptimizerRecord) -> bool:
        """A clip before the step of another optimizer over the same tensors."""
        return entry.kind is EventKind.CLIP and any(
            step.kind is EventKind.OPTIMIZER_STEP and step.optimizer != record.key and step.reached & entry.reached
            for step in after
        )

    def _count(self, loop: LoopRecord, steps: tuple[Step, ...]) -> None:
        known = loop.passes.get(steps)
        if known is None and len(loop.passes) >= _MOST_PASSES:
            loop.too_many = True
        elif known is None:
            loop.passes[steps] = PassCount(1, self.session.steps - 1)
        else:
            loop.passes[steps] = PassCount(known.times + 1, known.first_step)

    # Facts

    def facts(self) -> Iterator[object]:
        for loop in self._loops.values():
            if loop.record.step_site is not None:
                yield loop_fact(self.session, loop, self._clearing.of(loop.record), self._scaled.numbers)


def _concerns(entry: Noted, record: OptimizerRecord) -> bool:
    """Steps and unknown stretches concern every optimizer, the rest those whose parameters it reached."""
    if entry.kind in (EventKind.UNKNOWN_CALL, EventKind.SCALER_UPDATE, EventKind.OPTIMIZER_STEP):
        return True
    if entry.kind is EventKind.SCHEDULER_STEP or (entry.kind is EventKind.UNSCALE and entry.optimizer):
        return entry.optimizer == record.key
    return any(key in entry.reached for key in record.held)


def _all_zero(gradients: Sequence[torch.Tensor | None]) -> bool:
    """Read one after the other, until the first that is not zero."""
    with value_read.reading():
        return all(g is None or (value_read.may_read(g) and not g.any().item()) for g in gradients)


def _is_torch_s(cls: type) -> bool:
    return cls.__module__.startswith("torch.optim")
