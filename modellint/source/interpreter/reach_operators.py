"""Operators, items and attributes: what they do to the way of a gradient."""

from __future__ import annotations

import ast

from modellint.source.interpreter.reach import (
    DATA,
    DECISION,
    DETACH,
    Reach,
    merged,
)
from modellint.source.interpreter.reach_stores import ReachStores, old_side
from modellint.source.interpreter.reach_values import Batch, without_pair
from modellint.source.interpreter.values import (
    Const,
    Key,
    ParameterValue,
    Tensor,
    Unknown,
    Value,
)

_DECIDING = frozenset({ast.FloorDiv, ast.BitAnd, ast.BitOr, ast.BitXor})


class ReachOperators(ReachStores):
    """Follows operators."""

    def binary_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """`left op right`."""
        result = super().binary_operation(node, op, left, right)
        if isinstance(result, Tensor | Unknown):
            parts = [self.reach_of(left), self.reach_of(right)]
            decides = type(op) in _DECIDING
            reach = self._cut(DECISION, [left, right], node) if decides else merged(parts)
            if reach.live and not reach.onto_data and isinstance(op, ast.Add | ast.Sub):
                if any(part is DATA and not isinstance(v, Const) for part, v in zip(parts, (left, right), strict=True)):
                    reach = Reach(reach.live, reach.cuts, reach.open, reach.leaf, reach.stores, True)
            self._noted(result, reach, (left, right), node)
            if isinstance(op, ast.Add) and not decides:
                old, new = (right, left) if old_side(node) == "right" else (left, right)
                if old_side(node):
                    self._added(result, old, new, node)
        return result

    def unary_operation(self, node: ast.UnaryOp, value: Value) -> Value:
        """`-x`, `~x`."""
        result = super().unary_operation(node, value)
        if isinstance(result, Tensor | Unknown):
            cut = isinstance(node.op, ast.Invert)
            reach = self._cut(DECISION, [value], node) if cut else self.reach_of(value)
            self._noted(result, reach, (value,), node)
        return result

    def _compare_pair(self, op: ast.cmpop, left: Value, right: Value) -> tuple[bool | None, Key | None, bool]:
        self._sides = (left, right)
        return super()._compare_pair(op, left, right)

    _sides: tuple[Value, Value] | None = None

    def _compare(self, node: ast.Compare) -> Value:
        result = super()._compare(node)
        sides, self._sides = self._sides, None
        if isinstance(result, Tensor | Unknown) and sides is not None and len(node.ops) == 1:
            result.reach = self._cut(DECISION, list(sides), node)
        return result

    def get_item(self, value: Value, index: Value, node: ast.Subscript) -> Value:
        """`value[index]`."""
        result = super().get_item(value, index, node)
        if isinstance(value, Tensor) and isinstance(result, Tensor):
            reach = self.reach_of(value)
            if reach.indices is not None:
                second = isinstance(index, Const) and index.value == 1
                reach = Reach(cuts=reach.cuts | {reach.indices}) if second else without_pair(reach)
            self._noted(result, reach, (value,), node)
        return result

    def tensor_attribute(self, value: Tensor | ParameterValue, name: str, node: ast.AST) -> Value:
        """`tensor.name`."""
        if isinstance(value, Tensor) and name in ("values", "indices") and self.reach_of(value).indices is not None:
            part = Tensor(forwards=value.forwards, losses=value.losses, device=value.device)
            reach = self.reach_of(value)
            second = Reach(cuts=reach.cuts | {reach.indices}) if reach.indices is not None else reach
            part.reach = second if name == "indices" else without_pair(reach)
            return part
        result = super().tensor_attribute(value, name, node)
        if isinstance(value, Tensor) and isinstance(result, Tensor | Unknown) and result is not value:
            reach = self.reach_of(value)
            if name == "data":
                result.reach = self._cut(DETACH, [value], node)
            elif name in ("shape", "dtype", "ndim", "is_cuda", "requires_grad", "grad"):
                result.reach = DATA
            elif name in ("T", "mT", "H", "real"):
                self._noted(result, without_pair(reach), (value,), node)
        return result

    def set_attribute(self, target: Value, name: str, value: Value, node: ast.AST) -> None:
        """`target.name = value`."""
        if name == "requires_grad" and isinstance(target, Tensor | Unknown) and self.truth(value) is not False:
            target.reach = self._leaf(self.reach_of(target))
        elif name == "grad" and not (isinstance(value, Const) and value.value is None):
            self.records.graph.by_hand.add(self._entry())
        super().set_attribute(target, name, value, node)

    def set_item(self, target: Value, index: Value, value: Value, node: ast.AST) -> None:
        """`target[index] = value`."""
        super().set_item(target, index, value, node)
        if isinstance(target, Tensor):
            self._written(target, merged([self.reach_of(target), self.reach_of(value)]), node)

    def iterate(self, value: Value, node: ast.AST) -> tuple[bool, list[Value]]:
        """The elements of an iteration."""
        exact, elements = super().iterate(value, node)
        if isinstance(value, Tensor):
            for element in elements:
                if isinstance(element, Tensor):
                    self._noted(element, without_pair(self.reach_of(value)), (value,), node)
        elif isinstance(value, Unknown) and value.reach is None and not value.forwards and not value.losses:
            for element in elements:
                if isinstance(element, Unknown) and element.origin is None and not element.children:
                    element.origin = Batch()
        return exact, elements

    def _unpack(self, targets: list[ast.expr], value: Value, node: ast.AST) -> None:
        super()._unpack(targets, value, node)
        if isinstance(value, Tensor) and not any(isinstance(target, ast.Starred) for target in targets):
            reach = self.reach_of(value)
            for position, target in enumerate(targets):
                bound = self.lookup(target.id, self.frame.scope) if isinstance(target, ast.Name) else None
                if isinstance(bound, Tensor) and bound is not value:
                    own = without_pair(reach)
                    if position == 1 and reach.indices is not None:
                        own = Reach(cuts=reach.cuts | {reach.indices})
                    bound.reach = own
