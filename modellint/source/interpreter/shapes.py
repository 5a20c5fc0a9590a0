"""Follows the shapes of tensors through functions, methods, operators and indices; a shape is a value too.

What is not in the tables has no shape.
"""

from __future__ import annotations

import ast

from modellint.facts.loss_use import Expects
from modellint.source.interpreter.data_sizes import batch_sizes
from modellint.source.interpreter.expressions import UNROLL, CallArguments
from modellint.source.interpreter.layer_shapes import LayerShapes
from modellint.source.interpreter.layer_sizes import whole_number
from modellint.source.interpreter.records import LossRecord
from modellint.source.interpreter.reshapes import fold_of, recut_of
from modellint.source.interpreter.shape_operations import (
    UNKNOWN,
    created_sizes,
    element_wise,
    matmul,
    operation_sizes,
    viewed,
)
from modellint.source.interpreter.sizes import grow_together, number, product
from modellint.source.interpreter.values import (
    Const,
    Extent,
    LoaderValue,
    ParameterValue,
    Sizes,
    Tensor,
    Unknown,
    Value,
    sequence,
)
from modellint.source.torch_api.functions import CREATORS, SHAPE_OPS

_RESHAPED = frozenset({"view", "reshape", "flatten", "ravel"})
_RESHAPED_IN_PLACE = frozenset(
    {"unsqueeze_", "squeeze_", "transpose_", "t_", "swapaxes_", "swapdims_", "resize_", "resize_as_", "set_"}
)
_SOFTMAXES = frozenset({"softmax", "log_softmax", "softmin"})


class Shapes(LayerShapes):
    """Follows shapes."""

    # ---------------------------------------------------------------- shapes as values

    @staticmethod
    def _shape_value(value: Tensor) -> Sizes:
        if value.sizes is None:
            value.sizes = Sizes((), open=True)
        return value.sizes

    def tensor_attribute(self, value: Tensor | ParameterValue, name: str, node: ast.AST) -> Value:
        """`x.shape`, `x.T`, `x.data`."""
        if isinstance(value, Tensor) and name == "shape":
            super().tensor_attribute(value, name, node)
            return self._shape_value(value)
        result = super().tensor_attribute(value, name, node)
        if isinstance(value, Tensor) and isinstance(result, Tensor) and result is not value:
            sizes = operation_sizes(name, value.sizes, CallArguments(node), 0)
            result.sizes = None if sizes is UNKNOWN else sizes
        return result

    def get_item(self, value: Value, index: Value, node: ast.Subscript) -> Value:
        """`x.shape[-2:]`."""
        if isinstance(value, Sizes) and isinstance(node.slice, ast.Slice):
            bounds = self._slice_bounds(node.slice)
            axes = value.whole()
            if bounds is not None and bounds.step is None:
                if axes is not None:
                    return sequence("tuple", axes[bounds])
                if bounds.start is not None and -UNROLL <= bounds.start < 0 and bounds.stop is None:
                    return sequence("tuple", tuple(value.child(("item", i)) for i in range(bounds.start, 0)))
                if not bounds.start and bounds.stop is not None and 0 < bounds.stop <= UNROLL:
                    return sequence("tuple", tuple(value.child(("item", i)) for i in range(bounds.stop)))
        return super().get_item(value, index, node)

    def _unpack(self, targets: list[ast.expr], value: Value, node: ast.AST) -> None:
        if isinstance(value, Sizes):
            starred = next((i for i, t in enumerate(targets) if isinstance(t, ast.Starred)), None)
            if starred is not None:
                for index, target in enumerate(targets):
                    part = index if index < starred else index - len(targets)
                    self.assign(target, Unknown("axes") if index == starred else value.child(("item", part)))
                return
            if value.open:
                self.put(value.unpacked, "rank", len(targets))
        super()._unpack(targets, value, node)
        if isinstance(value, Tensor) and isinstance(value.origin, LoaderValue):
            parts = batch_sizes(value.origin)
            if parts is not None and len(parts) == len(targets):
                for target, sizes in zip(targets, parts, strict=True):
                    part_value = self.lookup(target.id, self.frame.scope) if isinstance(target, ast.Name) else None
                    if isinstance(part_value, Tensor) and part_value.origin is value.origin:
                        part_value.sizes = sizes

    def binary_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        """`h * w` of axes."""
        if isinstance(left, Extent) or isinstance(right, Extent):
            first, second = (v if isinstance(v, Extent) else Extent(number(v)) for v in (left, right))
            known = all(isinstance(v, Extent) or number(v) is not None for v in (left, right))
            if known and isinstance(op, ast.Mult):
                return product([first, second])
            a, b = first.number, second.number
            if known and a is not None and b is not None:
                if isinstance(op, ast.FloorDiv) and b:
                    return Extent(a // b)
                if isinstance(op, ast.Add):
                    return Extent(a + b)
                if isinstance(op, ast.Sub):
                    return Extent(a - b)
        return super().binary_operation(node, op, left, right)

    # ---------------------------------------------------------------- functions and methods

    def _torch_function(self, name: str, call: CallArguments, node: ast.AST) -> Value:
        last = name.rpartition(".")[2]
        if last in _SOFTMAXES:
            self._softmax_of = name
        result = super()._torch_function(name, call, node)
        first = call.positional[0] if call.positional else call.keywords.get("input")
        if result is first or last in _SOFTMAXES:
            return result
        if name in CREATORS:
            if isinstance(result, Tensor):
                result.sizes = created_sizes(last, call)
            return result
        if not isinstance(result, Tensor) or name.startswith("torch.Tensor."):
            self._give_shape(result, None, first)
            return result
        source = first.sizes if isinstance(first, Tensor) else None
        sizes = operation_sizes(last, source, call, 1)
        if sizes is not UNKNOWN:
            result.sizes = sizes
            if last in _RESHAPED and isinstance(first, Tensor):
                self._reshaped(last, first, result, call.positional[1:], call.positional_nodes[1:], node)
        elif name in SHAPE_OPS:
            result.sizes = None
        return result

    def _tensor_method(self, value: Tensor, name: str, call: CallArguments, node: ast.AST) -> Value:
        if name in _SOFTMAXES:
            self._softmax_of = f"torch.Tensor.{name}"
        result = super()._tensor_method(value, name, call, node)
        if name == "size":
            sizes = self._shape_value(value)
            dim = call.get(0, "dim")
            if dim is None:
                return sizes
            axis = number(dim)
            return sizes.child(("item", axis)) if axis is not None else result
        if result is value or name in _SOFTMAXES:
            return result
        if name in _RESHAPED_IN_PLACE:
            value.sizes = None  # in one arm of a branch or in all: it is no longer known
        if not isinstance(result, Tensor):
            return result
        if name.startswith("new_"):
            given = [call.positional[0]] if name == "new_full" and call.positional else list(call.positional)
            result.sizes = viewed(None, given) if name != "new_tensor" and given else None
            return result
        new = operation_sizes(name, value.sizes, call, 0)
        result.sizes = None if new is UNKNOWN else new
        if name in _RESHAPED:
            self._reshaped(name, value, result, call.positional, call.positional_nodes, node)
        return result

    def _reshaped(
        self, name: str, value: Tensor, result: Tensor, given: list[Value], nodes: list[ast.AST], node: ast.AST
    ) -> None:
        if value.sizes is None:
            return
        text = self.file.text.segment(node) if hasattr(node, "lineno") else name
        if name in ("view", "reshape"):
            recut = recut_of(value.sizes, given, nodes, self.site(node), text)
            if recut is not None:
                self.records.shapes.recuts.setdefault(node, recut)
        if result.sizes is not None and result.sizes is not value.sizes:
            result.sizes.folded = fold_of(value.sizes, result.sizes, self._given_batch, self.site(node), text)

    # ---------------------------------------------------------------- operators and items

    def _tensor_operation(self, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
        result = super()._tensor_operation(node, op, left, right)
        if not isinstance(result, Tensor) or result is left or result is right:
            return result
        first = left.sizes if isinstance(left, Tensor) else None
        second = right.sizes if isinstance(right, Tensor) else None
        if isinstance(op, ast.MatMult):
            result.sizes = matmul(first, second)
        elif isinstance(left, Tensor):
            result.sizes = element_wise(first, right)
        else:
            result.sizes = element_wise(second, left)
        if isinstance(op, ast.Sub) and isinstance(left, Tensor) and isinstance(right, Tensor):
            self._difference(left, right, result, node)
        return result

    def unary_operation(self, node: ast.UnaryOp, value: Value) -> Value:
        """`-x`."""
        result = super().unary_operation(node, value)
        if isinstance(result, Tensor) and isinstance(value, Tensor) and result is not value:
            result.sizes = value.sizes
        return result

    def _difference(self, left: Tensor, right: Tensor, result: Tensor, node: ast.AST) -> None:
        """`prediction - target`: as a loss written by hand, if a backward gets there."""
        if bool(left.forwards) == bool(right.forwards) or left.sizes is None or right.sizes is None:
            return
        if not grow_together(left.sizes, right.sizes):
            return
        record = LossRecord(self.site(node), "difference", "", None, Expects.OTHER, left, right)
        self.records.shapes.differences.append(record)
        result.losses = result.losses | {record}

    def _tensor_item(self, value: Tensor, index: Value, node: ast.Subscript) -> Value:
        result = super()._tensor_item(value, index, node)
        if isinstance(result, Tensor) and result is not value:
            result.sizes = self._indexed(value.sizes, node) if value.sizes is not None else None
        return result

    def _indexed(self, sizes: Sizes, node: ast.Subscript) -> Sizes | None:
        parts: list[ast.expr] = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        axes = sizes.whole()
        kinds = [self._index_kind(part) for part in parts]
        if None in kinds or kinds.count("...") > 1:
            return None
        used = sum(kind in ("drop", "slice") for kind in kinds)
        row = axes if axes is not None else sizes.axes
        if used > len(row) or (axes is None and kinds[0] != "..."):
            return None
        if "..." not in kinds:
            kinds, parts = [*kinds, "..."], [*parts, ast.Constant(...)]
        result: list[Extent] = []
        position, aligned = 0, False
        for kind, part in zip(kinds, parts, strict=True):
            if kind == "new":
                result.append(Extent(1))
                aligned = True
            elif kind == "...":
                behind = len(row) - used
                result.extend(row[position : position + behind])
                position += behind
            else:
                if kind == "slice":
                    result.append(self._cut_axis(row[position], part, node))
                position += 1
        made = Sizes(tuple(result), axes is None)
        made.aligned = aligned
        return made

    def _index_kind(self, part: ast.expr) -> str | None:
        """What an index does to its axis: None where that depends on what it is."""
        if isinstance(part, ast.Slice):
            return "slice"
        if isinstance(part, ast.Constant):
            if part.value is None:
                return "new"
            if part.value is Ellipsis:
                return "..."
            return "drop" if whole_number(part.value) is not None else None
        if isinstance(part, ast.UnaryOp) and isinstance(part.operand, ast.Constant):
            return "drop" if whole_number(part.operand.value) is not None else None
        if isinstance(part, ast.Name):
            value = self.lookup(part.id, self.frame.scope)
            if isinstance(value, Const):
                return "drop" if number(value) is not None else ("new" if value.value is None else None)
            return "drop" if isinstance(value, Unknown) and value.reason == "an index" else None
        return None

    def _cut_axis(self, axis: Extent, part: ast.expr, node: ast.Subscript) -> Extent:
        assert isinstance(part, ast.Slice)
        if part.lower is None and part.upper is None and part.step is None:
            return axis
        bounds = self._slice_bounds(part)
        if bounds is None:
            return Extent()
        if axis.number is not None:
            result = Extent(len(range(axis.number)[bounds]))
        else:
            one = (not bounds.start and bounds.stop == 1) or (bounds.start == -1 and bounds.stop is None)
            result = Extent(1 if one else None)
        if result.number == 1:
            result.made = (self.site(node), "[...]", True)
        return result
