"""Notes `torch.where(x > 0, f(x), y)` for an f whose derivative is infinite where the condition ends."""

from __future__ import annotations

import ast
from typing import NamedTuple

from modellint.source.interpreter.values import Site
from modellint.source.tree import walk

_AT_ZERO = frozenset({"sqrt", "rsqrt", "log", "log2", "log10", "reciprocal"})
_AT_ONE = frozenset({"acos", "asin", "arccos", "arcsin", "atanh", "acosh"})
_SAFE = """where clamp clamp_min clamp_ clip softplus exp Add add maximum max masked_fill masked_fill_ nan_to_num
sigmoid softmax ones ones_like"""
SAFE = frozenset(_SAFE.split())
"""Operations after which a value is no longer what the condition tests, or is kept away from the singular point."""


class SingularityRecord(NamedTuple):
    """One such call."""

    site: Site
    operation: Site
    condition: Site
    operand: str
    at: str


def guarded(call: ast.Call) -> tuple[ast.expr, ast.Name, str] | None:
    """The singular operation in a branch of a `where`, the name it is applied to, and the singular point."""
    if len(call.args) != 3 or not isinstance(call.args[0], ast.Compare) or len(call.args[0].ops) != 1:
        return None
    test = call.args[0]
    names = [part for part in (test.left, test.comparators[0]) if isinstance(part, ast.Name)]
    bounds = [part for part in (test.left, test.comparators[0]) if not isinstance(part, ast.Name)]
    if len(names) != 1 or len(bounds) != 1:
        return None
    bound = _number(bounds[0])
    if bound is None:
        return None
    for branch in call.args[1:]:
        for part in walk(branch):
            at = _singular(part, names[0].id)
            if at is not None and (at == "0") == (0 <= bound < 0.5):
                return part, names[0], at  # type: ignore[return-value]
    return None


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value  # not made a float: there are numbers for which that fails
    return None


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _singular(node: ast.AST, name: str) -> str | None:
    """Where an operation on the name has no finite derivative; None when it has one, or is on something else."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Div) and _is(node.right, name):
            return "0"
        if isinstance(node.op, ast.Pow) and _is(node.left, name):
            exponent = _number(node.right)
            return "0" if exponent is not None and exponent < 1 and exponent != 0 else None
        return None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    first = node.args[0] if node.args else None
    on_name = _is(node.func.value, name) or (first is not None and _is(first, name))
    if not on_name:
        return None
    if node.func.attr in _AT_ZERO:
        return "0"
    if node.func.attr in _AT_ONE:
        return "1"
    if node.func.attr == "pow" and node.args:
        exponent = _number(node.args[-1])
        return "0" if exponent is not None and exponent < 1 and exponent != 0 else None
    return None
