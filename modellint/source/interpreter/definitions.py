"""Functions and classes: what a file binds."""

from __future__ import annotations

import ast
from typing import Any

from modellint.source.interpreter.imports import Imports
from modellint.source.interpreter.machine import OutOfBudget
from modellint.source.interpreter.values import (
    BoundMethod,
    Choice,
    ClassValue,
    External,
    FunctionValue,
    Scope,
    Unknown,
    Value,
)


class Definitions(Imports):
    """Makes functions and classes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._execute.update(
            {
                ast.FunctionDef: self._function,
                ast.AsyncFunctionDef: self._function,
                ast.ClassDef: self._class,
            }
        )

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
        value = self.make_function(node, None)
        self.assign(ast.copy_location(ast.Name(node.name, ast.Store()), node), value)
        return None

    def make_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, owner: ClassValue | None) -> Value:
        """The value of a `def`, decorators applied."""
        arguments = node.args
        defaults = tuple(self.eval(default) for default in arguments.defaults)
        keyword_defaults = {
            a.arg: self.eval(d)
            for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if d is not None
        }
        decorators = tuple(self.eval(decorator) for decorator in node.decorator_list)
        scope: Scope = self.frame.scope
        if owner is not None and scope.parent is not None:
            scope = scope.parent
        function = FunctionValue(node, self.file, scope, node.name, defaults, keyword_defaults, owner, decorators)
        if owner is None and scope is self.file.scope:
            self.file.functions.append(function)
        result: Value = function
        for decorator in reversed(decorators):
            if isinstance(decorator, FunctionValue | BoundMethod):
                wrapped = self._decorated(decorator, result, node)
                if isinstance(wrapped, FunctionValue):
                    # A wrapper in another file still stands for this function: it keeps its class for `super()`.
                    result = wrapped
        return result

    DECORATOR_BUDGET = 400
    """Steps for one call of a decorator: what takes more writes documentation or checks arguments."""

    def _decorated(self, decorator: FunctionValue | BoundMethod, value: Value, node: ast.AST) -> Value | None:
        """What a decorator of the project makes of a function or class; None where that takes too long to follow."""
        function = decorator.function if isinstance(decorator, BoundMethod) else decorator
        if (function.node, type(node)) in self.file.long_decorators:
            return None
        state = (
            self.file, list(self.frames), self.forwards, self.path, self.undecided, self.loops, self.loop_exits,
            self.trace, self.budget,
        )  # fmt: skip
        steps, mark, kept, traced = self.steps, self.mark(), self.records.sizes(), len(self.trace)
        self.budget = min(self.budget, steps + self.DECORATOR_BUDGET)
        try:
            return self.call(decorator, self._positional(node, value), node)
        except OutOfBudget:
            if self.budget == state[-1]:
                raise  # the entry point itself has no steps left
            self.records.cut(kept)
            (
                self.file, self.frames, self.forwards, self.path, self.undecided, self.loops, self.loop_exits,
                self.trace, _,
            ) = state  # fmt: skip
            del self.trace[traced:]
            self.take(mark)
            self.file.long_decorators.add((function.node, type(node)))
            self.steps = steps
            return None
        finally:
            self.budget = state[-1]

    def _class(self, node: ast.ClassDef) -> str | None:
        bases = [self.eval(base.value if isinstance(base, ast.Starred) else base) for base in node.bases]
        for keyword in node.keywords:
            self.eval(keyword.value)
        decorators = [self.eval(decorator) for decorator in node.decorator_list]
        if decorators:
            self.class_decorated(node, decorators)
        frame = self.frame
        outer = frame.scope
        scope = Scope({}, outer, self.file)
        scope.of_class = True
        cls = self._class_value(node, bases, scope)
        frame.scope = scope
        try:
            for statement in node.body:
                if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                    self.put(scope.names, statement.name, self.make_function(statement, cls))
                elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                    self.run_block([statement])
        finally:
            frame.scope = outer
        if outer is self.file.scope:
            self.file.functions.extend(
                f for f in scope.names.values() if isinstance(f, FunctionValue) and f.owner is cls
            )
        result: Value = cls
        for decorator in reversed(decorators):
            if isinstance(decorator, FunctionValue | BoundMethod):
                decorated = self._decorated(decorator, result, node)
                result = decorated if isinstance(decorated, ClassValue) else result
        self.assign(ast.copy_location(ast.Name(node.name, ast.Store()), node), result)
        return None

    def _class_value(self, node: ast.ClassDef, bases: list[Value], scope: Scope) -> ClassValue:
        project_bases = [base for base in bases if isinstance(base, ClassValue)]
        library: list[str] = []
        unknown = any(isinstance(base, Unknown | Choice) for base in bases)
        for base in bases:
            if isinstance(base, External):
                library.append(base.name)
            elif isinstance(base, ClassValue):
                library.extend(base.library_bases)
                unknown = unknown or base.unknown_base
        is_module = any(base.is_module for base in project_bases) or any(
            self.library_is_module(base.name) for base in bases if isinstance(base, External)
        )
        cls = ClassValue(node, self.file, node.name, tuple(bases), scope.names, unknown, tuple(library), is_module, ())
        ancestors: dict[ClassValue, None] = {}
        for base in project_bases:
            for ancestor in base.mro:
                ancestors.pop(ancestor, None)  # the last place counts
                ancestors[ancestor] = None
        cls.mro = (cls, *ancestors)
        return cls

    def behind_module(self, cls: ClassValue, base: ClassValue) -> bool:
        """Whether Python looks at nn.Module before it looks at `base`, as in `class Net(nn.Module, Base)`."""
        for heir in cls.mro:
            modules, holders = [], []
            for place, one in enumerate(heir.bases):
                if isinstance(one, ClassValue):
                    if one.is_module:
                        modules.append(place)
                    elif base in one.mro:
                        holders.append(place)
                elif isinstance(one, External) and self.library_is_module(one.name):
                    modules.append(place)
            if modules and holders and holders[0] > modules[-1]:
                return True
        return False
