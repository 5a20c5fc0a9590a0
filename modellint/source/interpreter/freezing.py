"""Frozen parts: norms in them that go on learning statistics, and fixed models beside the one that learns."""

from __future__ import annotations

import ast

from modellint.facts.forward_use import Mode
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.machine import ForwardFrame
from modellint.source.interpreter.records import ForwardRecord
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import Const, ModuleValue, ParameterValue, Site, Value
from modellint.source.interpreter.weight_records import DecayRecord, ForwardNote

_DECOUPLED = frozenset({"AdamW", "NAdamW", "AdamWScheduleFree"})


class Freezing(ValueMethods):
    """Notes which parts of a model are frozen while it trains."""

    def call_module_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in ("requires_grad_", "freeze"):
            self.records.weights.freezes += 1
        return super().call_module_method(module, name, call, node)

    def _parameter_method(self, value: ParameterValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name == "requires_grad_":
            self.records.weights.freezes += 1
        return super()._parameter_method(value, name, call, node)

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        if name == "requires_grad":
            self.records.weights.freezes += 1
        super().set_attribute(target, name, value, node)

    def _train(self, module: ModuleValue, flag: Value | None, node: ast.AST) -> None:
        self._note_hold(module, flag, node)
        super()._train(module, flag, node)
        told = flag is None or self.truth(flag) is not False
        if told or module.state.get("told to train"):
            self.put(module.state, "told to train", told)

    def _note_hold(self, module: ModuleValue, flag: Value | None, node: ast.AST) -> None:
        """`norm.eval()` holds one norm; `train()` of what is around it undoes that."""
        truth = True if flag is None else self.truth(flag)
        if module.spec is not None and module.spec.family == "norm_running":
            self.records.weights.holds += 1
            self.put(module.state, "held", self.site(node) if truth is False else None)
            self.put(module.state, "released", None)
        elif truth is not False and self.records.weights.holds:
            for _, part in module.walk():
                if "held" in part.state:
                    self.put(part.state, "released", part.state["held"] if truth else None)

    def forward_ended(self, record: ForwardRecord, frame: ForwardFrame) -> None:
        super().forward_ended(record, frame)
        model = record.model
        told = bool(model.state.get("told to train"))
        if record.grad is not False and not (self.records.weights.freezes or self.records.weights.holds):
            return
        given = any(part.state.get("given weights") for part in model.walk_values())
        released = self._released(model, frame) if self.records.weights.holds else {}
        if not self.records.weights.freezes:
            if record.grad is False or released:
                self.records.weights.forwards.append(ForwardNote(record, False, told, given, {}, frozenset(), released))
            return
        parts = dict(model.walk())
        frozen = _frozen_parts(parts)
        norms: dict[int, tuple[str, ModuleValue, str]] = {}
        others: set[int] = set()
        names = {part.key: name for name, part in parts.items()}
        for call in frame.calls:
            norm = call.module
            if norm.spec is None or norm.spec.family != "norm_running" or norm.key not in names:
                continue
            tracked = norm.arguments.get("track_running_stats")
            if tracked is not None and not (isinstance(tracked, Const) and tracked.value):
                continue
            part = _outermost(names[norm.key], frozen) if self.modes_of(norm) == {Mode.TRAIN} else ""
            if part:
                norms[norm.key] = (names[norm.key], norm, part)
            else:
                others.add(norm.key)
        note = ForwardNote(record, frozen.get("", False), told, given, norms, frozenset(others), released)
        self.records.weights.forwards.append(note)

    def _released(self, model: ModuleValue, frame: ForwardFrame) -> dict[int, tuple[str, ModuleValue, Site]]:
        names = {part.key: name for name, part in model.walk()}
        found: dict[int, tuple[str, ModuleValue, Site]] = {}
        for call in frame.calls:
            site = call.module.state.get("released")
            if isinstance(site, Site) and call.module.key in names and self.modes_of(call.module) == {Mode.TRAIN}:
                found[call.module.key] = (names[call.module.key], call.module, site)
        return found

    def _optimizer(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        optimizer = super()._optimizer(name, call, node)
        made = self.records.optimizers[-1] if self.records.optimizers else None
        given = call.keywords.get("weight_decay")
        decay = given.value if isinstance(given, Const) else None
        if given is None and not call.open and name.rpartition(".")[2] in _DECOUPLED:
            decay = 0.01
        if made is optimizer and isinstance(decay, int | float) and not isinstance(decay, bool) and decay > 0:
            first = call.positional[0] if call.positional else call.keywords.get("params")
            if made.complete and made.modules and not made.holds_parameters and _is_one_group(first):
                record = DecayRecord(made, self.site(node), float(decay), given is not None, made.modules)
                self.records.weights.decays.append(record)
        return optimizer


def _is_one_group(value: Value | None) -> bool:
    return type(value).__name__ == "ParametersOf"


def _frozen_parts(parts: dict[str, ModuleValue]) -> dict[str, bool]:
    """By dotted name: whether a part has parameters, all of them frozen."""
    trained: dict[str, bool] = {}
    frozen: dict[str, bool] = {}
    for name, part in parts.items():
        state = part.state
        whole = bool(state.get("frozen"))
        own: list[bool] = []
        if part.known_library is not None or (part.spec is None and not part.complete):
            own.append(whole or bool(state.get("frozen:*")))
        elif part.spec is not None and part.spec.parametric:
            own.append(whole or _is_frozen(part))
        own.extend(
            whole or bool(state.get(f"frozen:{key}")) for key, v in part.attrs.items() if isinstance(v, ParameterValue)
        )
        path = name
        while True:
            if own:
                frozen[path] = frozen.get(path, True) and all(own)
                trained[path] = True
            if not path:
                break
            path = path.rpartition(".")[0]
    return {name: frozen[name] for name in trained}


def _is_frozen(part: ModuleValue) -> bool:
    frozen = [bool(value) for key, value in part.state.items() if key.startswith("frozen:")]
    bias = part.arguments.get("bias")
    without = part.spec is not None and "bias" in part.spec.signature and isinstance(bias, Const) and not bias.value
    unfrozen = part.state.get("frozen:bias") is None and not without
    return bool(frozen) and all(frozen) and not (unfrozen and len(frozen) == 1 and part.state.get("frozen:weight"))


def _outermost(name: str, frozen: dict[str, bool]) -> str:
    """The outermost part around a norm of which every parameter is frozen."""
    found = ""
    path = name.rpartition(".")[0]
    while path and frozen.get(path):
        found = path
        path = path.rpartition(".")[0]
    return found


__all__ = ["Freezing"]
