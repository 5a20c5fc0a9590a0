"""State dicts: which objects are still the parameters themselves, and what becomes of them after later steps."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from modellint.facts.record import slotted
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import (
    UNMOVED,
    Cells,
    Choice,
    Const,
    DictValue,
    FunctionValue,
    IterationValue,
    LibraryObject,
    ModuleValue,
    ObjectValue,
    SequenceValue,
    Unknown,
    Value,
    sequence,
)
from modellint.source.interpreter.weight_records import MoveRecord, StateRecord

_COPIES = frozenset({"clone", "new_tensor", "tolist", "item", "half", "bfloat16", "double", "float", "type", "numpy"})
_SAME = frozenset({"detach", "copy", "data", "contiguous", "view", "flatten", "reshape", "squeeze"})


@slotted
class StateDictValue(Value):
    """`model.state_dict()`, or tensors taken out of it. `record` is None for a copy."""

    record: StateRecord | None


_COPY = StateDictValue(None)


class StateDicts(ValueMethods):
    """Follows state dicts."""

    def call_module_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name == "state_dict" and isinstance(node, ast.Call):
            super().call_module_method(module, name, call, node)
            text = self.file.text.segment(node)
            record = StateRecord(self.site(node), text, module, len(self.records.steps))
            self.records.weights.states.append(record)
            return StateDictValue(record)
        if name == "load_state_dict":
            self._used(call.positional[:1] or list(call.keywords.values())[:1], node)
        return super().call_module_method(module, name, call, node)

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        if not isinstance(receiver, StateDictValue):
            return super().call_method(receiver, name, call, node)
        if name == "items":
            return IterationValue("pairs", (sequence("tuple", (Unknown("a name"), receiver)),))
        if name == "values":
            return IterationValue("pairs", (receiver,))
        if name == "keys":
            return Unknown("names of parameters")
        if name in ("get", "pop") or name in _SAME:
            return receiver
        record = receiver.record
        if record is None or name in _COPIES:
            return _COPY
        if name in ("cpu", "to", "cuda"):
            on_cpu = record.model.state.get("device", UNMOVED) is UNMOVED and not record.model.from_outside
            first = call.get(0, "device")
            to_cpu = name == "cpu" or (isinstance(first, Const) and first.value == "cpu")
            return receiver if on_cpu and to_cpu else _COPY
        if name.endswith("_") and not name.endswith("__"):
            self.records.weights.moves.append(MoveRecord(record.model, True, self.loops, bool(self.forwards)))
            return receiver
        return self.unknown(node, f"the result of `{name}`", *call.values())

    def get_item(self, value: Value, index: Value, node: ast.Subscript) -> Value:
        if isinstance(value, StateDictValue):
            return value
        return super().get_item(value, index, node)

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        if isinstance(value, StateDictValue):
            return False, [Unknown("a name"), Unknown("a name")]
        return super().iterate(value, node)

    def copy(self, value: Value, node: ast.AST) -> Value:
        if isinstance(value, StateDictValue):
            return _COPY
        if isinstance(value, DictValue) and _aliases([value]):
            items = {key: self.copy(item, node) for key, item in value.items.items()}
            return DictValue(Cells(items), Cells(value.box), value.site)
        if isinstance(value, Choice) and _aliases([value]):
            return _COPY
        return super().copy(value, node)

    def _make_dict(self, call: CallArguments, node: ast.AST) -> Value:
        if len(call.positional) == 1 and isinstance(call.positional[0], StateDictValue) and not call.keywords:
            return call.positional[0]
        return super()._make_dict(call, node)

    def join(self, values: Iterable[Value]) -> Value:
        """Of several results of one call the oldest one stands for all: it has seen most steps."""
        if not self.records.weights.states:
            return super().join(values)
        given: list[Value] = []
        oldest: dict[object, StateDictValue] = {}
        for value in values:
            for option in value.options if isinstance(value, Choice) else (value,):
                if isinstance(option, StateDictValue) and option.record is not None:
                    known = oldest.setdefault((option.record.site.node, option.record.model.key), option)
                    if known is not option:
                        assert known.record is not None
                        if option.record.steps < known.record.steps:
                            given[given.index(known)] = option
                            oldest[option.record.site.node, option.record.model.key] = option
                        continue
                given.append(option)
        return super().join(given)

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in ("torch.save", "pickle.dump", "joblib.dump"):
            self._used(call.values(), node)
        elif name == "copy.copy" and len(call.positional) == 1 and isinstance(call.positional[0], StateDictValue):
            return call.positional[0]
        return super().call_external(name, call, node)

    def leave_function(self, value: Value) -> None:
        if self.records.weights.states:
            function = self.frame.function
            if function is not None and function.name != "state_dict" and isinstance(function, FunctionValue):
                self._used([value], function.node, returned=True)
        super().leave_function(value)

    def _used(self, values: Sequence[Value], node: ast.AST, returned: bool = False) -> None:
        """A state dict is loaded, saved or returned: what it holds matters now."""
        steps = self.records.steps
        for record in _aliases(values):
            if record.used is not None or record.steps >= len(steps):
                continue
            keys = {part.key for _, part in record.model.walk()}
            later = 0
            for optimizer, _ in steps[record.steps :]:
                held = {part.key for module in optimizer.modules for _, part in module.walk()}
                later += bool(held & keys)
            if later:
                record.used = self.site(node)
                record.later_steps = later


def _aliases(values: Sequence[Value], depth: int = 3) -> list[StateRecord]:
    """The state dicts that some values are or hold."""
    found: list[StateRecord] = []
    for value in values:
        if isinstance(value, StateDictValue):
            if value.record is not None:
                found.append(value.record)
        elif depth:
            parts: Sequence[Value] = ()
            if isinstance(value, SequenceValue):
                parts = value.items
            elif isinstance(value, DictValue):
                parts = tuple(value.items.values())
            elif isinstance(value, Choice):
                parts = value.options
            elif isinstance(value, ObjectValue | LibraryObject):
                parts = ()
            if parts:
                found.extend(_aliases(parts, depth - 1))
    return found


__all__ = ["StateDictValue", "StateDicts"]
