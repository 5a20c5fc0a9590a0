"""Tests: what an `if` decides, and what holds in its arms when it does not."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from modellint.facts.forward_use import SignKind
from modellint.source.interpreter.expressions import Expressions
from modellint.source.interpreter.machine import Holds, taints
from modellint.source.interpreter.values import (
    BoundMethod,
    Choice,
    ClassValue,
    Const,
    ContextValue,
    DeviceValue,
    DictValue,
    External,
    FileValue,
    FunctionValue,
    Key,
    Method,
    ModuleValue,
    Nature,
    ObjectValue,
    OptimizerValue,
    PartialValue,
    ScalerValue,
    SchedulerValue,
    SequenceValue,
    Tensor,
    Unknown,
    Value,
    const,
)
from modellint.source.tree import walk

_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip


_OF_IDENTITY = frozenset({ast.Is, ast.IsNot, ast.Eq, ast.NotEq})
_ALWAYS_TRUE = (
    FunctionValue, ClassValue, BoundMethod, External, OptimizerValue, SchedulerValue, ScalerValue, PartialValue, Method,
    FileValue, ContextValue, DeviceValue,
)  # fmt: skip


def _extent(first: ast.AST, last: ast.AST) -> tuple[tuple[int, int], tuple[int, int]]:
    """From the start of one node to the end of another, as (line, column) of `ast`."""
    return (first.lineno, first.col_offset), (last.end_lineno, last.end_col_offset)  # type: ignore[attr-defined]


def reads_names(node: ast.AST) -> bool:
    """Whether a test reads anything at all."""
    return any(isinstance(part, ast.Name) for part in walk(node))


def _identity(left: Value, right: Value) -> bool | None:
    """Whether two values are the same thing, where that can be told."""
    if isinstance(left, Const) and isinstance(right, Const):
        return bool(left.value == right.value)
    if isinstance(left, External) and isinstance(right, External):
        return left.name == right.name
    if isinstance(left, ClassValue | External) and isinstance(right, ClassValue | External):
        return left is right
    if isinstance(left, ModuleValue | OptimizerValue | FunctionValue) and isinstance(
        right, ModuleValue | OptimizerValue | FunctionValue
    ):
        return left is right
    return None


def _constant_members(value: Value) -> set[object] | None:
    if isinstance(value, SequenceValue) and value.complete and all(isinstance(i, Const) for i in value.items):
        return {item.value for item in value.items if isinstance(item, Const)}
    if isinstance(value, DictValue) and value.box["complete"]:
        return set(value.items)
    return None


class Conditions(Expressions):
    """Decides comparisons and conditions."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._evaluate.update(
            {
                ast.Compare: self._compare,
            }
        )

    def _compare(self, node: ast.Compare) -> Value:
        decided, _, _ = self.condition(node)
        if decided is not None:
            return const(decided)
        return self._comparison

    _comparison: Value = Unknown("a comparison")
    """The undecided result of the last comparison, with what it compared."""

    def _compare_parts(self, node: ast.Compare) -> tuple[bool | None, Key | None, bool]:
        """Outcome if decided, else the key of the test and whether the comparison is its positive form."""
        left = self.eval(node.left)
        values = [left]
        outcome: bool | None = True
        key: Key | None = None
        positive = True
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.eval(right_node)
            values.append(right)
            one, key, positive = self._compare_pair(op, left, right)
            if one is False:
                outcome = False
            elif one is None and outcome is not False:
                outcome = None
            left = right
        if outcome is None:
            forwards, losses = taints(values)
            if forwards and len(values) == 2 and not self.forwards:
                self.records.data.comparisons.append((self.site(node), values[0], values[1], self.loops))
            if forwards and not isinstance(node.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn):
                self.sign(forwards, SignKind.METRIC, node)
            if forwards:
                self.compared(node, values)
            if any(isinstance(value, Tensor) for value in values):
                self._comparison = Tensor(forwards=forwards, losses=losses, comparison=True, nature=Nature(whole=True))
            else:
                self._comparison = Unknown("a comparison", forwards, losses)
        return outcome, key if len(node.ops) == 1 else None, positive

    def _compare_pair(self, op: ast.cmpop, left: Value, right: Value) -> tuple[bool | None, Key | None, bool]:
        kind = type(op)
        if kind in _OF_IDENTITY:
            positive = kind is ast.Is or kind is ast.Eq
            if isinstance(right, Const) and right.value is None:
                none = self._is_none(left)
                if none is not None:
                    return none is positive, None, positive
                if isinstance(left, Unknown | Choice):
                    return None, ("none", left), positive
                return None, None, positive
            identical = _identity(left, right)
            if identical is not None:
                return identical is positive, None, positive
            if isinstance(left, Const) and isinstance(right, Unknown):
                left, right = right, left
            if isinstance(left, Unknown) and isinstance(right, Const) and isinstance(right.value, int | str | float):
                return None, ("equals", left, right.value), positive
            return None, None, positive
        if isinstance(left, Const) and isinstance(right, Const):
            function = _COMPARE.get(kind)
            if function is not None:
                try:
                    return bool(function(left.value, right.value)), None, True
                except Exception:
                    return None, None, True
        if (kind is ast.In or kind is ast.NotIn) and isinstance(left, Const):
            keys = _constant_members(right)
            if keys is not None:
                return (left.value in keys) is (kind is ast.In), None, True
        if (kind is ast.In or kind is ast.NotIn) and isinstance(right, SequenceValue) and right.complete:
            same = [_identity(left, item) for item in right.items]
            if True in same or all(outcome is False for outcome in same):
                return (True in same) is (kind is ast.In), None, True
        if isinstance(left, Unknown) and isinstance(right, Const) and isinstance(right.value, int | float):
            name = kind.__name__
            return None, (name, left, right.value), True
        return None, None, True

    def _is_none(self, value: Value) -> bool | None:
        if isinstance(value, Const):
            return value.value is None
        if isinstance(value, Unknown):
            return None
        if isinstance(value, Choice):
            nones = [isinstance(o, Const) and o.value is None for o in value.options]
            return None if any(nones) else False
        return False

    def truth(self, value: Value) -> bool | None:
        """Whether a value is true; None when that depends."""
        if isinstance(value, Const):
            return bool(value.value)
        if isinstance(value, Unknown):
            return self._assumed(("truth", value))
        if isinstance(value, SequenceValue):
            if value.items and value.complete:
                return True
            return False if value.complete else (True if value.items else None)
        if isinstance(value, DictValue):
            return True if value.items else (False if value.box["complete"] else None)
        if isinstance(value, ModuleValue):
            return None if value.is_container and not any(True for _ in value.children()) else True
        if isinstance(value, Choice):
            outcomes = {self.truth(option) for option in value.options}
            return outcomes.pop() if len(outcomes) == 1 else None
        if isinstance(value, ObjectValue):
            return None if value.cls.lookup("__len__") or value.cls.lookup("__bool__") else True
        return True if isinstance(value, _ALWAYS_TRUE) else None

    def _assumed(self, key: Key) -> bool | None:
        known = self.assumed.get(key)
        if known is None and key[0] == "equals":
            for other, outcome in self.assumed.items():
                if other[0] == "equals" and other[1] is key[1] and outcome and other[2] != key[2]:
                    return False
        return known

    def condition(self, node: ast.AST) -> tuple[bool | None, Holds, Holds]:
        """Decide a test: its outcome if known, else what holds when it is true and when it is false."""
        self.tick()
        kind = type(node)
        if kind is ast.UnaryOp and type(node.op) is ast.Not:  # type: ignore[attr-defined]
            decided, when_true, when_false = self.condition(node.operand)  # type: ignore[attr-defined]
            return (None if decided is None else not decided), when_false, when_true
        if kind is ast.BoolOp:
            return self._boolean_condition(node)  # type: ignore[arg-type]
        if isinstance(node, ast.Compare):
            outcome, key, positive = self._compare_parts(node)
            if outcome is not None:
                return outcome, (), ()
            if key is None:
                return None, (), ()
            known = self._assumed(key)
            if known is not None:
                return known is positive, (), ()
            return None, ((key, positive),), ((key, not positive),)
        value = self.eval(node)
        outcome = self.truth(value)
        if outcome is not None:
            return outcome, (), ()
        if isinstance(value, Unknown):
            key = ("truth", value)
            return None, ((key, True),), ((key, False),)
        return None, (), ()

    def _boolean_condition(self, node: ast.BoolOp) -> tuple[bool | None, Holds, Holds]:
        is_and = isinstance(node.op, ast.And)
        decided: bool | None = is_and
        when_true: Holds = ()
        when_false: Holds = ()
        undecided = 0
        for part in node.values:
            outcome, part_true, part_false = self.condition(part)
            if outcome is (not is_and):
                return outcome, (), ()
            if outcome is None:
                decided = None
                undecided += 1
                when_true += part_true
                when_false += part_false
        if undecided > 1:
            # One of several parts failed, nobody knows which.
            if is_and:
                when_false = ()
            else:
                when_true = ()
        return decided, when_true, when_false

    def decide(self, test: ast.AST, taken: bool, *dead: ast.AST) -> None:
        """Note that a test in a module's method was decided, and which code is dead because of it."""
        module = self.frame.module
        if module is None or isinstance(test, ast.Constant) or not self._by_constructor(test, module):
            return
        known = module.decided.get(id(test))
        if known is not None and known[2] is not taken:
            module.decided[id(test)] = (known[0], known[1], known[2], ())
            return
        if not reads_names(test):
            return
        module.decided[id(test)] = (self.site(test), "", taken, tuple(_extent(part, part) for part in dead))

    def _by_constructor(self, test: ast.AST, module: ModuleValue) -> bool:
        """Whether only the arguments of the constructor decide a test: it reads `self`, or stands in `__init__`."""
        if module.constructing:
            return True
        names = self.frame.scope.names
        reads_self = False
        for node in walk(test):
            if isinstance(node, ast.Name) and node.id in names:
                if names[node.id] is not module:
                    return False
                reads_self = True
        return reads_self

    def dead_rest(self, test: ast.AST, rest: list[ast.stmt]) -> None:
        """The arm that was taken ended: the statements after the `if` are dead for this instance too."""
        module = self.frame.module
        known = module.decided.get(id(test)) if module is not None else None
        if module is not None and known is not None and rest:
            module.decided[id(test)] = (known[0], known[1], known[2], (*known[3], _extent(rest[0], rest[-1])))
