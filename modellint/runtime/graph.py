"""Walks over autograd nodes: tags on the outputs of layers, and what lies behind a tensor.

Reads names, `metadata`, `next_functions` and saved dims only: reading a saved tensor would unpack it, and under a
checkpoint that recomputes a forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
