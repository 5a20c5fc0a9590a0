"""`with`: contexts that change what is tracked, objects with `__enter__`, functions with `@contextmanager`."""

from __future__ import annotations

import ast
from collections.abc import Callable

from modellint.source.interpreter.calls import Calls
from modellint.source.interpreter.context_function import ContextFunction
from modellint.source.interpreter.expressions import positional
from modellint.source.interpreter.values import (
    NONE,
    ContextValue,
    DeviceValue,
    External,
    FunctionValue,
    LibraryObject,
    ObjectValue,
    Scope,
    Unknown,
    Value,
)


def _split_at_yield(
    body: list[ast.stmt],
) -> tuple[list[ast.stmt | ast.withitem], ast.AST | None, list[ast.stmt]] | None:
    """What runs before the `yield`, what it yields, the statements after it; through `try` and `with`."""
    for index, statement in enumerate(body):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield):
            return [*body[:index]], statement.value.value, body[index + 1 :]
        if isinstance(statement, ast.Try):
            inner = _split_at_yield(statement.body)
            if inner is not None:
                before, yielded, after = inner
                return [*body[:index], *before], yielded, [*after, *statement.finalbody, *body[index + 1 :]]
        if isinstance(statement, ast.With):
            inner = _split_at_yield(statement.body)
            if inner is not None:
                before, yielded, after = inner
                return [*body[:index], *statement.items, *before], yielded, [*after, *body[index + 1 :]]
    return None


class Contexts(Calls):
    """Enters and leaves contexts."""

    def enter_context(self, value: Value, node: ast.AST) -> tuple[Value, Callable[[], None] | None]:
        """Enter a `with`: what `as` binds, and what leaving it does."""
        if isinstance(value, ContextValue):
            if value.what == "grad":
                saved = self.flow["grad"]
                self.put(self.flow, "grad", (value.enabled, value.site))
                return value, lambda: self.put(self.flow, "grad", saved)
            return value, None
        if isinstance(value, DeviceValue):
            saved_device = self.flow.get("default_device")
            self.put(self.flow, "default_device", value.text)
            return value, lambda: self.put(self.flow, "default_device", saved_device)
        if isinstance(value, External):
            switched = self.switch_grad(value.name, None, node)
            if switched is not None:
                return self.enter_context(switched, node)
        if isinstance(value, ContextFunction):
            return self._enter_generator(value, node)
        if isinstance(value, ObjectValue):
            enter, leave = value.cls.lookup("__enter__"), value.cls.lookup("__exit__")
            entered: Value = value
            if isinstance(enter, FunctionValue):
                entered = self.call_function(enter, value, positional(node), node)
            if isinstance(leave, FunctionValue):
                return entered, lambda: self._leave_object(leave, value, node)
            return entered, None
        return (value if isinstance(value, Unknown | LibraryObject) else Unknown("a context")), None

    def _leave_object(self, leave: FunctionValue, value: ObjectValue, node: ast.AST) -> None:
        self.call_function(leave, value, positional(node, NONE, NONE, NONE), node)

    def _enter_generator(self, value: ContextFunction, node: ast.AST) -> tuple[Value, Callable[[], None] | None]:
        """A `@contextmanager`: run it to its `yield` now, the rest when the `with` ends."""
        function = value.function
        split = _split_at_yield(function.node.body) if not isinstance(function.node, ast.Lambda) else None
        if split is None:
            return Unknown("a context"), None
        before, yielded, after = split
        entered: list[Callable[[], None]] = []
        names = self._bind_parameters(function, value.receiver, value.call, node)
        scope = Scope(names, function.closure, function.file)
        result: list[Value] = [NONE]

        def first() -> None:
            for part in before:
                if isinstance(part, ast.withitem):
                    _, leave_part = self.enter_context(self.eval(part.context_expr), part.context_expr)
                    if leave_part is not None:
                        entered.append(leave_part)
                elif self.run_block([part]) is not None:
                    return
            if yielded is not None:
                result[0] = self.eval(yielded)

        def rest() -> None:
            for leave_part in reversed(entered):
                leave_part()
            self.run_block(after)

        self._in_frame(function, value.receiver, scope, node, first)

        def leave() -> None:
            self._in_frame(function, value.receiver, scope, node, rest)

        return result[0], leave
