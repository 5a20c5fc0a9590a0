"""Calls of functions and methods: what they do to the way of a gradient."""

from __future__ import annotations

import ast
import re

from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.modules import copied_tensor
from modellint.source.interpreter.reach import (
    DATA,
    DECISION,
    DETACH,
    NEW,
    NUMBER,
    OPEN,
    Reach,
    merged,
)
from modellint.source.interpreter.reach_stores import ReachStores
from modellint.source.interpreter.singularities import SAFE, SingularityRecord, guarded
from modellint.source.interpreter.values import (
    Choice,
    External,
    ModuleValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    now,
)
from modellint.source.torch_api.functions import CREATORS, METRIC_OPS, SHAPE_OPS, TENSOR_METHODS
from modellint.source.torch_api.names import canonical

_PAIRS = frozenset({"max", "min", "topk", "sort", "kthvalue", "mode", "median", "cummax", "cummin"})
_STEPS = """floor ceil trunc fix sign sgn logical_and logical_or logical_not logical_xor bucketize searchsorted
heaviside isnan isinf isfinite nonzero bincount long int short byte bool char"""
_DECISIONS = (METRIC_OPS - _PAIRS - {"where"}) | frozenset(_STEPS.split())
_NUMBERS = frozenset({"item", "tolist", "numpy", "__array__"})
_MEASURES = frozenset({"size", "dim", "numel", "nelement", "ndimension", "stride", "data_ptr", "type", "get_device"})
_CONSTRUCTORS = re.compile(r"torch\.(?:cuda\.)?(?:\w*Tensor)")
_TORCH = re.compile(r"torch\.(?:nn\.functional\.|linalg\.|special\.|fft\.)?[a-z]\w*")
_REDUCTIONS = frozenset(
    {"sum", "mean", "std", "var", "norm", "amax", "amin", "prod", "logsumexp", "softmax", "log_softmax", "cumsum",
     "gather", "index_select", "chunk", "split", "narrow", "to", "cuda", "cpu", "type"}
)  # fmt: skip
_OPEN_CALLS = frozenset({"load", "bernoulli", "multinomial", "normal", "poisson", "vmap", "compile", "cond", "func"})
_WHOLE = frozenset({"int", "int8", "int16", "int32", "int64", "uint8", "long", "short", "bool"})
_OUTSIDE = ("numpy.", "math.", "scipy.", "sklearn.")
_ARITHMETIC = frozenset(
    {"sum", "max", "min", "abs", "round", "float", "int", "bool", "str", "len", "any", "all", "pow"}
)


class ReachCalls(ReachStores):
    """Follows calls."""

    def _asks_for_gradient(self, call: CallArguments) -> bool | None:
        flag = call.keywords.get("requires_grad")
        if flag is None:
            return None if call.open else False
        return self.truth(flag)

    def call_external(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A call of a name from outside the project."""
        result = super().call_external(name, call, node)
        if not isinstance(result, Tensor | Unknown | Choice | SequenceValue):
            return result
        known = canonical(name)
        values = call.values()
        if known.startswith(_OUTSIDE):
            return self._noted(result, self._cut(NUMBER, values, node), values, node)
        if not known.startswith("torch."):
            return result
        if "out" in call.keywords and isinstance(call.keywords["out"], Tensor):
            call.keywords["out"].reach = OPEN
        last = known.rpartition(".")[2]
        if known in CREATORS or known == "torch.autograd.Variable" or _CONSTRUCTORS.fullmatch(known):
            return self._created_reach(known, last, call, result, values, node)
        if not _TORCH.fullmatch(known) or last in _OPEN_CALLS:
            return result
        if known == "torch.where" and isinstance(node, ast.Call):
            self._note_singular(node)
        if last in _DECISIONS:
            return self._noted(result, self._cut(DECISION, values, node), values, node)
        if last == "detach":
            return self._noted(result, self._cut(DETACH, values, node), values, node)
        if last == "one_hot":
            return self._noted(result, self._cut(DECISION, values, node), values, node)
        reach = self._merged(values[:1] if _takes_settings(last) else values)
        if last in _PAIRS and (len(call.positional) > 1 or "dim" in call.keywords):
            reach = self._paired(reach, values, node)
        return self._noted(result, reach, values, node)

    def _created_reach(
        self, known: str, last: str, call: CallArguments, result: Value, values: list[Value], node: ast.AST
    ) -> Value:
        if last in ("as_tensor", "asarray"):
            return self._noted(result, self._merged(values[:1]), values, node)
        reach = self._cut(DETACH if last == "Variable" else NEW, values[:1], node) if values else DATA
        if last not in ("tensor", "Variable", "scalar_tensor", "from_numpy") and not _CONSTRUCTORS.fullmatch(known):
            reach = DATA
        asked = self._asks_for_gradient(call)
        if asked is None:
            reach = OPEN
        elif asked:
            reach = self._leaf(reach)
        if isinstance(result, Tensor) and any(result is value for value in values):
            result = copied_tensor(result)
        if isinstance(result, Tensor | Unknown):
            result.reach = reach
        return result

    def _note_singular(self, node: ast.Call) -> None:
        if node in self.records.graph.singularities or self.flow["grad"][0] is not True:
            return
        found = guarded(node)
        value = self.lookup(found[1].id, self.frame.scope) if found is not None else None
        if found is None or not isinstance(value, Tensor) or not self.reach_of(value).live:
            return
        made = value.node.op.rpartition(".")[2] if value.node is not None else ""
        if made not in SAFE:
            part, name, at = found
            self.records.graph.singularities[node] = SingularityRecord(
                self.site(node), self.site(part), self.site(node.args[0]), name.id, at
            )

    def _call_builtin(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        result = super()._call_builtin(name, call, node)
        if name in _ARITHMETIC and isinstance(result, Tensor | Unknown):
            values = call.values()
            if name in ("sum", "abs", "max", "min", "pow"):
                if result.reach is None:
                    self._noted(result, self._merged(values), values, node)
            elif isinstance(result, Unknown) and not any(result is value for value in values):
                result.reach = self._cut(DECISION if name == "round" else NUMBER, values, node)
        return result

    def unknown_call(self, function: Value, call: CallArguments, node: ast.AST) -> Value:
        """A call of something that was not followed."""
        result = super().unknown_call(function, call, node)
        if isinstance(function, Unknown) and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            given = [function] if _takes_settings(name) else [function, *call.values()]
            if name in ("detach", "item", "tolist", "numpy", "argmax", "argmin") and isinstance(result, Unknown):
                how = DETACH if name == "detach" else DECISION if name.startswith("arg") else NUMBER
                result.reach = self._cut(how, given, node)
            elif (name in TENSOR_METHODS or f"torch.Tensor.{name}" in SHAPE_OPS) and name != "requires_grad_":
                if isinstance(result, Unknown) and result.reach is None:
                    reach = self._merged(given)
                    if reach.dead:
                        result.reach = reach
                    elif result.origin is None and len(given) == 1:
                        result.origin = function.origin  # a part of a batch, moved or cast
        return result

    def call_method(self, receiver: Value, name: str, call: CallArguments, node: ast.AST) -> Value:
        """A method of a tensor, of a scaler, of a list."""
        if isinstance(receiver, SequenceValue) and name == "append" and call.positional:
            call.positional[0] = self._appended(receiver, call.positional[0], node)
        if isinstance(receiver, ModuleValue) and name in ("load_state_dict", "apply", "reset_parameters"):
            result = super().call_method(receiver, name, call, node)
            for part in receiver.walk_values():
                part.state["rewritten"] = now()
            return result
        result = super().call_method(receiver, name, call, node)
        if isinstance(receiver, Tensor):
            return self._method_reach(receiver, name, call, result, node)
        if isinstance(receiver, ModuleValue) and isinstance(result, Tensor) and result.reach is None:
            self._noted(result, merged([self._merged(call.values()), Reach(frozenset({receiver}))]), [], node)
        elif name == "scale" and isinstance(result, Tensor):
            reach = self._merged(call.values())
            if any(self.reach_of(value).leaf for value in call.values()):
                reach = Reach(cuts=frozenset().union(*(self.reach_of(value).cuts for value in call.values())))
            self._noted(result, reach, call.values(), node)
        return result

    def _method_reach(self, receiver: Tensor, name: str, call: CallArguments, result: Value, node: ast.AST) -> Value:
        given = [receiver, *call.values()]
        if name in ("requires_grad_", "retain_grad"):
            flag = call.get(0, "requires_grad")
            if name == "requires_grad_" and (flag is None or self.truth(flag)):
                reach = self._leaf(self.reach_of(receiver))
                receiver.reach = reach
                if isinstance(result, Tensor):
                    result.reach = reach
            return result
        if name.endswith("_") and not name.endswith("__"):
            self._written(receiver, self._in_place(name, given, node), node)
            if isinstance(result, Tensor):
                result.reach = receiver.reach
            return result
        if name in _DECISIONS or (name in ("to", "type") and _to_whole_numbers(call)):
            reach = self._cut(DECISION, given, node)
        elif name == "detach":
            reach = self._cut(DETACH, given, node)
        elif name in _NUMBERS:
            reach = self._cut(NUMBER, given, node)
        elif name in _MEASURES and not (name == "type" and call.positional):
            reach = DATA
        elif name.startswith("new_"):
            asked = self._asks_for_gradient(call)
            reach = DATA if asked is False else OPEN
        elif name in ("backward", "register_hook", "bernoulli", "multinomial"):
            return result
        else:
            reach = self._merged(given[:1] if _takes_settings(name) else given)
            if name in _PAIRS and (call.positional or "dim" in call.keywords):
                reach = self._paired(reach, given, node)
        return self._noted(result, reach, given, node)

    def _in_place(self, name: str, given: list[Value], node: ast.AST) -> Reach:
        if name == "detach_":
            return self._cut(DETACH, given, node)
        if name in ("zero_", "fill_", "normal_", "uniform_", "random_"):
            return merged([self.reach_of(given[0])])
        return self._merged(given)


def _takes_settings(name: str) -> bool:
    """All but the first value of such a call are sizes, axes, devices and the like."""
    return name in _REDUCTIONS or f"torch.Tensor.{name}" in SHAPE_OPS


def _to_whole_numbers(call: CallArguments) -> bool:
    """`.to(torch.long)`, `.type(torch.LongTensor)`."""
    for value in call.values():
        if isinstance(value, External):
            last = value.name.rpartition(".")[2]
            if last in _WHOLE or last in ("LongTensor", "IntTensor", "ByteTensor", "BoolTensor", "ShortTensor"):
                return True
    return False
