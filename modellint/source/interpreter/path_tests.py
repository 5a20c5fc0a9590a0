"""The tests on a path through a loop body: which two are the same, so that no path contradicts itself.

if amp:
    scaler.unscale_(optimizer)
clip_grad_norm_(model.parameters(), 1.0)
if amp:                       # the same test of the same value: both are taken, or none
    scaler.step(optimizer)
"""

from __future__ import annotations

import ast
from typing import NamedTuple

from modellint.source.interpreter.machine import Machine
from modellint.source.interpreter.values import (
    Key,
    LibraryObject,
    ModuleValue,
    ObjectValue,
    Site,
    Unknown,
    Value,
)
from modellint.source.tree import walk

_PURE = frozenset(
    ["len", "isinstance", "hasattr", "getattr", "bool", "int", "float", "abs", "max", "min", "round", "any", "all",
     "is_enabled", "is_available", "isnan", "isfinite", "isinf", "is_initialized", "get_rank", "item", "startswith",
     "endswith", "lower", "upper"]
)  # fmt: skip
"""Calls that give the same again for the same arguments."""


class PathTest(NamedTuple):
    """A test that was not decided."""

    key: Key
    """Equal for two tests of the same values."""
    site: Site
    outcome: bool
    """What the first arm stands for, in the words of the key."""
    period: Value | None
    """Of `i % n == 0`: `n`."""
    divisor: ast.expr | None
    """The node of it."""


class _Spelling(NamedTuple):
    text: str
    outcome: bool
    chains: tuple[tuple[str, ...], ...]
    period: ast.expr | None


def path_test(machine: Machine, node: ast.expr) -> PathTest | None:
    """The test of an `if`; None where the same words may mean another thing the next time."""
    spelling: _Spelling | None = getattr(node, "_modellint_spelling", None)
    if spelling is None:
        spelling = node._modellint_spelling = _spelled(node)  # type: ignore[attr-defined]
    if not spelling.text:
        return None
    values = tuple(_bound(machine, chain) for chain in spelling.chains)
    period = machine.eval(spelling.period) if spelling.period is not None else None  # type: ignore[attr-defined]
    key = ("test", spelling.text, values)
    return PathTest(key, machine.site(node), spelling.outcome, period, spelling.period)


def _spelled(node: ast.expr) -> _Spelling:
    outcome = True
    core = node
    while isinstance(core, ast.UnaryOp) and isinstance(core.op, ast.Not):
        core, outcome = core.operand, not outcome
    period = _period(core)
    chains: list[tuple[str, ...]] = []
    for part in walk(core):
        if isinstance(part, ast.Call):
            function = part.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name not in _PURE:
                return _Spelling("", True, (), None)
        elif isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom):
            return _Spelling("", True, (), None)
        elif isinstance(part, ast.Attribute | ast.Name):
            chain = _chain(part)
            if chain is not None:
                chains.append(chain)
    if isinstance(core, ast.Compare) and len(core.ops) == 1 and isinstance(core.ops[0], ast.NotEq):
        core = ast.Compare(core.left, [ast.Eq()], core.comparators)
        outcome = not outcome
    return _Spelling(ast.unparse(core), outcome, tuple(dict.fromkeys(chains)), period)


def _chain(node: ast.expr) -> tuple[str, ...] | None:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None


def _period(node: ast.expr) -> ast.expr | None:
    """`n` of `(i + 1) % n == 0`, of `i % n` and of such a test combined with others by `or`."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return next((found for part in node.values if (found := _period(part)) is not None), None)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq | ast.NotEq):
        node = node.left if isinstance(node.comparators[0], ast.Constant) else node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and not isinstance(node.left, ast.Constant):
        return node.right
    return None


def _bound(machine: Machine, chain: tuple[str, ...]) -> Value | None:
    """What a dotted name is bound to now, without running anything."""
    value: Value | None = machine.lookup(chain[0], machine.frame.scope)  # type: ignore[attr-defined]
    for name in chain[1:]:
        if isinstance(value, ObjectValue | ModuleValue | LibraryObject):
            value = value.attrs.get(name)
        elif isinstance(value, Unknown):
            value = value.child(name)
        else:
            return None
    return value


def contradict(one: Key, one_holds: bool, other: Key, other_holds: bool) -> bool:
    """Whether two outcomes cannot both be."""
    if one == other:
        return one_holds is not other_holds
    if one[0] == other[0] == "equals" and one_holds and other_holds:
        return one[1] is other[1] and bool(one[2] != other[2])
    return False
