"""Reads `StateLoad`: weights that are read into a module."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.state_load import StateLoad
from modellint.facts.torch_call import UNKNOWN
from modellint.source.interpreter.torch_functions import READ_FROM_FILE
from modellint.source.interpreter.values import Const, Site, Unknown, Value
from modellint.source.places import Places
from modellint.source.tree import walk

_CHANGING = frozenset({"pop", "popitem", "update", "setdefault", "clear"})


def read(places: Places) -> Iterator[StateLoad]:
    """One fact for each call."""
    for call in places.records.torch_calls.values():
        if call.name != "torch.nn.Module.load_state_dict" or call.receiver_text is None:
            continue
        given = {name: (site, value) for name, site, value in call.arguments}
        state, value = given.get("state_dict", (None, None))
        strict = given["strict"][1] if "strict" in given else None
        constant: object = strict.value if isinstance(strict, Const) else UNKNOWN
        if strict is None:
            constant = UNKNOWN if call.open_arguments else None
        loose = constant is False and state is not None and value is not None
        yield StateLoad(
            place=places.span(call.site),
            text=call.text,
            model=call.receiver_text,
            given=state.file.text.segment(state.node) if state is not None else "",
            strict=constant,
            result_dropped=loose and places.surroundings.is_statement(call.site),
            changed=state is None or value is None or not loose or _changed(places, state, value),
        )


def _changed(places: Places, state: Site, value: Value) -> bool:
    """Whether it is anything but a file as it was read, or a part of one."""
    if not isinstance(value, Unknown) or value.reason != READ_FROM_FILE:
        return True
    node = state.node
    while isinstance(node, ast.Subscript):
        node = node.value
    if not isinstance(node, ast.Name):
        return False
    for part in walk(places.surroundings.function(state)):
        if isinstance(part, ast.Assign):
            if any(isinstance(target, ast.Subscript) and _named(target.value, node.id) for target in part.targets):
                return True
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _CHANGING:
            if _named(part.func.value, node.id):
                return True
        elif isinstance(part, ast.Delete):
            if any(isinstance(target, ast.Subscript) and _named(target.value, node.id) for target in part.targets):
                return True
    return False


def _named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
