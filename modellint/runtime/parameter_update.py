"""Steps of an optimizer that leave a parameter as it was, bit by bit, although its gradient is not zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from modellint.facts.parameter_update import ParameterUpdate
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.training_loop import OptimizerRef
from modellint.runtime import torch_internals, value_read
from modellint.runtime.call_site import assigned_name
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, Session, Window


@dataclass(slots=True)
class _Updates:
    """What the traced steps of one optimizer did to each of its parameters, by id."""

    record: OptimizerRecord
    bits: dict[int, int] = field(default_factory=dict)
    same: dict[int, int] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    steps: int = 0
    first_step: int = 0


class ParameterUpdateObserver(Observer):
    """Makes a ParameterUpdate of every optimizer. Reads all parameters at each traced step: selected by name only."""

    makes = (ParameterUpdate,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._updates: dict[int, _Updates] = {}
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        """By id of the parameter: whether its gradient has a value other than zero, and its checksum."""
        self._accumulated = 0

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        self._before.clear()
        # A fused step with `found_inf` may be skipped; one that steps inside of backward is one of many.
        if not self.session.window.traced or getattr(optimizer, "found_inf", None) is not None:
            return
        if torch_internals.in_backward():
            return
        self._accumulated = len(self.session.window.accumulated)
        with value_read.reading():
            for group in optimizer.param_groups:
                if not _has_rate(group):
                    continue
                for p in group["params"]:
                    if p.grad is not None and value_read.may_read(p) and value_read.may_read(p.grad):
                        self._before[id(p)] = (p.grad.any(), value_read.bit_sum(p))

    def step_ends(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer, window: Window) -> None:
        if not self._before or len(window.accumulated) != self._accumulated:
            self._before.clear()
            return  # a closure made other gradients inside of the step
        updates = self._updates.setdefault(record.key, _Updates(record))
        keys, moved = [], []
        with value_read.reading():
            for key, (gradient, before) in self._before.items():
                ref = record.held.get(key)
                parameter = ref() if ref is not None else None
                if parameter is not None:
                    keys.append(key)
                    changed = value_read.bit_sum(parameter) != before
                    moved.append(gradient.to(torch.int8) * (1 + changed.to(torch.int8)))
                    updates.bits[key] = 8 * parameter.element_size()
            self._before.clear()
            values = value_read.numbers(moved)
        updates.first_step = updates.first_step if updates.steps else self.session.steps - 1
        updates.steps += 1
        for key, value in zip(keys, values, strict=True):
            if value == 1:
                updates.same[key] = updates.same.get(key, 0) + 1
            elif value == 2:
                updates.changed.add(key)

    def facts(self) -> Iterator[object]:
        for updates in self._updates.values():
            record = updates.record
            site = record.site or record.step_site
            unchanged = [key for key, times in updates.same.items() if times >= 2 and key not in updates.changed]
            if site is None or not unchanged:
                continue
            names = self._names(record)
            name = assigned_name(site) if record.built_in_sight else ""
            yield ParameterUpdate(
                place=site.span(),
                optimizer=OptimizerRef(record.key, name or record.text(), record.kind, site.span()),
                unchanged=tuple(names[key] for key in unchanged),
                low_precision=all(updates.bits[key] <= 16 for key in unchanged),
                changed=len(updates.changed),
                run=RunEvidence(
                    max(updates.same[key] for key in unchanged), updates.steps, updates.first_step, "traced steps"
                ),
            )

    def _names(self, record: OptimizerRecord) -> dict[int, str]:
        names = {key: f"parameter {index} of {record.kind}" for index, key in enumerate(record.held)}
        for root in self.session.all_roots():
            for key, parameter in root.parameters.items():
                if record.held.get(key) is parameter.ref:
                    names[key] = parameter.name
        return names


def _has_rate(group: dict[str, Any]) -> bool:
    """Its learning rate is no zero; one in a tensor is read on the CPU only."""
    rate = group.get("lr", 1.0)
    if isinstance(rate, torch.Tensor):
        return rate.device.type == "cpu" and bool(rate.item())
    return bool(rate)
