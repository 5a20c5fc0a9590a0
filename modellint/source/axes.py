"""Follows the axes of tensors back through the operations that made them."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from modellint.source.interpreter.flow_nodes import LOADER, FlowNode
from modellint.source.interpreter.values import Const, SequenceValue, Site

_SAME_AXES = frozenset({"linear", "embedding", "norm", "dropout", "activation", "rrelu"})
_SAME_NAMES = frozenset(
    {"relu", "gelu", "tanh", "sigmoid", "silu", "elu", "leaky_relu", "dropout", "contiguous", "float", "to", "cuda",
     "cpu", "clone", "half", "detach", "long", "mul", "div", "normalize", "layer_norm", "sqrt", "type_as"}
)  # fmt: skip
_SAME_OPERATORS = frozenset({"Add", "Sub", "Mult", "Div"})
_DEPTH = 20


@dataclass(frozen=True)
class Source:
    """Where the input of a layer comes from, and which of its axes counts the samples."""

    batch_axis: int | None = None
    text: str = ""
    site: Site | None = None
    decisive: bool = False
    packed: bool = False
    one_sample: bool = False


def followed_input(node: FlowNode | None) -> Source | None:
    """Walk back to something whose axes are known; None when there is nothing of the kind."""
    # Which axis of the value at hand became which axis of the input: `where[i]` is where input axis i stands now.
    where: list[int] | None = [0, 1, 2]
    turned = False
    for _ in range(_DEPTH):
        if node is None:
            return None
        if node.op == LOADER:
            return _source(where, "a DataLoader stacks samples along the first axis", node.site, False)
        module, name = node.module, node.op.rpartition(".")[2]
        if "pack_padded_sequence" in name or "pack_sequence" in name:
            return Source(packed=True)
        if module is not None:
            family = module.spec.family if module.spec is not None else ""
            if family == "conv" and module.cls is None and module.name.endswith(("Conv1d", "Conv2d")):
                if module.name.endswith("2d") and not turned:
                    return None
                text = f"`{module.name.rpartition('.')[2]}` counts samples along its first axis"
                return _source(where, text, node.site, True)
            if family in ("norm_running", "pool") and module.name.endswith(("1d", "2d")):
                node = node.inputs[0] if node.inputs else None
                continue
            if family not in _SAME_AXES or not node.inputs:
                return None
            node = node.inputs[0]
            continue
        order = swapped(node)
        if order is not None and node.inputs:
            where = [order[axis] for axis in where] if where is not None and len(order) == 3 else None
            if where is None:
                return None
            node, turned = node.inputs[0], True
            continue
        if name == "flatten" and _constants(node) in ([2], [2, 3], [2, -1]) and node.inputs:
            node, turned = node.inputs[0], True
            continue
        if name == "squeeze" and _constants(node) in ([2], [3], [-1]) and node.inputs:
            if where != [0, 1, 2] and _constants(node) == [2]:
                return None
            node, turned = node.inputs[0], True
            continue
        if name == "unsqueeze" and _constants(node) == [0]:
            return Source(where.index(0) if where else None, "", node.site, False, False, True)
        if node.inputs and (name in _SAME_NAMES or node.op in _SAME_OPERATORS):
            if node.op in _SAME_OPERATORS and len(node.inputs) > 1:
                sources = [followed_input(part) for part in node.inputs]
                known = [source for source in sources if source is not None and source.batch_axis is not None]
                if where == [0, 1, 2] and len(known) == 1:
                    return known[0]
                return None
            node = node.inputs[0]
            continue
        return None
    return None


def _source(where: list[int] | None, text: str, site: Site | None, decisive: bool) -> Source | None:
    if where is None or 0 not in where:
        return None
    return Source(where.index(0), text, site, decisive)


def _constants(node: FlowNode) -> list[object]:
    """Constant positional arguments of a method or function, without the tensor itself."""
    if node.call is None:
        return []
    values = node.call.positional if node.op.startswith("torch.Tensor") else node.call.positional[1:]
    return [value.value if isinstance(value, Const) else None for value in [*values, *node.call.keywords.values()]]


def swapped(node: FlowNode) -> tuple[int, ...] | None:
    """The order of axes that `permute` or `transpose` gives a value of three axes; None for anything else.

    Entry i says which axis of the input becomes axis i.
    """
    name = node.op.rpartition(".")[2].rstrip("_")
    if name not in ("permute", "transpose", "swapaxes", "swapdims", "mT"):
        return None
    if name == "mT":
        return (0, 2, 1)
    if node.call is None:
        return ()
    values = node.call.positional if node.op.startswith("torch.Tensor") else node.call.positional[1:]
    if len(values) == 1 and isinstance(values[0], SequenceValue):
        values = list(values[0].items)
    axes = [value.value for value in values if isinstance(value, Const) and isinstance(value.value, int)]
    if len(axes) != len(values):
        return ()
    if name == "permute":
        order = tuple(axis % len(axes) for axis in axes)
        return order if sorted(order) == list(range(len(order))) else ()
    if len(axes) != 2:
        return ()
    a, b = (axis % 3 for axis in axes)
    result = [0, 1, 2]
    result[a], result[b] = result[b], result[a]
    return tuple(result)


def index_of(node: ast.AST) -> tuple[int, int, bool] | None:
    """One step cut out of a value of three axes: axis, index (0 or -1), and whether all features are kept.

    `x[:, -1]` is (1, -1, True), `x[-1]` is (0, -1, True), `x[:, -1, :n]` is (1, -1, False). None for anything else.
    """
    parts = list(node.elts) if isinstance(node, ast.Tuple) else [node]
    if any(isinstance(part, ast.Constant) and part.value is Ellipsis for part in parts):
        position = next(i for i, p in enumerate(parts) if isinstance(p, ast.Constant) and p.value is Ellipsis)
        missing = 3 - (len(parts) - 1)
        if missing < 0:
            return None
        parts[position : position + 1] = [ast.Slice()] * missing
    parts += [ast.Slice()] * (3 - len(parts))
    if len(parts) != 3:
        return None
    steps = [(axis, step) for axis, part in enumerate(parts[:2]) if (step := _step(part)) is not None]
    if len(steps) != 1 or not all(_full(parts[axis]) for axis in (0, 1) if axis != steps[0][0]):
        return None
    return steps[0][0], steps[0][1], _full(parts[2])


def _full(node: ast.AST) -> bool:
    return isinstance(node, ast.Slice) and node.lower is None and node.upper is None and node.step is None


def _step(node: ast.AST) -> int | None:
    """0 for the first step, -1 for the last one; None for anything else."""
    number = _number(node)
    if number in (0, -1):
        return number
    if isinstance(node, ast.Slice) and node.step is None and node.upper is None and node.lower is not None:
        return -1 if _number(node.lower) == -1 else None
    return None


def _number(node: ast.AST) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return -inner if inner is not None else None
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    return None
