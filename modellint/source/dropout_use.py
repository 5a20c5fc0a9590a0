"""Reads `DropoutUse`: dropout layers and calls, with what is written about their rate."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.dropout_use import DropoutUse
from modellint.facts.span import Span
from modellint.source.interpreter.expressions import CallArguments
from modellint.source.interpreter.flow_nodes import LAYER, FlowNode
from modellint.source.interpreter.values import Const, ModuleValue
from modellint.source.places import Places
from modellint.source.torch_api.functions import DROPOUTS

_LARGE = 10**9
"""No rate and no number of layers."""
_WHOLE_CHANNELS = frozenset({"Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"})
_CHANNEL_FUNCTIONS = frozenset({"dropout1d", "dropout2d", "dropout3d"})


def read(places: Places) -> Iterator[DropoutUse]:
    """One fact for each dropout that is made, and for each functional one that is called."""
    flat: dict[int, FlowNode] = {}
    functions: list[FlowNode] = []
    for node in places.records.flow:
        if node.op == LAYER and node.module is not None:
            if node.module.name.rpartition(".")[2] in _WHOLE_CHANNELS and _is_flat(node):
                flat.setdefault(id(node.module), node)
        elif node.op in DROPOUTS:
            functions.append(node)
    seen: set[object] = set()
    for module in places.records.dropouts:
        call: CallArguments | None = module.call
        if module.site is None or call is None or id(module.site.node) in seen or call.open:
            continue
        seen.add(id(module.site.node))
        recurrent = module.spec is not None and module.spec.family == "recurrent"
        given = flat.get(id(module))
        yield DropoutUse(
            text=places.interpreter.layer_text(module),
            place=places.span(module.site),
            kind=module.name.rpartition(".")[2],
            rate=_positive(module) if recurrent else _written(call, 0, "p"),
            layers=_layers(module, call) if recurrent else None,
            holds_a_place=_holds_a_place(module),
            in_test_suite=module.site.file.in_test_suite,
            flat_input=places.optional(given.site) if given is not None else None,
        )
    for node in functions:
        if node.site is None or node.call is None or node.call.open or id(node.site.node) in seen:
            continue
        seen.add(id(node.site.node))
        kind = node.op.rpartition(".")[2]
        yield DropoutUse(
            text=node.site.file.text.segment(node.call.node.func) if isinstance(node.call.node, ast.Call) else kind,
            place=places.span(node.site),
            kind=kind,
            rate=_written(node.call, 1, "p"),
            layers=None,
            in_test_suite=node.site.file.in_test_suite,
            flat_input=_flat_place(places, node) if kind in _CHANNEL_FUNCTIONS else None,
        )


def _flat_place(places: Places, node: FlowNode) -> Span | None:
    return places.optional(node.site) if _is_flat(node) else None


def _written(call: CallArguments, position: int, name: str) -> float | None:
    """A number that stands in the call itself."""
    node = call.positional_nodes[position] if position < len(call.positional_nodes) else call.keyword_nodes.get(name)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value) if abs(node.value) < _LARGE else None
    return None


def _positive(module: ModuleValue) -> float | None:
    rate = module.arguments.get("dropout")
    number = rate.value if isinstance(rate, Const) else None
    return float(number) if isinstance(number, int | float) and number else None


def _layers(module: ModuleValue, call: CallArguments) -> int | None:
    if "num_layers" not in module.arguments:
        return 1
    position = module.spec.signature.index("num_layers") if module.spec is not None else 0
    number = _written(call, position, "num_layers")
    return int(number) if number is not None else None


def _holds_a_place(module: ModuleValue) -> bool:
    parent, name = module.state.get("parent", (None, ""))
    return parent is not None and (not parent.complete or name != next(reversed(parent.attrs), name))


def _is_flat(node: FlowNode, depth: int = 8) -> bool:
    """Whether the input is known to have two axes."""
    while depth and node.inputs:
        depth -= 1
        node = node.inputs[0]
        module = node.module
        if module is not None:
            family = module.spec.family if module.spec is not None else ""
            if module.name == "torch.nn.Flatten":
                return not module.arguments
            if family not in ("linear", "dropout", "activation", "norm_running"):
                return False
            continue
        name = node.op.rpartition(".")[2].rstrip("_")
        arguments = node.call.positional_nodes if node.call is not None else []
        if name == "flatten" and node.call is not None:
            start = node.call.get(0 if node.op.startswith("torch.Tensor") else 1, "start_dim")
            return isinstance(start, Const) and start.value == 1 and "end_dim" not in node.call.keywords
        if name in ("view", "reshape") and node.op.startswith("torch.Tensor"):
            return len(arguments) == 2 and not any(isinstance(a, ast.Starred) for a in arguments)
        if name not in ("relu", "dropout", "gelu", "tanh", "sigmoid", "leaky_relu", "elu", "silu"):
            return False
    return False
