"""What made the input of a loss: the head of its graph, behind the operations that only move values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from modellint.facts.loss_use import OutputKind
from modellint.facts.record import record
from modellint.runtime.graph import MOST_NODES, tag_of

_MOVES_AXES = frozenset(
    {"View", "UnsafeView", "ReshapeAlias", "Transpose", "T", "Permute", "Index", "Select", "Unbind"}
)
_KEEPS_AXES = frozenset(
    {"Squeeze", "Unsqueeze", "ToCopy", "Clone", "Alias", "Expand", "Slice", "Narrow", "Split", "UnsafeSplit",
     "SplitWithSizes", "_DDPSink"}
)  # fmt: skip
"""Squeeze and unsqueeze add or drop axes of size 1 only."""
_TRANSPARENT = _MOVES_AXES | _KEEPS_AXES
_OPAQUE = frozenset({"CompiledFunction", "CheckpointFunction"})
_KINDS = {
    "Sigmoid": OutputKind.PROBABILITIES,
    "Hardsigmoid": OutputKind.PROBABILITIES,
    "Softmax": OutputKind.DISTRIBUTION,
    "LogSoftmax": OutputKind.LOG_PROBABILITIES,
    "LogSigmoid": OutputKind.LOG_PROBABILITIES,
    "Relu": OutputKind.NON_NEGATIVE,
    "Tanh": OutputKind.TANH,
}
_WEIGHTED = {"Addmm": (1, 2), "Mm": (0, 1), "Convolution": (1,), "Linear": (1,)}
"""Which operands of a layer's operation may be its weight."""


@record
class Head:
    """The operation that made the values of a tensor. Holds a graph node: use it at once, keep it nowhere."""

    kind: OutputKind
    node: Any
    """None where no graph leads to the tensor."""
    moved: bool
    """Something on the way may have changed the order of the axes."""
    opaque: bool
    """Made inside of compiled code or of a reentrant checkpoint: nobody can tell how."""
    unsqueezed: bool
    """The last operation gave the tensor an axis, so that it may be broadcast."""


def operation(node: Any) -> str:
    """`Softmax` of `SoftmaxBackward0`. The function of a user has no number at its end and keeps its whole name."""
    name = type(node).__name__
    if name[-1:].isdigit():
        return name.rstrip("0123456789").removesuffix("Backward")
    short = name.removesuffix("Backward")
    return short if short in _OPAQUE or (short in _TRANSPARENT and short.startswith("_")) else name


def head_of(node: Any) -> Head:
    """What made the output of a graph node."""
    moved = unsqueezed = False
    for station in range(MOST_NODES):
        if node is None:
            break
        name = operation(node)
        if name not in _TRANSPARENT:
            kind = _KINDS.get(name, OutputKind.UNKNOWN)
            if name in _WEIGHTED and (tag_of(node) is not None or _has_weight(node, _WEIGHTED[name])):
                kind = OutputKind.LOGITS
            return Head(kind, node, moved, name in _OPAQUE, unsqueezed)
        moved = moved or name in _MOVES_AXES
        unsqueezed = unsqueezed or (station == 0 and name == "Unsqueeze")
        node = node.next_functions[0][0] if node.next_functions else None
    return Head(OutputKind.UNKNOWN, None, moved, False, unsqueezed)


def _has_weight(node: Any, operands: Sequence[int]) -> bool:
    """One operand is a parameter, maybe transposed: `F.linear(x, self.embedding.weight)`."""
    inputs = node.next_functions
    for index in operands:
        operand = inputs[index][0] if index < len(inputs) else None
        while operand is not None and operation(operand) in ("T", "Transpose"):
            operand = operand.next_functions[0][0]
        if operand is not None and type(operand).__name__ == "AccumulateGrad":
            return True
    return False


def input_of(node: Any) -> Any:
    """The node of the first operand."""
    return node.next_functions[0][0] if node.next_functions else None


def first_layer(node: Any) -> tuple[str, int, int] | None:
    """The nearest layer behind a node, as `tag_outputs` wrote it: (path, number of the root call, ordinal)."""
    open_nodes, seen = [node], {id(node)}
    for current in open_nodes:  # grows while it is walked
        if current is None:
            continue
        tag = tag_of(current)
        if tag is not None:
            return tag
        for following, _ in current.next_functions:
            if following is not None and id(following) not in seen and len(open_nodes) < MOST_NODES:
                seen.add(id(following))
                open_nodes.append(following)
    return None


def shape_of(node: Any) -> tuple[int, ...] | None:
    """The shape of a node's first output, None where this torch does not say."""
    metadata = getattr(node, "_input_metadata", None)
    if not metadata or metadata[0].is_nested_tensor:
        return None
    return tuple(int(size) for size in metadata[0].shape)


def softmax_axis(node: Any, rank: int) -> int | None:
    """The axis of a softmax, counted from 0. It is a number that the node keeps, no saved tensor."""
    axis: int | None = getattr(node, "_saved_dim", None)
    if axis is None:
        return None
    axis = axis - 2**64 if axis >= 2**63 else axis
    return axis + rank if axis < 0 else axis


def unsqueezed_view(tensor: torch.Tensor) -> bool:
    """A tensor without a graph that is a view of all of another one, with more axes: `target[:, None]`."""
    original = tensor._base if tensor._is_view() else None
    return original is not None and original.dim() < tensor.dim() and original.numel() == tensor.numel()
