"""Training loops from a run: the order of what happened between two steps of each optimizer.

Clears have no event: they are put in where their effect was seen (see `gradient_clearing` and `loop_events`). The first
pass of an optimizer is left out, because it may have begun before the watch.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import Event, EventKind, OptimizerRef, PassCount, TrainingLoop
from modellint.runtime import gradient_calls, torch_internals, value_read
from modellint.runtime.call_site import Site
from modellint.runtime.gradient_calls import Call, GradientCall, gradient_call, is_scaled, mark_scaled, steps_by_scaler
from modellint.runtime.gradient_clearing import GradientClearing
from modellint.runtime.graph import tensors_in
from modellint.runtime.loop_events import EventLog, Noted, Step, cleared_between, folded
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, RootCall, Session, Window

_MOST_PASSES = 12
_MOST_READS = 4
_ORDER_RULES = ("zero-grad-before-step", "missing-backward", "misplaced-gradient-clipping", "grad-scaler-misused")


@dataclass(slots=True)
class _Loop:
    """What is known about the loop of one optimizer."""

    record: OptimizerRecord
    backward_site: Site | None = None
    """A backward that reached its parameters."""
    root: int = 0
    passes: dict[tuple[Step, ...], PassCount] = field(default_factory=dict)
    before_step: list[Noted] = field(default_factory=list)
    """What the gradients showed when the step that runs began."""
    entries_before: int = 0
    reads: int = 0
    """Gradients that were read to see whether they are zero."""
    in_backward: bool = False
    """It steps inside of backward."""
    too_many: bool = False
    scheduled: list[Site] = field(default_factory=list)
    """Steps of schedulers before its first one."""


class TrainingLoopObserver(Observer):
    """Makes a TrainingLoop of every optimizer that stepped in a traced window."""

    makes = (TrainingLoop,)
    functions = gradient_calls.FUNCTIONS

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._clearing = GradientClearing(session)
        self._log = EventLog()
        self._loops: dict[int, _Loop] = {}
        self._backward: Noted | None = None
        self._early: dict[int, tuple[weakref.ref[torch.optim.Optimizer], list[Site]]] = {}
        self._schedulers: set[int] = set()
        self._scale: weakref.ref[torch.Tensor] | None = None
        self._scale_value = 0.0
        """The scale, once it was read."""
        self._numbers: dict[str, float] = {}

    # What happens

    def root_begins(self, call: RootCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not self.session.window.traced:
            return
        if not self.session.functions_seen and self._scale is not None:
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
            scaled = self._scale is not None and any(is_scaled(tensor) for tensor in tensors)
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
        certain = torch_internals.is_plain(gradient) and gradient.layout is torch.strided and not gradient.requires_grad
        self._log.accumulated(parameter, gradient, self._backward, certain)

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        if not self.session.window.traced or not args:
            return
        call = gradient_call(function, args, result)
        if call is not None:
            self._note(call)

    def _note(self, call: GradientCall) -> None:
        if call.kind is Call.SCALE:
            scaled, scale = call.tensors
            self._scale = weakref.ref(scale)
            mark_scaled(scaled)
        elif call.kind is Call.READ_SCALE:
            if self._backward_was_scaled():
                self._log.note(Noted(EventKind.UNKNOWN_CALL, None))  # it may be divided out by hand
        elif call.kind is Call.UPDATE:
            self._log.note(Noted(EventKind.SCALER_UPDATE, self.session.site()))
        elif call.kind is Call.UNSCALE:
            self._note_unscale(call)
        else:
            self._note_clip(call)

    def _backward_was_scaled(self) -> bool:
        """Gradients carry a scale that no unscaling has taken off."""
        for entry in reversed(self._log.entries):
            if entry.kind is EventKind.BACKWARD:
                return entry.scaled
            if entry.kind in (EventKind.UNSCALE, EventKind.OPTIMIZER_STEP):
                return False
        return False

    def _note_unscale(self, call: GradientCall) -> None:
        keys, _ = self._log.changed(call.tensors, call.changes)
        for key in keys:
            self._log.marks[key].scaled = False
        optimizer = call.optimizer
        record = self.session.optimizers.get(id(optimizer)) if optimizer is not None else None
        entry = Noted(EventKind.UNSCALE, self.session.site(), keys)
        if record is not None and record.ref() is optimizer:
            entry.optimizer = record.key
        last = self._log.entries[-1] if self._log.entries else None
        if last is None or last.kind is not EventKind.UNSCALE or last.optimizer != entry.optimizer:
            self._log.note(entry)

    def _note_clip(self, call: GradientCall) -> None:
        keys, by_hand = self._log.changed(call.tensors, call.changes)
        if call.limit is not None and math.isinf(call.limit):
            return  # the norm is wanted, nothing is clipped
        keys |= {id(parameter) for parameter in call.parameters}
        open_keys = {key for key in keys if (mark := self._log.marks.get(key)) is not None and mark.open}
        keys = open_keys or keys
        scaled = any(self._log.marks[key].scaled for key in open_keys) and self._scales()
        entry = Noted(EventKind.CLIP, self.session.site(), keys, scaled=scaled, unsure=by_hand)
        if scaled and call.limit is not None and self._scale_value:
            self._numbers = {"scale": self._scale_value, "max_norm": call.limit}
        last = self._log.entries[-1] if self._log.entries else None
        if last is not None and last.kind is EventKind.CLIP and last.site == entry.site:
            last.reached |= keys  # one call clips the gradients of each device by themselves
            last.unsure = last.unsure or by_hand
        elif keys:
            self._log.note(entry)

    def _scales(self) -> bool:
        """The scale is no 1. Read once: a clip under a scale is already the defect."""
        scale = self._scale() if self._scale is not None else None
        if not self._scale_value and scale is not None and value_read.may_read(scale):
            with value_read.reading():
                self._scale_value = float(scale.item())
        return self._scale_value != 1.0

    def scheduler_stepped(self, scheduler: Any, site: Site | None) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if site is None or not isinstance(optimizer, torch.optim.Optimizer):
            return
        record = self.session.optimizers.get(id(optimizer))
        known = record is not None and record.ref() is optimizer
        if self.session.window.traced and record is not None and known:
            self._log.note(Noted(EventKind.SCHEDULER_STEP, site, optimizer=record.key))
        first = id(scheduler) not in self._schedulers
        self._schedulers.add(id(scheduler))
        if first and not (record is not None and known and record.steps) and self._is_early(scheduler, optimizer):
            self._early.setdefault(id(optimizer), (weakref.ref(optimizer), []))[1].append(site)

    def _is_early(self, scheduler: Any, optimizer: torch.optim.Optimizer) -> bool:
        """It is the scheduler's first step, and no step of the optimizer can have come before or have been skipped."""
        if isinstance(scheduler, ReduceLROnPlateau) or getattr(scheduler, "last_epoch", 0) != 1:
            return False
        if getattr(optimizer, "_opt_called", False) or optimizer.state:
            return False
        # A GradScaler skips a step on inf: without it, or before any backward, nothing is skipped.
        backwards = self.session.window.backwards
        return not backwards or (self.session.functions_seen and self._scale is None)

    # Steps

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        self._clearing.step_begins(record)
        loop = self._loops.get(record.key)
        if loop is None:
            loop = self._loops[record.key] = _Loop(record, root=self._root_of(record))
            early = self._early.get(id(optimizer))
            if early is not None and early[0]() is optimizer and not record.steps:
                loop.scheduled = early[1]
        if self.session.window.traced and self._scale is not None:
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
        self, loop: _Loop, record: OptimizerRecord, optimizer: torch.optim.Optimizer, entries: list[Noted]
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

    def _remember_backward(self, loop: _Loop, record: OptimizerRecord) -> None:
        for entry in reversed(self._log.entries):
            if entry.kind is EventKind.BACKWARD and entry.site and any(key in record.held for key in entry.reached):
                loop.backward_site = entry.site
                return

    def _end_pass(self, loop: _Loop, record: OptimizerRecord, entries: list[Noted], suspicious: bool) -> None:
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

    def _count(self, loop: _Loop, steps: tuple[Step, ...]) -> None:
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
                yield self._fact(loop, loop.record, loop.record.step_site)

    def _fact(self, loop: _Loop, record: OptimizerRecord, step_site: Site) -> TrainingLoop:
        clearing = self._clearing.of(record)
        passes = self._passes(loop, step_site, cleared=not clearing.times)
        if clearing.unseen:
            self.session.out_of_sight(record.text(), clearing.unseen, "missing-zero-grad", "zero-grad-before-step")
        if loop.in_backward:
            self.session.out_of_sight(record.text(), "it steps inside of backward", *_ORDER_RULES)
        elif loop.too_many:
            self.session.out_of_sight(record.text(), "its passes differ too much", *_ORDER_RULES)
        scaled = any(step.kind is EventKind.CLIP and step.scaled for steps in loop.passes for step in steps)
        start = [self._event(Step(EventKind.SCHEDULER_STEP, site, (record.key,)), step_site) for site in loop.scheduled]
        end = self._event(Step(EventKind.OPTIMIZER_STEP, step_site, (record.key,)), step_site)
        return TrainingLoop(
            place=step_site.span(),
            passes=tuple(tuple(self._event(step, step_site) for step in steps) for steps in passes),
            complete=not clearing.unseen and not loop.too_many,
            optimizers=(_optimizer_ref(record),),
            cleared_outside=(),
            framework=None,
            run=RunEvidence(
                clearing.times,
                clearing.windows,
                clearing.first_step,
                "steps",
                numbers=tuple(self._numbers.items()) if scaled else (),
                root=loop.root,
            ),
            counts=tuple(passes.values()),
            start=(*start, end) if start else (),
        )

    def _passes(self, loop: _Loop, step_site: Site, *, cleared: bool) -> dict[tuple[Step, ...], PassCount]:
        """The passes that were counted; where there is none, a backward and a step of which the order is not known."""
        clear = Step(EventKind.ZERO_GRAD, step_site, (loop.record.key,))
        passes: dict[tuple[Step, ...], PassCount] = {}
        for steps, count in loop.passes.items():
            if cleared and any(step.kind is EventKind.BACKWARD for step in steps) and steps[0] != clear:
                steps = (clear, *steps)  # a suspicion that was not confirmed
            known = passes.get(steps, PassCount(0, count.first_step))
            passes[steps] = PassCount(known.times + count.times, min(known.first_step, count.first_step))
        if not passes and loop.backward_site is not None:
            backward = Step(EventKind.BACKWARD, loop.backward_site, (loop.record.key,))
            step = Step(EventKind.OPTIMIZER_STEP, step_site, (loop.record.key,))
            passes[(clear, backward, step) if cleared else (backward, step)] = PassCount(0, 0)
        return passes

    def _event(self, step: Step, otherwise: Site) -> Event:
        site = step.site or otherwise
        text = "" if step.kind in (EventKind.ZERO_GRAD, EventKind.UNKNOWN_CALL) else site.text()
        return Event(step.kind, site.span(), text, step.optimizers, step.scaled)


def _optimizer_ref(record: OptimizerRecord) -> OptimizerRef:
    place = record.site.span() if record.site is not None else None
    return OptimizerRef(record.key, record.text(), record.kind, place)


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
