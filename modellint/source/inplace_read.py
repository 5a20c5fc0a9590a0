"""Reads `InplaceRead`: in-place activations whose input is added to what was made of it."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.inplace_read import InplaceRead
from modellint.source.interpreter.flow_nodes import JOIN, LAYER, FlowNode
from modellint.source.places import Places

_SUMS = frozenset({"Add", "torch.add", "torch.Tensor.add", "torch.Tensor.add_"})
_RELU = frozenset({"torch.nn.ReLU", "torch.nn.functional.relu", "torch.nn.functional.relu_", "torch.relu_",
                   "torch.Tensor.relu_"})  # fmt: skip
_NEVER_NEGATIVE = _RELU | frozenset(
    {"torch.relu", "torch.Tensor.relu", "torch.sigmoid", "torch.Tensor.sigmoid", "torch.softmax", "torch.exp",
     "torch.Tensor.exp", "torch.Tensor.softmax", "torch.nn.functional.softmax", "torch.nn.functional.softplus",
     "torch.nn.functional.relu6", "torch.nn.ReLU6", "torch.nn.Sigmoid", "torch.nn.Softmax", "torch.nn.Softplus",
     "torch.Tensor.abs", "torch.abs", "torch.Tensor.square", "torch.square"}
)  # fmt: skip
_KEEPS_SIGN = ("max_pool", "avg_pool", "dropout", "interpolate", "flatten", "permute", "transpose", "contiguous",
               "view", "reshape", "squeeze", "clone", ".to", ".float", ".mean", ".max", "torch.cat")  # fmt: skip
_DEPTH = 60


def read(places: Places) -> Iterator[InplaceRead]:
    """One fact for each activation and sum."""
    seen: set[tuple[int, int, bool]] = set()
    for node in places.records.flow:
        if not node.inplace or not node.inputs or not _is_activation(node) or node.site is None:
            continue
        value = node.inputs[0]
        for reader in value.users[value.users.index(node) + 1 :]:
            if reader.op not in _SUMS or reader.site is None or not _meets(reader, value, node):
                continue
            made = node.module.site if node.module is not None and node.module.site is not None else node.site
            # The same lines may run without gradients first, in a check of the untrained model.
            key = (id(made.node), id(reader.site.node), node.grad is False)
            if key not in seen:
                seen.add(key)
                yield _fact(places, node, reader, value)
            break


def _fact(places: Places, node: FlowNode, reader: FlowNode, value: FlowNode) -> InplaceRead:
    module = node.module
    assert node.site is not None
    assert reader.site is not None
    text = places.interpreter.layer_text(module) if module is not None else node.op.rpartition(".")[2]
    made = module.site if module is not None and module.site is not None else node.site
    return InplaceRead(
        text=text,
        place=places.span(made),
        layer=places.layer("", module) if module is not None else None,
        call=places.span(node.site),
        read=places.span(reader.site),
        read_text=reader.site.file.text.segment(reader.site.node),
        unchanged=_name(node) in _RELU and _never_negative(value),
        grad=node.grad,
    )


def _name(node: FlowNode) -> str:
    return node.module.name if node.op == LAYER and node.module is not None else node.op


def _is_activation(node: FlowNode) -> bool:
    if node.module is not None:
        return node.module.spec is not None and node.module.spec.family in ("activation", "rrelu")
    name = node.op.rpartition(".")[2].rstrip("_")
    return name in ("relu", "relu6", "elu", "selu", "celu", "leaky_relu", "hardtanh", "rrelu", "threshold", "sigmoid",
                    "tanh", "silu", "mish", "hardswish", "hardsigmoid")  # fmt: skip


def _meets(reader: FlowNode, value: FlowNode, written: FlowNode) -> bool:
    """Whether a sum adds the value to something that was made of the in-place result."""
    if value not in reader.inputs:
        return False
    stack, seen = [part for part in reader.inputs if part is not value], {id(value)}
    while stack and len(seen) < _DEPTH:
        node = stack.pop()
        if node is written:
            return True
        if id(node) not in seen:
            seen.add(id(node))
            stack.extend(node.inputs)
    return False


def _never_negative(node: FlowNode, depth: int = 12) -> bool:
    """Whether the value is known to be zero or more."""
    name = _name(node)
    if name in _NEVER_NEGATIVE:
        return True
    if not depth or not node.inputs:
        return False
    family = node.module.spec.family if node.module is not None and node.module.spec is not None else None
    if node.op == JOIN or name in _SUMS or family in ("pool", "dropout", "shape") or (
        node.module is None and any(word in name for word in _KEEPS_SIGN)
    ):  # fmt: skip
        return all(_never_negative(part, depth - 1) for part in node.inputs)
    return False
