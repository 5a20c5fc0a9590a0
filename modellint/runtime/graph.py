"""Walks over autograd nodes: tags on the outputs of layers, and what lies behind a tensor.

Reads names, `metadata`, `next_functions` and saved dims only: reading a saved tensor would unpack it, and under a
checkpoint that recomputes a forward.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch

from modellint.runtime.session import ModuleCall

TAG = "modellint"
_MOST_OUTPUTS = 8
MOST_NODES = 64


def tensors_in(output: Any, most: int = _MOST_OUTPUTS) -> Iterator[torch.Tensor]:
    """The tensors of an output: itself, or those of a (nested) tuple, list or dict."""
    open_values = [output]
    while open_values and most > 0:
        value = open_values.pop(0)
        if isinstance(value, torch.Tensor):
            most -= 1
            yield value
        elif isinstance(value, dict):
            open_values += value.values()
        elif isinstance(value, tuple | list):
            open_values += value[:_MOST_OUTPUTS]


def tag_outputs(output: Any, call: ModuleCall) -> None:
    """Write on the graph nodes of a layer's output which call made it: (path, number of the root call, ordinal)."""
    if call.record is None:
        return
    tag = (call.record.path, call.root_call.number, call.ordinal)
    for tensor in tensors_in(output):
        node = tensor.grad_fn
        if node is not None:
            metadata_of(node).setdefault(TAG, tag)


def tag_of(node: Any) -> tuple[str, int, int] | None:
    """What `tag_outputs` wrote on a node."""
    found = metadata_of(node).get(TAG)
    return found if isinstance(found, tuple) else None


def metadata_of(node: Any) -> dict[Any, Any]:
    """The free dict that torch keeps for a graph node; it dies with the graph."""
    metadata: dict[Any, Any] = node.metadata
    return metadata


_OPAQUE = ("CompiledFunctionBackward", "CheckpointFunctionBackward")
"""What happened behind these nodes cannot be walked."""


class Behind(NamedTuple):
    """What a tensor was made from within one root call."""

    layers: frozenset[str]
    """Paths of the nearest layers that own parameters: activations, dropout, pooling and shapes are looked through."""
    leaves: tuple[torch.Tensor, ...]
    """Parameters used without their layer, and inputs that require gradients."""
    unseen: bool
    """Something without a graph took part: a tensor that requires no gradient, or a number."""


def behind(node: Any, root_call: int, most: int = MOST_NODES) -> Behind | None:
    """Walk back from a node to the first tags of a root call; None where the way is opaque or too long."""
    layers: set[str] = set()
    leaves: list[torch.Tensor] = []
    unseen = False
    seen = {node}
    open_nodes = [node]
    while open_nodes:
        if len(seen) > most:
            return None
        node = open_nodes.pop()
        tag = tag_of(node)
        if tag is not None and tag[1] == root_call:
            layers.add(tag[0])
            continue
        name = node.name()
        if name.endswith(_OPAQUE):
            return None
        if name.endswith("AccumulateGrad"):
            leaves.append(node.variable)
            continue
        for following, _ in node.next_functions:
            if following is None:
                unseen = True
            elif following not in seen:
                seen.add(following)
                open_nodes.append(following)
    return Behind(frozenset(layers), tuple(leaves), unseen)


def tags_behind(nodes: Iterable[Any], root_call: int, most: int) -> tuple[set[str], bool]:
    """The paths of all layers of a root call behind some nodes, and whether everything was walked."""
    found: set[str] = set()
    open_nodes = list(nodes)
    seen = set(open_nodes)
    whole = True
    while open_nodes:
        node = open_nodes.pop()
        tag = tag_of(node)
        if tag is not None and tag[1] == root_call:
            found.add(tag[0])
        if len(seen) > most or node.name().endswith(_OPAQUE):
            whole = False
            continue
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                open_nodes.append(following)
    return found, whole
