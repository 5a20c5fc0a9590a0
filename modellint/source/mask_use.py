"""Reads `MaskUse`: boolean masks that attention is given, made by a comparison in one flow."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.mask_use import MaskUse
from modellint.source.interpreter.flow_nodes import ITEM, LAYER, FlowNode
from modellint.source.interpreter.values import Tensor, Value
from modellint.source.places import Places
from modellint.source.tree import walk

_SDPA = "scaled_dot_product_attention"
_POSITIONS = {
    "MultiheadAttention": {"key_padding_mask": 3},
    "TransformerEncoderLayer": {"src_key_padding_mask": 2},
    "TransformerEncoder": {"src_key_padding_mask": 2},
    "TransformerDecoderLayer": {"tgt_key_padding_mask": 4, "memory_key_padding_mask": 5},
    "TransformerDecoder": {"tgt_key_padding_mask": 4, "memory_key_padding_mask": 5},
    "Transformer": {"src_key_padding_mask": 6, "tgt_key_padding_mask": 7, "memory_key_padding_mask": 8},
}
_SAME = frozenset({"unsqueeze", "view", "reshape", "expand", "bool", "to", "cuda", "transpose", "contiguous", "repeat",
                   "expand_as", "t", "T", "squeeze", "permute", "detach"})  # fmt: skip
_DEPTH = 12


def read(places: Places) -> Iterator[MaskUse]:
    """One fact for each mask argument whose comparison was followed."""
    seen: set[object] = set()
    for node in places.records.flow:
        if node.call is None or node.site is None:
            continue
        name = node.module.name.rpartition(".")[2] if node.op == LAYER and node.module is not None else ""
        if name in _POSITIONS:
            arguments = {key: node.call.get(position, key) for key, position in _POSITIONS[name].items()}
        elif node.op.endswith(_SDPA):
            name, arguments = _SDPA, {"attn_mask": node.call.get(3, "attn_mask")}
        else:
            continue
        for parameter, value in arguments.items():
            fact = _use(places, node, name, parameter, value)
            if fact is not None and (fact.place, fact.parameter) not in seen:
                seen.add((fact.place, fact.parameter))
                yield fact


def _use(places: Places, node: FlowNode, name: str, parameter: str, value: Value | None) -> MaskUse | None:
    made = value.node if type(value) is Tensor else None
    flipped = False
    for _ in range(_DEPTH):
        if made is None or made.module is not None:
            return None
        short = made.op.rpartition(".")[2]
        if short in ("Invert", "logical_not", "bitwise_not"):
            flipped = not flipped
        elif short not in _SAME and made.op != ITEM:
            break
        made = made.inputs[0] if made.inputs else None
    padding = _true_for_padding(made) if made is not None else None
    if made is None or padding is None or made.site is None or node.site is None:
        return None
    call = node.call
    assert call is not None
    given = call.keyword_nodes.get(parameter)
    return MaskUse(
        callee=name if name != _SDPA else f"F.{_SDPA}",
        place=node.site.file.text.span(given) if given is not None else places.span(node.site),
        parameter=parameter,
        true_ignores=name != _SDPA,
        true_for_padding=padding is not flipped,
        made=places.span(made.site),
        made_text=made.site.file.text.segment(made.site.node),
    )


def _true_for_padding(made: FlowNode) -> bool | None:
    """What a comparison says: `ids == 0` is True for padding, `positions < lengths` for tokens."""
    node = made.site.node if made.site is not None else None
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return None
    if made.op in ("Eq", "NotEq"):
        if len(made.inputs) != 1 or _counts(made.inputs[0]):
            return None
        return made.op == "Eq"
    if made.op in ("Lt", "LtE", "Gt", "GtE"):
        counting = [_counts(part) for part in made.inputs]
        if counting.count(True) != 1:
            return None
        # Where the other side was not followed, the text says which side counts.
        first = counting[0] if len(counting) == 2 else _mentions_arange(node.left)
        if len(counting) == 1 and not first and not _mentions_arange(node.comparators[0]):
            return None
        return (made.op in ("Lt", "LtE")) is not first
    return None


def _mentions_arange(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr == "arange" for part in walk(node))


def _counts(node: FlowNode, depth: int = 6) -> bool:
    """Whether a value is `torch.arange(...)`, reshaped."""
    while depth:
        depth -= 1
        if node.op == "torch.arange":
            return True
        if node.module is not None or not node.inputs:
            return False
        if node.op.rpartition(".")[2] not in _SAME and node.op != ITEM:
            return False
        node = node.inputs[0]
    return False
