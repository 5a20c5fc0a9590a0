"""How weights start: which write was the last one, what was loaded before it, what nothing ever filled."""

from __future__ import annotations

import ast
from math import sqrt
from typing import NamedTuple

from modellint.source.interpreter.expressions import CallArguments, positional
from modellint.source.interpreter.machine import ForwardFrame
from modellint.source.interpreter.records import FillRecord, ForwardRecord
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import (
    BoundMethod,
    ClassValue,
    Const,
    FunctionValue,
    IterationValue,
    ModuleValue,
    ParameterValue,
    Site,
    Tensor,
    Unknown,
    Value,
    const,
    sequence,
)
from modellint.source.interpreter.weight_records import (
    WEIGHT_FAMILIES,
    LoadRecord,
    MoveRecord,
    OverwriteRecord,
    PaddingRecord,
    PassRecord,
    RawRecord,
    SpreadRecord,
)
from modellint.source.torch_api.functions import INIT_FUNCTIONS
from modellint.source.torch_api.names import canonical

_EMPTY = frozenset({"empty", "empty_like", "empty_strided"})
_SIZED = frozenset({"torch.Tensor", "torch.FloatTensor", "torch.DoubleTensor", "torch.HalfTensor"})
_PARAMETERS = frozenset({"torch.nn.Parameter", "torch.nn.parameter.Parameter"})
_MOVING = frozenset({"to", "cuda", "cpu", "float", "double", "half", "requires_grad_", "size", "dim", "numel"})
_VIEWS = frozenset(
    {
        "t", "transpose", "permute", "chunk", "split", "tensor_split", "unbind", "narrow", "select", "squeeze",
        "unsqueeze", "expand", "swapaxes", "swapdims", "movedim", "diagonal", "unflatten", "numpy", "data_ptr",
    }
)  # fmt: skip


class RawTensor(Tensor):
    """`torch.empty(...)`: whatever was in the memory. It stays one only until something is done with it."""

    __slots__ = ("site", "touched")

    def __init__(self, made: Tensor, site: Site) -> None:
        super().__init__(origin=made.origin, device=made.device)
        self.site = site
        self.touched = False


class RawParameter(ParameterValue):
    """`nn.Parameter(torch.empty(...))`, before it is an attribute."""

    __slots__ = ("site", "touched")

    def __init__(self, site: Site) -> None:
        super().__init__(())
        self.site = site
        self.touched = False


class Row(NamedTuple):
    """Some elements of a parameter: the origin of what `weight[index]` gives."""

    parameter: ParameterValue
    chosen: Value


class How(NamedTuple):
    """What an operation writes."""

    kind: str
    spread: float | None = None


def spread_of(name: str, call: CallArguments, first: int) -> float | None:
    """The standard deviation that `normal_` or `uniform_` is told; `first` is the position behind the tensor."""
    kind = name.rpartition(".")[2]
    if kind in ("normal_", "trunc_normal_"):
        value = call.get(first + 1, "std")
        return _number(value, 1.0)
    if kind == "uniform_":
        low = _number(call.get(first, "a") or call.keywords.get("from"), 0.0)
        high = _number(call.get(first + 1, "b") or call.keywords.get("to"), 1.0)
        return abs(high - low) / sqrt(12) if low is not None and high is not None else None
    return None


def _number(value: Value | None, default: float) -> float | None:
    if value is None:
        return default
    if isinstance(value, Const) and isinstance(value.value, int | float) and not isinstance(value.value, bool):
        return float(value.value)
    return None


def _touch(value: Value) -> None:
    if isinstance(value, RawTensor | RawParameter):
        value.touched = True


def row_of(value: Value) -> Row | None:
    """The elements of a parameter that a value is, if it is that."""
    return value.origin if isinstance(value, Unknown) and isinstance(value.origin, Row) else None


class Weights(ValueMethods):
    """Follows the weights from their construction to the first forward."""

    _how: How = How("")
    _raw_parameters = 0
    _padded_tables = 0

    # ---------------------------------------------------------------- writes

    def fill(self, target: ParameterValue, value: float | None, node: ast.AST) -> None:
        _touch(target)
        super().fill(target, value, node)
        how = self._how
        records = self.records.weights
        running = self.loops if self.loops and not self._constructing() else ()
        for module, name in target.targets:
            record = module.state.get(f"fill:{name}")
            if not isinstance(record, FillRecord):
                continue
            record.how, record.spread = how
            if f"raw:{name}" in module.state:
                self.drop(module.state, f"raw:{name}")
            records.written.add(module.key)
            if running or self.forwards:
                self._note_move(module, False)
            if name == "weight" and module.spec is not None and module.spec.family in WEIGHT_FAMILIES:
                if how.kind == "random" and not self.undecided and not self.forwards:
                    records.spread[module.key] = SpreadRecord(module, record)
                else:
                    records.spread.pop(module.key, None)
                self._note_overwritten(module, record)

    def _note_move(self, module: ModuleValue, whole: bool) -> None:
        """A write in a loop. What was made in the loop, too, starts there: that is no move."""
        if self._constructing() and not self.forwards:
            return
        born = module.state.get("born in") or ()  # None where a copy made in a loop met none
        loops = tuple(loop for loop in self.loops if not any(loop is one for one in born))
        if loops or self.forwards:
            self.records.weights.moves.append(MoveRecord(module, whole, loops, bool(self.forwards)))

    def construct_module(self, cls: ClassValue, call: CallArguments, node: ast.AST) -> Value:
        made = super().construct_module(cls, call, node)
        if self.loops and isinstance(made, ModuleValue):
            for part in made.walk_values():
                part.state["born in"] = self.loops
        return made

    def construct_layer(self, name: str, call: CallArguments, node: ast.AST) -> ModuleValue:
        made = super().construct_layer(name, call, node)
        if self.loops:
            made.state["born in"] = self.loops
        return made

    def _constructing(self) -> bool:
        return any(frame.module is not None and frame.module.constructing for frame in self.frames)

    def _note_overwritten(self, module: ModuleValue, record: FillRecord) -> None:
        load = module.state.get("loaded by")
        if not isinstance(load, LoadRecord) or record.how not in ("random", "constant") or self.forwards:
            return
        # Under a condition it is on purpose; and what has run in between has used what was loaded.
        if load.path == self.path and load.forwards == len(self.records.forwards):
            self.records.weights.overwritten.append(OverwriteRecord(load, module, record))

    def _fill_row(self, row: Row, how: How, value: float | None, node: ast.AST) -> None:
        """A write to `weight[index]`; an index of None means all of them."""
        whole = isinstance(row.chosen, Const) and row.chosen.value is None
        saved, self._how = self._how, How("none index") if whole and value == 0 else How("part")
        try:
            self.fill(row.parameter, value if whole else None, node)
        finally:
            self._how = saved

    def write_parameter(self, target: Value, index: Value | None, value: Value, node: ast.AST) -> None:
        _touch(target)
        if isinstance(target, ParameterValue) and index is not None and not _is_everything(index):
            number = value.value if isinstance(value, Const) and isinstance(value.value, int | float) else None
            self._fill_row(Row(target, index), self._how, number, node)
            return
        saved, self._how = self._how, How("copy")
        try:
            super().write_parameter(target, index, value, node)
        finally:
            self._how = saved

    def _initialise(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        spec = INIT_FUNCTIONS[name]
        target = call.positional[0] if call.positional else call.keywords.get("tensor")
        constant = spec.constant is not None or spec.parameter is not None
        how = How("constant") if constant else How("random" if spec.random else "", spread_of(name, call, 1))
        for option in self._flat([target]) if target is not None else []:
            _touch(option)
            row = row_of(option)
            if row is not None:
                value = spec.constant
                if spec.parameter is not None:
                    given = call.get(spec.position, spec.parameter)
                    value = _number(given, 0.0) if given is not None else None
                self._fill_row(row, how, value, node)
        saved, self._how = self._how, how
        try:
            return super()._initialise(name, call, node)
        finally:
            self._how = saved

    def _parameter_method(self, value: ParameterValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        known = INIT_FUNCTIONS.get(f"torch.Tensor.{name}")
        how = How("")
        if known is not None:
            how = How("random", spread_of(name, call, 0)) if known.random else How("constant")
        elif name in ("copy_", "set_"):
            how = How("copy")
        elif name in _VIEWS:
            self._lose_raw(value)  # what it gives may be a view that is filled
        saved, self._how = self._how, how
        try:
            return super()._parameter_method(value, name, call, node)
        finally:
            self._how = saved

    # ---------------------------------------------------------------- rows

    def get_item(self, value: Value, index: Value, node: ast.Subscript) -> Value:
        _touch(value)
        if isinstance(value, ParameterValue):
            if value.targets:
                return Unknown("some elements of a parameter", origin=Row(value, index))
        elif isinstance(value, Unknown) and (row := row_of(value)) is not None:
            return Unknown(value.reason, origin=Row(row.parameter, Unknown("elements of elements")))
        return super().get_item(value, index, node)

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        if isinstance(value, ParameterValue):
            _touch(value)
            if value.targets:  # what fills its rows fills parts of it
                row = Row(value, Unknown("an index"))
                return False, [Unknown("some elements of a parameter", origin=row) for _ in range(2)]
        return super().iterate(value, node)

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        row = row_of(function)
        if row is not None and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if name.endswith("_") and not name.endswith("__"):
                value = 0.0 if name == "zero_" else None
                if name == "fill_":
                    value = _number(call.get(0, "value"), 0.0)
                self._fill_row(row, How("part"), value, node)
                return function
        return super().unknown_call(function, call, node)

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        row = row_of(target)
        if row is not None and name == "data":
            self._fill_row(row, How("part"), None, node)
            return
        super().set_attribute(target, name, value, node)

    def set_item(self, target: Value, index: Value, value: Value, node: ast.AST) -> None:
        _touch(target)
        row = row_of(target)
        if row is not None:
            self._fill_row(Row(row.parameter, Unknown("elements of elements")), How("part"), None, node)
            return
        super().set_item(target, index, value, node)

    # ---------------------------------------------------------------- memory that nothing filled

    def _created(self, name: str, call: CallArguments) -> Value:
        made = super()._created(name, call)
        if name.rpartition(".")[2] in _EMPTY and isinstance(made, Tensor):
            device = call.keywords.get("device")
            if not (isinstance(device, Const) and device.value == "meta"):
                return RawTensor(made, self.site(call.node))
        return made

    def _torch_function(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in _PARAMETERS:
            return super()._torch_function(name, call, node)
        for value in call.values():
            _touch(value)
        if self._raw_parameters:
            self._lose_raw(call.keywords.get("out"))
        if name.startswith("torch.nn.init.") and name not in INIT_FUNCTIONS and call.positional:
            for option in self._flat([call.positional[0]]):
                if isinstance(option, ParameterValue):
                    self.fill(option, None, node)
        elif name.startswith("torch._foreach_"):
            self._note_moves(call.values())
        if name in _SIZED and not call.open and call.positional and not call.keywords:
            numbers = [isinstance(v, Const) and type(v.value) is int for v in call.positional]
            unknown = [type(v) is Unknown for v in call.positional]
            if all(numbers) or (len(numbers) > 1 and all(n or u for n, u in zip(numbers, unknown, strict=True))):
                return RawTensor(Tensor(), self.site(node))
        return super()._torch_function(name, call, node)

    def _parameter_made(self, call: CallArguments) -> Value:
        first = call.positional[0] if call.positional else call.keywords.get("data")
        trained = call.get(1, "requires_grad")
        if isinstance(first, RawTensor) and not first.touched and (trained is None or self.truth(trained)):
            return RawParameter(self.site(call.node))
        return super()._parameter_made(call)

    def _tensor_method(self, value: Tensor, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name not in _MOVING:
            _touch(value)
        result = super()._tensor_method(value, name, call, node)
        if name == "new_empty" and isinstance(result, Tensor):
            return RawTensor(result, self.site(node))
        return result

    def tensor_attribute(self, value: Tensor | ParameterValue, name: str, node: ast.AST) -> Value:
        if isinstance(value, RawTensor) and name in ("data", "T", "mT"):
            _touch(value)
        return super().tensor_attribute(value, name, node)

    def set_module_attribute(self, module: ModuleValue, name: str, value: Value, node: ast.AST) -> None:
        super().set_module_attribute(module, name, value, node)
        raw = f"raw:{name}"
        if isinstance(value, RawParameter) and not value.touched:
            self.put(module.state, raw, value.site)
            self._raw_parameters += 1
        elif raw in module.state:
            self.drop(module.state, raw)

    def _lose_raw(self, value: Value | None) -> None:
        """A parameter went where it may be filled."""
        if value is None:
            return
        _touch(value)
        row = row_of(value)
        parameter = row.parameter if row is not None else value
        for module, name in parameter.targets if isinstance(parameter, ParameterValue) else ():
            if f"raw:{name}" in module.state:
                self.drop(module.state, f"raw:{name}")

    def _escape(self, values: list[Value], node: ast.AST, harmless: bool) -> None:
        super()._escape(values, node, harmless)
        if harmless:
            return
        for value in self._flat(values):
            if type(value) is not Const and (type(value) is not Unknown or value.origin is not None):
                self._lose_raw(value)
        self._note_moves(values)

    def _note_moves(self, values: list[Value]) -> None:
        """Parameters went where they may be changed."""
        if not self.loops:
            return
        for value in self._flat(values):
            modules = getattr(value, "modules", ())
            if isinstance(value, ModuleValue):
                modules = (value,)
            elif isinstance(value, ParameterValue):
                modules = tuple(module for module, _ in value.targets)
            for module in modules:
                self._note_move(module, True)

    # ---------------------------------------------------------------- loads

    def call_module_method(self, module: ModuleValue, name: str, call: CallArguments, node: ast.AST) -> Value:
        result = super().call_module_method(module, name, call, node)
        if name == "load_state_dict":
            self._loaded(module, node)
        elif name in ("state_dict", "super.state_dict"):
            for _, part in module.walk():
                if "loaded by" in part.state:
                    self.drop(part.state, "loaded by")
        elif name in ("reset_parameters", "_fill_padding_idx_with_zero") and module.spec is not None:
            # torch's own initialisation; that of an embedding zeroes the row, too
            zeroes = module.spec.family == "embedding"
            saved, self._how = self._how, How("part" if zeroes else "random")
            try:
                self.fill(ParameterValue(((module, "weight"),)), None, node)
            finally:
                self._how = saved
        elif name in ("register_forward_pre_hook", "register_forward_hook"):
            self.records.weights.scaled.add(module.key)
        return result

    def _loaded(self, module: ModuleValue, node: ast.AST) -> None:
        parts = [part for _, part in module.walk()]
        keys = {part.key for part in parts}
        records = self.records.weights
        for record in records.overwritten:
            if record.module.key in keys:
                record.reloaded = True
        layers = sum(part.spec is not None and part.spec.family in WEIGHT_FAMILIES for part in parts)
        text = self.file.text.segment(node) if hasattr(node, "lineno") else ""
        if self.loops:
            self._note_move(module, True)
        load = LoadRecord(self.site(node), text, self.path, len(self.records.forwards), layers, module)
        for part in parts:
            self.put(part.state, "loaded by", load)
            self.put(part.state, "given weights", True)
            records.spread.pop(part.key, None)
            for key in [key for key in part.state if key.startswith("raw:")]:
                self.drop(part.state, key)

    def copy(self, value: Value, node: ast.AST) -> Value:
        result = super().copy(value, node)
        if isinstance(value, ModuleValue):
            for _, part in result.walk() if isinstance(result, ModuleValue) else ():
                self.put(part.state, "given weights", True)
                self.put(part.state, "born in", self.loops)
            for _, part in value.walk():  # what was loaded lives on in the copy
                self.put(part.state, "given weights", True)
                if "loaded by" in part.state:
                    self.drop(part.state, "loaded by")
        return result

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        result = super().call_external(name, call, node)
        if isinstance(result, ModuleValue):
            if result.known_library is not None and _is_pretrained(canonical(name), call):
                self._loaded(result, node)
                layer = self.construct_layer("torch.nn.Conv2d", positional(node, const(64), const(64), const(3)), node)
                norm = self.construct_layer("torch.nn.BatchNorm2d", positional(node, const(64)), node)
                load = result.state["loaded by"]
                load.layers = 1
                layer.state["loaded by"] = norm.state["loaded by"] = load
                result.state["stand_ins"] = (layer, norm)
            elif result.spec is not None and result.name == "torch.nn.Embedding":
                self._padded_tables += "padding_idx" in result.arguments
            if canonical(name).startswith("torch.nn.utils."):
                self.records.weights.scaled.add(result.key)
        return result

    # ---------------------------------------------------------------- passes over all modules

    def _below(self, module: ModuleValue, name: str, node: ast.AST) -> Value:
        result = super()._below(module, name, node)
        if not name.endswith("modules") or not isinstance(result, IterationValue):
            return result
        named = name.startswith("named")
        extra: list[Value] = []
        parts: list[tuple[str, ModuleValue]] = []
        for path, part in module.walk():
            parts.append((path, part))
            for stand_in in part.state.get("stand_ins", ()):
                extra.append(sequence("tuple", (const(path), stand_in)) if named else stand_in)
        function = self.frame.function
        if function is not None and not self.undecided:
            site = self.site(node)
            self.records.weights.passes.append(PassRecord(function, site, module, tuple(parts), False))
        return IterationValue(result.how, (*result.parts, *extra)) if extra else result

    def _apply(self, module: ModuleValue, function: Value, node: ast.AST) -> Value:
        bare = function.function if isinstance(function, BoundMethod) else function
        if isinstance(bare, FunctionValue) and not self.undecided:
            site = self.site(node)
            self.records.weights.passes.append(PassRecord(bare, site, module, tuple(module.walk()), True))
        result = super()._apply(module, function, node)
        saved, self.applied = self.applied, self.site(node)
        try:
            for _, part in list(module.walk()):
                for stand_in in part.state.get("stand_ins", ()):
                    self.call(function, positional(node, stand_in), node)
        finally:
            self.applied = saved
        return result

    def _tensor_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(op, ast.Mult | ast.Div) and not (isinstance(left, Tensor) and isinstance(right, Tensor)):
            producer = left.producer if isinstance(left, Tensor) else getattr(right, "producer", None)
            if type(producer) is int:
                self.records.weights.scaled.add(producer)
        return super()._tensor_operation(node, op, left, right)

    # ---------------------------------------------------------------- the first forward

    def forward_ended(self, record: ForwardRecord, frame: ForwardFrame) -> None:
        super().forward_ended(record, frame)
        model = record.model
        if (self._raw_parameters or self._padded_tables) and not model.state.get("weights seen"):
            model.state["weights seen"] = True
            for name, part in model.walk():
                if part.spec is not None and part.name == "torch.nn.Embedding":
                    self._note_table(record, name, part)
                if not part.state.get("escaped"):
                    self._note_raw(record, name, part)

    def _note_table(self, record: ForwardRecord, name: str, layer: ModuleValue) -> None:
        fill = layer.state.get("fill:weight")
        padding = layer.arguments.get("padding_idx")
        if not isinstance(fill, FillRecord) or not isinstance(padding, Const) or isinstance(padding.value, bool):
            return
        if layer.state.get("frozen") or layer.state.get("frozen:weight") or layer.state.get("loaded by"):
            return
        index = padding.value
        if isinstance(index, int) and (fill.how == "random" or (fill.how == "constant" and fill.value)):
            table = PaddingRecord(record.model, record.text, name, layer, index, fill)
        elif index is None and fill.how == "none index":
            table = PaddingRecord(record.model, record.text, name, layer, None, fill)
        else:
            return
        self.records.weights.paddings.append(table)

    def _note_raw(self, record: ForwardRecord, name: str, part: ModuleValue) -> None:
        for key, site in part.state.items():
            if key.startswith("raw:") and isinstance(site, Site) and key[4:] in part.reads:
                if part.cls is None or not part.cls.unknown_base:
                    raw = RawRecord(record.model, record.text, part, name, key[4:], site)
                    self.records.weights.raw.append(raw)


def _is_everything(index: Value) -> bool:
    if isinstance(index, Unknown):
        return index.reason == "a slice"
    return isinstance(index, Const) and index.value is Ellipsis


def _is_pretrained(name: str, call: CallArguments) -> bool:
    """Whether a constructor of a library's model is told to load weights."""
    if name.endswith(".from_pretrained"):
        return True
    given = call.keywords.get("pretrained")
    if given is None and name.startswith("torchvision."):
        given = call.keywords.get("weights")
        if given is None and call.positional and not name.endswith("get_model"):
            given = call.positional[0]
        if given is not None and not isinstance(given, Const):
            return type(given).__name__ == "External"  # `ResNet18_Weights.DEFAULT`
    return isinstance(given, Const) and bool(given.value)
