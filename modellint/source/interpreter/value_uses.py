"""What is done with single values: thresholds, logarithms, dropped results, factors of a loss, `.data`."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from modellint.facts.loss_use import OutputKind
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.notes import GRAD_SWITCHES, Notes
from modellint.source.interpreter.value_records import (
    DataRecord,
    DroppedRecord,
    FactorRecord,
    LogRecord,
    ThresholdRecord,
)
from modellint.source.interpreter.values import (
    Const,
    ContextValue,
    External,
    ModuleValue,
    Nature,
    ObjectValue,
    ParameterValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
)
from modellint.source.torch_api.functions import (
    ACTIVATIONS,
    CREATORS,
    DROPOUTS,
    PURE_TENSOR_METHODS,
    SHAPE_OPS,
    TENSOR_METHODS,
)
from modellint.source.torch_api.names import canonical


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRANSFORMS = _words(
    """to cuda cpu float half double bfloat16 long int bool type type_as view view_as reshape reshape_as flatten
    unflatten squeeze unsqueeze permute transpose t swapaxes swapdims movedim moveaxis contiguous detach expand
    expand_as repeat flip roll relu sigmoid tanh softmax log_softmax clamp clip clamp_min clamp_max masked_fill
    masked_scatter index_fill index_copy index_add scatter scatter_add abs add sub mul div neg exp log sqrt pow round
    floor ceil nan_to_num normalize dropout gelu leaky_relu elu silu selu dropout1d dropout2d dropout3d alpha_dropout
    pad interpolate"""
)
"""What gives the same tensor in another form: as a statement, it was meant to change what it was applied to."""
_SEVERAL = _words(
    """max min topk sort kthvalue mode median unbind chunk split tensor_split frexp aminmax cummax cummin lu qr svd
    eig slogdet split_with_sizes hsplit vsplit dsplit unique unique_consecutive lstsq symeig histogram where nonzero
    var_mean std_mean meshgrid broadcast_tensors"""
)
"""They may give a tuple."""
_TRANSPARENT = frozenset(["to", "cuda", "cpu", "detach", "requires_grad_", "retain_grad", "clone"])
_WHOLE = _words("argmax argmin argsort randint one_hot long int bool eq ne gt ge lt le arange")
_SIGNED = frozenset(["randn", "randn_like", "sin", "cos"])
"""Values of both signs."""
_COMPARES = {"gt": ">", "greater": ">", "ge": ">=", "greater_equal": ">=", "lt": "<", "less": "<", "le": "<=",
             "less_equal": "<="}  # fmt: skip
_OPERATORS: dict[type, str] = {ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<="}
_CONTEXTS = frozenset({"torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.amp.autocast"})
_TIMES = (ast.Mult, ast.Div)


class ValueUses(Notes):
    """Notes what happens to values."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.arrays: dict[Unknown, Tensor] = {}
        """Arrays of numpy that hold the raw scores of a model."""

    # ---------------------------------------------------------------- results

    def value_made(self, name: str, source: Value | None, result: Value, call: CallArguments, node: ast.AST) -> Value:
        """A torch function or tensor method gave a result: what is known of its values."""
        last = name.rpartition(".")[2]
        if isinstance(source, Tensor):
            if last in _COMPARES:
                self._threshold(source, call.positional[-1] if call.positional else None, _COMPARES[last], node)
            elif last == "round" and "decimals" not in call.keywords:
                self._rounded(source, node)
            elif last == "log":
                self._logarithm(name, source, call, node)
        if last == "numpy" and isinstance(result, Unknown) and isinstance(source, Tensor):
            if source.kind is OutputKind.LOGITS and source.model is not None:
                self.arrays[result] = source
        if last == "pad_sequence" and isinstance(result, Unknown):
            result = Tensor(forwards=result.forwards, losses=result.losses)
        if not isinstance(result, Tensor) or result is source:
            return result
        if last in _TRANSPARENT or last in ("float", "double", "half") or name in SHAPE_OPS or name in DROPOUTS:
            return result
        if name.startswith("torch.Tensor."):
            known = isinstance(source, Tensor) and source.nature.known and last not in _SEVERAL
        else:
            known = name in CREATORS or name.startswith("torch.nn.functional.") or _gives_a_tensor(last)
            known = known or name == "torch.einsum"
        nature = Nature(known or name in ACTIVATIONS, last in _WHOLE)
        nature.signed = last in _SIGNED
        if last == "exp" and isinstance(source, Tensor) and source.kind is OutputKind.LOGITS:
            nature.formula = "exp"
        elif last == "sum" and isinstance(source, Tensor) and source.nature.formula == "exp":
            nature.formula = "sum of exp"
        elif last in ("tensor", "as_tensor") and call.positional:
            nature.whole = _whole_numbers(call.positional[0])
        elif last == "pad_sequence":
            padding = call.get(2, "padding_value")
            if padding is None or isinstance(padding, Const):
                value = padding.value if padding is not None else 0
                nature.padding = float(value) if isinstance(value, int | float) else None
        result.nature = nature
        return result

    def _logarithm(self, name: str, source: Tensor, call: CallArguments, node: ast.AST) -> None:
        if source.kind not in (OutputKind.DISTRIBUTION, OutputKind.PROBABILITIES):
            if source.nature.formula != "sum of exp":
                return
        if not isinstance(node, ast.Call):
            return
        if name.startswith("torch.Tensor."):
            argument: ast.AST | None = node.func.value if isinstance(node.func, ast.Attribute) else None
        else:
            argument = node.args[0] if node.args else None
        if argument is None:
            return
        function = self.frame.function.node if self.frame.function is not None else None
        recorded = self.flow["grad"][0] is not False
        record = LogRecord(self.site(node), argument, source, function, recorded)
        known = self.records.values.logs.setdefault(node, record)
        known.recorded = known.recorded or recorded

    # ---------------------------------------------------------------- thresholds

    def compared(self, node: ast.Compare, values: Sequence[Value]) -> None:
        """`left op right`, not decided."""
        operator = _OPERATORS.get(type(node.ops[0]))
        if operator is None or len(values) != 2:
            return
        left, right = (self.arrays.get(v, v) if isinstance(v, Unknown) else v for v in values)
        if isinstance(left, Tensor):
            self._threshold(left, right, operator, node)
        elif isinstance(right, Tensor):
            self._threshold(right, left, operator.translate(str.maketrans("<>", "><")), node)

    def _threshold(self, value: Tensor, limit: Value | None, operator: str, node: ast.AST) -> None:
        if value.kind is OutputKind.LOGITS and value.model is not None and isinstance(limit, Const):
            number = limit.value
            if isinstance(number, float) and number == 0.5:
                record = ThresholdRecord(self.site(node), value, f"{operator} {number:g}")
                self.records.values.thresholds.setdefault((node, value.model.key), record)

    def _rounded(self, value: Tensor, node: ast.AST) -> None:
        if value.kind is OutputKind.LOGITS and value.model is not None:
            record = ThresholdRecord(self.site(node), value, "round")
            self.records.values.thresholds.setdefault((node, value.model.key), record)

    # ---------------------------------------------------------------- factors of a loss

    def loss_scaled(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> None:
        """A loss is multiplied or divided."""
        if not isinstance(op, _TIMES):
            return
        for value, other, name in ((left, right, "right"), (right, left, "left")):
            if not isinstance(value, Tensor) or not value.losses:
                continue
            operand = getattr(node, "value" if isinstance(node, ast.AugAssign) else name, None)
            if operand is None:
                operand = node
            for loss in value.losses:
                if "kl_div" in loss.name or "KLDiv" in loss.name:
                    noted = any(factor.node is operand for factor in loss.factors)  # in an earlier round of a loop
                    if isinstance(op, ast.Mult) and not noted:
                        loss.factors.append(FactorRecord(operand, self.site(node), other))

    # ---------------------------------------------------------------- dropped results

    def plainly(self, node: ast.AST) -> Value | None:
        """What a name or a dotted name is bound to, without running anything."""
        if isinstance(node, ast.Name):
            return self.lookup(node.id, self.frames[-1].scope)
        if isinstance(node, ast.Attribute):
            owner = self.plainly(node.value)
            if isinstance(owner, ModuleValue | ObjectValue):
                return owner.attrs.get(node.attr)
            if isinstance(owner, External):
                return External(f"{owner.name}.{node.attr}")
        return None

    def dropped_call(self, node: ast.Call, result: Value) -> None:
        """A call as a statement."""
        function = node.func
        value = self.plainly(function)
        if isinstance(value, External):
            name = canonical(value.name)
            if name in _CONTEXTS:
                if isinstance(result, ContextValue) or name not in GRAD_SWITCHES:
                    self._drop(node, "context", name, self.file.text.segment(function), None)
            elif _transforms(name) and node.args and not _in_place(node):
                self._drop_of(node, "tensor", self.file.text.segment(function), node.args[0])
        elif isinstance(value, ModuleValue):
            if _is_passing(value) and node.args:
                self._drop_of(node, "layer", value.name.rpartition(".")[2], node.args[0])
        elif value is None and isinstance(function, ast.Attribute) and function.attr in _TRANSFORMS:
            if not _in_place(node):
                self._drop_of(node, "tensor", function.attr, function.value)

    def assigned_call(self, node: ast.Assign) -> None:
        """`name = call(...)` in a forward."""
        target, call = node.targets[0], node.value
        if len(node.targets) != 1 or not isinstance(target, ast.Name) or not isinstance(call, ast.Call):
            return
        if not call.args or not isinstance(call.args[0], ast.Name) or call.args[0].id == target.id:
            return
        value = self.plainly(call.func)
        if isinstance(value, External):
            name = canonical(value.name)
            changes = name in DROPOUTS or ACTIVATIONS.get(name) in ("other", "exp", "log", "non_negative", "tanh")
            if changes and not _in_place(call):
                self._drop_of(call, "unread", self.file.text.segment(call.func), call.args[0], target.id)
        elif isinstance(value, ModuleValue) and _is_passing(value):
            self._drop_of(call, "unread", value.name.rpartition(".")[2], call.args[0], target.id)

    def _drop_of(self, node: ast.Call, role: str, operation: str, subject: ast.AST, name: str = "") -> None:
        """`subject` was meant to change; it is looked for below methods that change nothing."""
        while True:
            if isinstance(subject, ast.Call) and isinstance(subject.func, ast.Attribute):
                if subject.func.attr not in PURE_TENSOR_METHODS:
                    return
                subject = subject.func.value
            elif isinstance(subject, ast.Attribute) and subject.attr in ("data", "grad"):
                subject = subject.value
            else:
                break
        value = self.plainly(subject)
        if isinstance(value, Tensor | ParameterValue):
            tensor = value if isinstance(value, Tensor) else None
            self._drop(node, role, operation, self.file.text.segment(subject), tensor, name)

    def _drop(
        self, node: ast.AST, role: str, operation: str, subject: str, value: Tensor | None, name: str = ""
    ) -> None:
        function = self.frame.function.node if self.frame.function is not None else None
        self.records.values.dropped.setdefault(
            node, DroppedRecord(self.site(node), role, operation, subject, value, function, name)
        )

    def class_decorated(self, node: ast.ClassDef, decorators: Sequence[Value]) -> None:
        """`@torch.no_grad()` on a class."""
        for value, decorator in zip(decorators, node.decorator_list, strict=True):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            known = value.name if isinstance(value, External) else ""
            if isinstance(value, ContextValue) and value.what == "grad":
                function = self.plainly(called)
                known = function.name if isinstance(function, External) else ""
            name = canonical(known)
            if name in GRAD_SWITCHES and GRAD_SWITCHES[name] is False:
                self._drop(decorator, "class", name, node.name, None)

    # ---------------------------------------------------------------- .data

    def data_read(self, value: Tensor, node: ast.AST) -> None:
        """`x.data`."""
        # What is kept as an attribute is a weight or a buffer, which is written so on purpose.
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            return
        if (value.nature.known or value.maker is not None) and (value.forwards or value.losses or self.forwards):
            self.records.values.data.setdefault(node, DataRecord(self.site(node), value, bool(self.forwards)))


def _gives_a_tensor(name: str) -> bool:
    return name in TENSOR_METHODS and name in PURE_TENSOR_METHODS and name not in _SEVERAL


def _transforms(name: str) -> bool:
    prefix, _, last = name.rpartition(".")
    return prefix in ("torch", "torch.nn.functional") and last in _TRANSFORMS


def _in_place(node: ast.Call) -> bool:
    """Whether a call may write somewhere: `out=`, `inplace=`, or a flag at the place of `inplace`."""
    if any(keyword.arg in ("out", "inplace", None) for keyword in node.keywords):
        return True
    return any(isinstance(part, ast.Constant) and isinstance(part.value, bool) for part in node.args[1:])


def _is_passing(module: ModuleValue) -> bool:
    """A dropout or an activation of torch that leaves its input as it is."""
    if module.spec is None or module.cls is not None or module.spec.parametric:
        return False
    if module.spec.family not in ("dropout", "activation"):
        return False
    rate, in_place = module.arguments.get("p"), module.arguments.get("inplace")
    if isinstance(rate, Const) and not rate.value:
        return False
    if module.spec.output in ("softmax", "sigmoid", "log_softmax"):
        return False
    return in_place is None or (isinstance(in_place, Const) and in_place.value is False)


def _whole_numbers(value: Value, depth: int = 4) -> bool:
    """Whether a display holds whole numbers only."""
    if isinstance(value, Const):
        return isinstance(value.value, int | float) and float(value.value).is_integer()
    if isinstance(value, SequenceValue) and depth:
        return bool(value.items) and value.complete and all(_whole_numbers(i, depth - 1) for i in value.items)
    return False
