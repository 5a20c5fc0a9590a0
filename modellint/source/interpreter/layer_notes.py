"""Notes what is said about layers beside how they are called: rates, initial values, states, how batches are made."""

from __future__ import annotations

import ast
from functools import cached_property

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import (
    Choice,
    Const,
    LoaderValue,
    ModuleValue,
    ParameterValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
)


class LayerNotes(ValueMethods):
    """Keeps the notes."""

    def construct_layer(self, name: str, call: CallArguments, node: ast.AST) -> ModuleValue:
        """An instance of a torch layer; under which undecided branches it is made."""
        module = super().construct_layer(name, call, node)
        module.state["built"] = self.path
        if module.spec is not None and module.spec.family in ("dropout", "recurrent"):
            self.records.dropouts.append(module)
        return module

    def _add_child(self, module: ModuleValue, name: str, value: Value, node: ast.AST) -> None:
        super()._add_child(module, name, value, node)
        if isinstance(value, ModuleValue) and value.spec is not None and value.spec.family == "dropout":
            value.state["parent"] = (module, name)

    @cached_property
    def stacking_loaders(self) -> set[LoaderValue]:
        """Loaders that stack their samples along a new first axis."""
        return set()

    def _loader(self, call: CallArguments, node: ast.AST) -> Value:
        result = super()._loader(call, node)
        size = call.keywords.get("batch_size")
        if (
            isinstance(result, LoaderValue)
            and "collate_fn" not in call.keywords
            and not call.open
            and not _is_none(size)
        ):
            self.stacking_loaders.add(result)
        return result

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        """`target.name = value`."""
        if isinstance(target, ModuleValue) and not isinstance(value, ModuleValue):
            self._note_state(target, name, value, node)
        super().set_attribute(target, name, value, node)

    def _note_state(self, module: ModuleValue, name: str, value: Value, node: ast.AST) -> None:
        """An attribute that is filled with fresh numbers, or with what a recurrent layer returned as its state."""
        values = value.items if isinstance(value, SequenceValue) else (value,)
        if values and all(type(item) is Tensor and (item.origin == "dummy" or item.random) for item in values):
            prepared = module.state.setdefault("prepared", {})
            prepared.setdefault(name, (self.site(node), tuple(i.shape for i in values if isinstance(i, Tensor))))
            if self.frame.module is not module:
                module.state.setdefault("reset", {}).setdefault(name, self.site(node))
        elif isinstance(value, Unknown) and value.reason == "a state":
            module.state.setdefault("stored", {}).setdefault(name, self.site(node))

    def _initialise(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if "xavier" in name:
            target = call.get(0, "tensor")
            gain = call.get(1, "gain") is not None or call.open
            for option in target.options if isinstance(target, Choice) else (target,):
                if isinstance(option, ParameterValue):
                    for module, attribute in option.targets:
                        if attribute == "weight":
                            record = (self.site(node), name.rpartition(".")[2], gain, module)
                            self.records.xavier.append(record)
        return super()._initialise(name, call, node)


def _is_none(value: Value | None) -> bool:
    return isinstance(value, Const) and value.value is None
