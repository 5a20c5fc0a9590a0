"""Parameters that receive gradients while no optimizer holds them, and that nobody changes by hand."""

from __future__ import annotations

import weakref
from collections.abc import Container
from dataclasses import dataclass, field

import torch

from modellint.runtime import value_read
from modellint.runtime.live_optimizers import live_optimizers
from modellint.runtime.session import ModuleRecord, OptimizerRecord, ParameterRecord, RootRecord, Session

ENOUGH = 3
"""Passes before anything is suspected."""
_MOST_CHECKSUMS = 8


@dataclass(slots=True)
class _Loose:
    """One of them."""

    ref: weakref.ref[torch.Tensor]
    version: int
    windows: int = 0
    checksum: int | None = None
    changed: bool = False

    def look(self) -> None:
        """Whether a hand changed it, with the version counter or behind it."""
        parameter = self.ref()
        if parameter is None or self.changed:
            return
        self.changed = parameter._version != self.version
        if not self.changed and self.checksum is not None:
            self.changed = value_read.checksum([parameter]) != self.checksum


@dataclass(slots=True)
class LooseParameters:
    """Those of one session."""

    session: Session
    passes: dict[int, int] = field(default_factory=dict)
    """By the key of the root: traced windows in which it received gradients."""
    _loose: dict[int, _Loose] = field(default_factory=dict)
    _elsewhere: set[int] = field(default_factory=set)
    """Ids of parameters that live optimizers hold which the session does not know."""
    _scanned: bool = False
    _checksums: int = 0

    def window_ended(self, accumulated: set[int]) -> None:
        """A traced window ended; `accumulated` are the ids of what received a gradient in it."""
        held: set[int] = set()
        for record in self.session.optimizers.values():
            held.update(record.held)
        unheld = accumulated - held - self._elsewhere
        for root in self.session.roots.values():
            if not accumulated.isdisjoint(root.parameters):
                self.passes[root.key] = self.passes.get(root.key, 0) + 1
        for key in unheld:
            self._note(key)
        if unheld and not self._scanned and max(self.passes.values(), default=0) >= ENOUGH:
            self._scanned = True
            for optimizer in live_optimizers():
                if id(optimizer) not in self.session.optimizers:
                    self._elsewhere.update(id(p) for group in optimizer.param_groups for p in group["params"])

    def _note(self, key: int) -> None:
        record = next((r for root in self.session.roots.values() if (r := root.parameters.get(key)) is not None), None)
        parameter = record.ref() if record is not None else None
        if parameter is None:
            return
        loose = self._loose.get(key)
        if loose is None or loose.ref() is not parameter:
            loose = self._loose[key] = _Loose(weakref.ref(parameter), parameter._version)
            if self._checksums < _MOST_CHECKSUMS and value_read.may_read(parameter):
                self._checksums += 1
                loose.checksum = value_read.checksum([parameter])
        elif loose.windows < ENOUGH:
            loose.look()
        loose.windows += 1

    def closing(self) -> None:
        """The last look: what was added to an optimizer since, what was changed since."""
        for record in self.session.all_optimizers():
            optimizer = record.ref()
            if optimizer is not None:
                self.session.look_at_optimizer(record, optimizer)
        for loose in self._loose.values():
            loose.look()

    def of(self, root: RootRecord) -> list[ParameterRecord]:
        """The trainable parameters of a root that received gradients at least twice and were left alone."""
        if self.passes.get(root.key, 0) < ENOUGH:
            return []
        return [record for key, record in root.parameters.items() if self._is_loose(key, record)]

    def _is_loose(self, key: int, record: ParameterRecord) -> bool:
        loose = self._loose.get(key)
        if loose is None or loose.ref is not record.ref or loose.windows < 2 or loose.changed or not record.trainable:
            return False
        held = any(holds(optimizer, record) for optimizer in self.session.optimizers.values())
        return not held and key not in self._elsewhere

    def changed_by_hand(self, root: RootRecord) -> bool:
        """Somebody updates parameters of this root without an optimizer."""
        return any(loose.changed for key, loose in self._loose.items() if key in root.parameters)


def holds(optimizer: OptimizerRecord, parameter: ParameterRecord) -> bool:
    """Also of a parameter that is gone by now: one tensor has one weak reference."""
    return optimizer.held.get(parameter.key) is parameter.ref


def largest_parts(root: RootRecord, missing: Container[str]) -> list[tuple[str, ModuleRecord | None]]:
    """Parameters by name as the topmost layers that they fill: (dotted path, layer); None for a single parameter."""
    parts: list[tuple[str, ModuleRecord | None]] = []
    covered: list[str] = []
    for module in sorted(root.modules, key=lambda module: module.path.count(".") if module.path else -1):
        names = [p.name for below in root.below(module.path) for p in below.own if p.trainable]
        if not module.path or not names or any(_inside(module.path, path) for path in covered):
            continue
        if all(name in missing for name in names):
            covered.append(module.path)
            parts.append((module.path, module))
    singles = (p.name for module in root.modules for p in module.own if p.name in missing)
    parts += ((name, None) for name in singles if not any(_inside(name, path) for path in covered))
    return list(dict.fromkeys(parts))


def common_part(root: RootRecord, names: list[str]) -> str:
    """The innermost layer that all parameters of these names stand in; empty for the root itself."""
    parts = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for levels in zip(*parts, strict=False):
        if len(set(levels)) > 1:
            break
        shared.append(levels[0])
    return ".".join(shared)


def _inside(path: str, around: str) -> bool:
    return path == around or path.startswith(around + ".")
