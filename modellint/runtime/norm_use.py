"""Norms with running statistics that training forwards call: their momentum, and whether all around them is frozen.

A part that is frozen on purpose does not move. Momentum encoders do, without a gradient: the weights of a suspect are
summed in its first frozen pass and again later.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from modellint.facts.norm_use import NormUse
from modellint.facts.run_evidence import RunEvidence
from modellint.runtime.models import layer_ref, model_ref, tracks_statistics
from modellint.runtime.observer import Observer
from modellint.runtime.session import ModuleCall, ModuleRecord, OptimizerRecord, RootRecord, Session, Window
from modellint.runtime.value_read import checksum, may_read

_MOST_SUMMED = 8
_ADAPTERS = ("lora_", "adapter", "ia3_")


@dataclass(slots=True, eq=False)
class _Norm:
    """One norm of a root."""

    root: RootRecord
    record: ModuleRecord
    around: ModuleRecord | None
    """The module that holds it; None where the norm is the root itself."""
    window: int = -1
    """The last window in which a training forward called it in train mode."""
    passes: int = 0
    first_step: int = 0
    momentum: float | None = None
    frozen_passes: int = 0
    unfrozen: bool = False
    """Something of it was trainable in some pass, or its weights moved."""
    frozen_part: str = ""
    watched: list[tuple[weakref.ref[torch.Tensor], int, int]] = field(default_factory=list)
    """Its parameters and those of the module around it: version and sum of each in the first frozen pass."""


class NormUseObserver(Observer):
    """Makes a NormUse of every norm that keeps running statistics and is called in training."""

    makes = (NormUse,)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._norms: dict[int, _Norm] = {}

    def root_registered(self, root: RootRecord, module: nn.Module) -> None:
        by_path = {path: record for record in root.modules for path in record.paths}
        for record in root.modules:
            norm = record.ref()
            if norm is not None and tracks_statistics(norm):
                around = by_path.get(record.path.rpartition(".")[0]) if record.path else None
                self._norms[record.key] = _Norm(root, record, around)
                if root.hidden(record.path):
                    self.session.out_of_sight(root.text(), root.hidden(record.path), *_RULES)

    def module_begins(self, call: ModuleCall, module: nn.Module, args: tuple[Any, ...]) -> None:
        norm = self._norms.get(call.key)
        if norm is None or norm.record is not call.record or not call.training:
            return
        if call.root_call.training and call.root_call.grad:
            norm.window = call.root_call.step

    def pass_ended(self, root: RootRecord, record: OptimizerRecord, window: Window) -> None:
        for norm in self._norms.values():
            if norm.root is root and norm.window == window.number:
                _note(norm, self.session.steps)

    def facts(self) -> Iterator[object]:
        for norm in self._norms.values():
            root = norm.root
            if not norm.passes:
                continue
            if norm.passes == norm.frozen_passes == 1 and not norm.unfrozen:
                self.session.out_of_sight(root.text(), "fewer than two passes", "frozen-batchnorm-updating")
            layer = layer_ref(self.session, root, norm.record)
            place = layer.place or (root.site.span() if root.site is not None else None)
            if place is None:
                continue
            yield NormUse(
                place=place,
                model=model_ref(self.session, root, complete=not root.hidden(norm.record.path)),
                layer=layer,
                momentum=norm.momentum,
                frozen_part="" if norm.unfrozen else norm.frozen_part,
                frozen_passes=0 if norm.unfrozen else norm.frozen_passes,
                adapter=_is_adapted(root),
                run=RunEvidence(norm.passes, norm.passes, norm.first_step, root=root.key),
            )


_RULES = ("frozen-batchnorm-updating", "batchnorm-momentum")


def _note(norm: _Norm, steps: int) -> None:
    module = norm.record.ref()
    around = norm.around.ref() if norm.around is not None else None
    if module is None:
        return
    if not norm.passes:
        norm.first_step = steps - 1
    momentum = getattr(module, "momentum", None)
    if isinstance(momentum, int | float):
        norm.momentum = momentum if not norm.passes else min(momentum, norm.momentum or 0.0)
    else:
        norm.momentum = None
    norm.passes += 1
    if around is None or norm.unfrozen:
        return
    parameters = list(around.parameters())
    if not parameters or any(parameter.requires_grad for parameter in parameters):
        norm.unfrozen = True
        return
    if not norm.frozen_part:
        norm.frozen_part = _outermost(norm)
        summed = [p for p in sorted(parameters, key=torch.Tensor.numel)[:_MOST_SUMMED] if may_read(p)]
        norm.watched = [(weakref.ref(p), p._version, checksum([p])) for p in summed]
    elif any(_moved(*one) for one in norm.watched):
        norm.unfrozen = True
        return
    norm.frozen_passes += 1


def _moved(ref: weakref.ref[torch.Tensor], version: int, total: int) -> bool:
    parameter = ref()
    if parameter is None:
        return True
    return parameter._version != version or (may_read(parameter) and checksum([parameter]) != total)


def _outermost(norm: _Norm) -> str:
    """The path of the outermost module around the norm of which every parameter is frozen."""
    found = ""
    parts = norm.record.path.split(".")[:-1]
    by_path = {path: record for record in norm.root.modules for path in record.paths}
    for depth in range(len(parts), 0, -1):
        record = by_path.get(".".join(parts[:depth]))
        module = record.ref() if record is not None else None
        if module is None or any(parameter.requires_grad for parameter in module.parameters()):
            break
        found = ".".join(parts[:depth])
    return found


def _is_adapted(root: RootRecord) -> bool:
    names = (parameter.name.lower() for parameter in root.parameters.values())
    return root.cls.__module__.startswith("peft.") or any(part in name for name in names for part in _ADAPTERS)
