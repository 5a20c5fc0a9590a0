"""Sums and lists over the rounds of a loop that tensors are added to with their graphs."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from modellint.source.interpreter.modules import copied_tensor
from modellint.source.interpreter.reach import (
    Reach,
    Store,
)
from modellint.source.interpreter.reach_values import ReachValues
from modellint.source.interpreter.records import LoopRecord
from modellint.source.interpreter.values import (
    ParameterValue,
    SequenceValue,
    Site,
    Tensor,
    Unknown,
    Value,
)


class ReachStores(ReachValues):
    """Notes what is kept."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.proven: dict[int, tuple[Value, Site]] = {}
        """Values that a backward was called on: they have a graph."""

    def _stored(self, node: ast.AST, value: Value, container: Sequence[Value]) -> Store | None:
        """Note that a live tensor is added to something in a loop."""
        if not isinstance(value, Tensor | Unknown) or self.forwards or self.flow["grad"][0] is not True:
            return None
        _, proof = self.proven.get(id(value), (None, None))
        if proof is None and not isinstance(value, Tensor):
            return None
        loop = next((loop for loop in reversed(self.loops) if isinstance(loop, LoopRecord)), None)
        reach = self.reach_of(value)
        if loop is None or (proof is None and (reach.cuts or not (reach.live and value.forwards))):
            return None
        node = getattr(node, "_modellint_statement", node)
        key = (id(node), id(loop.site.node), self.frames[-1].function)
        store = self.records.graph.stores.get(key)
        if store is None or store.loop is not loop:
            text = self.file.text.segment(node) if hasattr(node, "lineno") else ""
            store = Store(self.site(node), text, loop, value.forwards, proof=proof)
            self.records.graph.stores[key] = store
        store.forwards |= value.forwards
        for old in container:
            if isinstance(old, Tensor | Unknown) and old.reach is not None and store in old.reach.stores:
                store.carried = True
        return store

    def _added(self, result: Tensor | Unknown, old: Value, new: Value, node: ast.AST) -> None:
        store = self._stored(node, new, (old,))
        if store is not None and result.reach is not None:
            reach = result.reach
            result.reach = Reach(reach.live, reach.cuts, reach.open, reach.leaf, reach.stores | {store})

    def _appended(self, container: SequenceValue, value: Value, node: ast.AST) -> Value:
        store = self._stored(node, value, container.items)
        if store is None or not isinstance(value, Tensor | Unknown):
            return value
        reach = self.reach_of(value)
        kept: Tensor | Unknown
        if isinstance(value, Tensor):
            kept = copied_tensor(value)
        else:
            kept = Unknown(value.reason, value.forwards, value.losses, value.origin)
        kept.reach = Reach(reach.live, reach.cuts, reach.open, reach.leaf, reach.stores | {store})
        return kept

    def _assign_statement(self, node: ast.Assign) -> str | None:
        if type(node.value) is ast.BinOp and type(node.value.op) is ast.Add and len(node.targets) == 1:
            _mark_sum(node, node.targets[0], node.value)
        return super()._assign_statement(node)

    def fill(self, target: ParameterValue, value: float | None, node: ast.AST) -> None:
        """Write into parameters; after they were used in a loop, that is training by hand."""
        super().fill(target, value, node)
        if self.loops:
            for module, _ in target.targets:
                if module.state.get("differentiated"):
                    module.state["written"] = True


def _mark_sum(statement: ast.Assign, target: ast.expr, value: ast.BinOp) -> None:
    """`total = total + loss`: which side of the sum is the old one."""
    if hasattr(value, "_modellint_old"):
        return
    wanted = ast.unparse(target) if isinstance(target, ast.Name | ast.Attribute) else None
    side = ""
    for name, part in (("left", value.left), ("right", value.right)):
        scaled = isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mult)
        for one in (part.left, part.right) if isinstance(part, ast.BinOp) and scaled else (part,):
            if wanted is not None and isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == wanted:
                side = name  # also `0.9 * total + 0.1 * loss`
    value._modellint_old = side  # type: ignore[attr-defined]
    value._modellint_statement = statement  # type: ignore[attr-defined]


def old_side(node: ast.AST) -> str:
    if isinstance(node, ast.AugAssign):
        return "left"
    side: str = getattr(node, "_modellint_old", "")
    return side
