"""What is known of a value: where its gradient goes, and how a new value gets that from those it is made of."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from modellint.source.interpreter.expressions import UNROLL
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.reach import (
    DATA,
    DECISION,
    NO_GRAD,
    NUMBER,
    OPEN,
    Cut,
    Reach,
    cut_of,
    merged,
)
from modellint.source.interpreter.value_methods import ValueMethods
from modellint.source.interpreter.values import (
    Choice,
    Const,
    ContextValue,
    DeviceValue,
    DictValue,
    External,
    LoaderValue,
    ModuleValue,
    ParameterValue,
    RangeValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
)

_PLAIN = (Const, External, DeviceValue, RangeValue, ContextValue)


class Batch:
    """One element of an iteration over something unknown: data, once a part of it went into a model."""

    __slots__ = ("fed",)

    def __init__(self) -> None:
        self.fed = False


class ReachValues(ValueMethods):
    """Asks and notes."""

    def reach_of(self, value: Value, depth: int = 3, known: dict[tuple[int, int], Reach] | None = None) -> Reach:
        """Where the gradient of a value goes. What is `known` is asked once: containers may share what they hold."""
        if isinstance(value, Tensor | Unknown):
            reach = value.reach
            if reach is not None:
                return reach
            if isinstance(value.origin, LoaderValue) or (isinstance(value.origin, Batch) and value.origin.fed):
                return DATA
            if value.forwards:
                return Reach(frozenset(record.model for record in value.forwards), open=True)
            return OPEN
        if isinstance(value, _PLAIN):
            return DATA
        if isinstance(value, ParameterValue):
            owners = frozenset(module for module, _ in value.targets)
            return Reach(owners or frozenset({value}))
        if depth and isinstance(value, SequenceValue | DictValue | Choice):
            known = {} if known is None else known
            key = (id(value), depth)
            if key not in known:
                known[key] = self._reach_of_parts(value, depth, known)
            return known[key]
        return OPEN

    def _reach_of_parts(
        self, value: SequenceValue | DictValue | Choice, depth: int, known: dict[tuple[int, int], Reach]
    ) -> Reach:
        if isinstance(value, Choice):
            parts: Sequence[Value] = value.options
        else:
            parts = value.items if isinstance(value, SequenceValue) else tuple(value.items.values())
            if len(parts) > UNROLL:
                self.steps += len(parts)
            elif not parts and isinstance(value, SequenceValue) and not value.complete:
                return OPEN
        return merged([self.reach_of(part, depth - 1, known) for part in parts])

    def _merged(self, values: Iterable[Value]) -> Reach:
        return merged([self.reach_of(value) for value in values])

    def _noted(self, result: Value, reach: Reach, given: Sequence[Value], node: ast.AST) -> Value:
        """The result of an operation, with its reach where it is a new value."""
        if isinstance(result, Choice):
            for option in result.options:
                self._noted(option, reach, given, node)
            return result
        if isinstance(result, SequenceValue):
            for item in result.items:
                self._noted(item, reach, given, node)
            return result
        if isinstance(result, Tensor | Unknown) and not any(result is value for value in given):
            recording = self.flow["grad"][0]
            if recording is not True and not reach.dead:
                if recording is False:
                    reach = self._cut(NO_GRAD, given, node, reach)
                else:
                    reach = Reach(reach.live, reach.cuts, True, False, reach.stores)
            result.reach = reach
        return result

    def _cut(self, how: str, given: Sequence[Value], node: ast.AST, reach: Reach | None = None) -> Reach:
        parts = [reach] if reach is not None else [self.reach_of(value) for value in given]
        if all(part is DATA for part in parts):
            return DATA
        forwards, losses = taints(given)
        site = self.flow["grad"][1] if how == NO_GRAD else None
        of_loss = bool(losses) or any(part.of_loss for part in parts) or how == NUMBER
        return cut_of(parts, Cut(how, site or self.site(node), forwards, of_loss))

    def _leaf(self, reach: Reach) -> Reach:
        """The reach of a value that is told to require a gradient."""
        return Reach(cuts=reach.cuts, leaf=True) if reach.dead else reach

    def _paired(self, reach: Reach, values: Sequence[Value], node: ast.AST) -> Reach:
        cut = next(iter(self._cut(DECISION, values, node).cuts), None)
        return Reach(reach.live, reach.cuts, reach.open, reach.leaf, reach.stores, indices=cut)

    def _written(self, target: Tensor, reach: Reach, node: ast.AST) -> None:
        """Something is written into a tensor, and into what it is a part of."""
        target.reach = reach
        part: ast.AST = node.func.value if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else node
        if isinstance(part, ast.Name):
            return
        while isinstance(part, ast.Subscript | ast.Attribute | ast.Call):
            part = part.func if isinstance(part, ast.Call) else part.value
        if isinstance(part, ast.Name) and not reach.dead:
            whole = self.lookup(part.id, self.frame.scope)
            if isinstance(whole, Tensor):
                whole.reach = merged([self.reach_of(whole), reach])

    def _entry(self) -> int:
        """What is run: the script (0), a function that nothing calls, or a class."""
        frame = self.frames[1] if len(self.frames) > 1 else None
        node = frame.site.node if frame is not None and frame.site is not None else None
        if frame is None or frame.function is None or isinstance(node, ast.Call):
            return 0
        owner = frame.function.owner
        return id(owner.node) if owner is not None else id(frame.function.node)


def without_pair(reach: Reach) -> Reach:
    if reach.indices is None:
        return reach
    return Reach(reach.live, reach.cuts, reach.open, reach.leaf, reach.stores)


def has_trainable(module: ModuleValue) -> bool | None:
    """It owns a parameter that requires a gradient; None when that is not known."""
    unknown = False
    for _, part in module.walk():
        owns = owns_trainable(part)
        if owns:
            return True
        unknown = unknown or owns is None
    return None if unknown else False


def owns_trainable(part: ModuleValue) -> bool | None:
    """It owns a parameter itself, not in a module below it, that requires a gradient."""
    state = part.state
    if state.get("frozen"):
        return False
    if part.spec is not None and part.spec.parametric:
        return not any(state.get(f"frozen:{name}") for name in ("weight", "*"))
    if any(isinstance(v, ParameterValue) and not state.get(f"frozen:{n}") for n, v in part.attrs.items()):
        return True
    if part.known_library is not None or not part.complete:
        return False if state.get("frozen:*") else None
    return False
