"""Norms of the gradients that an optimizer's step gets, one stacked transfer a traced step, never before step 20."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from modellint.facts.gradient_record import GradientRecord, WeightGradient
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.runtime import gradient_calls, torch_internals
from modellint.runtime.gradient_calls import Call, gradient_call, steps_by_scaler
from modellint.runtime.models import layer_ref, model_ref
from modellint.runtime.observer import Observer
from modellint.runtime.session import OptimizerRecord, ParameterRecord, RootRecord, Session
from modellint.runtime.value_read import may_read, reading

FIRST_STEP = 20
FEWEST_STEPS = 20
_LARGE = 1e3
_TIMES = 10
_MOST_KEPT = 256
_BEFORE_SPIKE = 5
"""So many norms make a median that a spike may be measured by."""


@dataclass(slots=True, eq=False)
class _Gradients:
    """The gradients of one root in the steps of one optimizer."""

    root: RootRecord
    record: OptimizerRecord
    ratios: dict[str, list[float]] = field(default_factory=dict)
    norms: list[float] = field(default_factory=list)
    spikes: int = 0
    complete: bool = True
    first_step: int = 0


class GradientRecordObserver(Observer):
    """Makes a GradientRecord of every root and optimizer that was measured in twenty steps."""

    makes = (GradientRecord,)
    functions = gradient_calls.FUNCTIONS
    traced_windows = range(FIRST_STEP, FIRST_STEP + 24)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._found: dict[tuple[int, int], _Gradients] = {}
        self._scaled = False
        """A GradScaler has multiplied a loss."""
        self._by_hand = False
        """The scale was asked for: it may be divided out by hand, or not."""

    def function_called(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        call = gradient_call(function, args, result) if args and not self._by_hand else None
        if call is not None:
            self._scaled = self._scaled or call.kind is Call.SCALE
            self._by_hand = self._by_hand or call.kind is Call.READ_SCALE

    def step_begins(self, record: OptimizerRecord, optimizer: torch.optim.Optimizer) -> None:
        window = self.session.window
        if record.steps < FIRST_STEP or not window.traced or not window.accumulated:
            return
        measurable = getattr(optimizer, "grad_scale", None) is None and not self._by_hand
        measurable = measurable and (not self._scaled or steps_by_scaler())
        for root in record.roots:
            known = self._found.setdefault(
                (root.key, record.key), _Gradients(root, record, first_step=self.session.steps)
            )
            if measurable:
                self._measure(known, record, window.accumulated)
            else:
                known.complete = False

    def _measure(self, known: _Gradients, record: OptimizerRecord, accumulated: set[int]) -> None:
        parameters: list[ParameterRecord] = []
        gradients: list[torch.Tensor] = []
        weights: list[torch.Tensor] = []
        for key, parameter in known.root.parameters.items():
            tensor = parameter.ref()
            gradient = tensor.grad if tensor is not None and key in accumulated and record.holds(tensor) else None
            if tensor is None or gradient is None:
                continue
            if not torch_internals.is_plain(gradient) or not may_read(gradient) or not may_read(tensor):
                known.complete = False
                continue
            parameters.append(parameter)
            gradients.append(gradient.detach())
            weights.append(tensor.detach())
        if not parameters:
            return
        sizes = _norms([*gradients, *weights])
        if not all(map(math.isfinite, sizes)):
            known.complete = False
            return
        of_gradients, of_weights = sizes[: len(parameters)], sizes[len(parameters) :]
        for parameter, gradient_size, weight_size in zip(parameters, of_gradients, of_weights, strict=True):
            ratios = known.ratios.setdefault(parameter.name, [])
            if parameter.dimensions > 1 and weight_size and len(ratios) < _MOST_KEPT:
                ratios.append(gradient_size / weight_size)
        norm = math.sqrt(sum(size * size for size in of_gradients))
        if len(known.norms) >= _BEFORE_SPIKE and norm > max(_LARGE, _TIMES * median(known.norms)):
            known.spikes += 1
        if len(known.norms) < _MOST_KEPT:
            known.norms.append(norm)

    def facts(self) -> Iterator[object]:
        rules = ("vanishing-gradient", "exploding-gradient")
        for known in self._found.values():
            reason = "its gradients were scaled, sparse or not finite" if not known.complete else ""
            if len(known.norms) < FEWEST_STEPS:
                reason = reason or f"its gradients were not measured in {FEWEST_STEPS} steps"
            if reason:
                self.session.out_of_sight(known.root.text(), reason, *rules)
            if known.record.step_site is not None and len(known.norms) >= FEWEST_STEPS:
                yield self._fact(known, known.record.step_site.span())
        measured = {root for root, _ in self._found}
        for root in self.session.trained_roots():
            if root.key not in measured:
                self.session.out_of_sight(root.text(), f"no step after the first {FIRST_STEP} was traced", *rules)

    def _fact(self, known: _Gradients, place: Span) -> GradientRecord:
        root = known.root
        owners = {parameter.name: record for record in root.modules for parameter in record.own}
        weights = tuple(
            WeightGradient(layer_ref(self.session, root, owners[name]), name, median(ratios), len(ratios))
            for name, ratios in known.ratios.items()
            if len(ratios) >= FEWEST_STEPS and name in owners
        )
        return GradientRecord(
            place=place,
            model=model_ref(self.session, root, complete=True),
            optimizer=known.record.text(),
            weights=weights,
            median_norm=median(known.norms),
            largest_norm=max(known.norms),
            spikes=known.spikes,
            steps=len(known.norms),
            complete=known.complete,
            run=RunEvidence(len(known.norms), len(known.norms), known.first_step, "steps", root=root.key),
        )


def _norms(tensors: list[torch.Tensor]) -> list[float]:
    """One transfer a device; single precision, so that a norm of half precision does not overflow."""
    found = [0.0] * len(tensors)
    devices: dict[torch.device, list[int]] = {}
    for index, tensor in enumerate(tensors):
        devices.setdefault(tensor.device, []).append(index)
    with reading():
        for indices in devices.values():
            norms = torch._foreach_norm([tensors[index] for index in indices], 2, torch.float32)
            for index, value in zip(indices, torch.stack(list(norms)).tolist(), strict=True):
                found[index] = value
    return found
