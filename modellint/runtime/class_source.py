"""What the source of a live module's class says about one attribute: who fills it, and how it is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.runtime import definitions

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_FILLS = {"append": 0, "add": 0, "insert": 1, "extend": 0, "update": 0, "appendleft": 0, "setdefault": 1}
_ASKS = frozenset({
    "to", "cuda", "type_as", "cpu", "device", "dtype", "shape", "size", "dim", "ndim", "numel", "tolist", "item",
    "numpy",
})  # fmt: skip


@record
class Fill:
    """One statement that puts something into an attribute."""

    path: str
    function: _Function
    statement: ast.expr
    """The value of an assignment, or the call of `append` and the like."""
    elements: tuple[ast.expr, ...]
    """What it puts in."""

    def span(self) -> Span:
        return definitions.span_of(self.path, self.statement)

    def given(self) -> bool:
        """Everything that it puts in came to the method as an argument."""
        arguments = {a.arg for a in (*self.function.args.posonlyargs, *self.function.args.args,
                                     *self.function.args.kwonlyargs)}  # fmt: skip
        return bool(self.elements) and all(
            isinstance(element, ast.Name) and element.id in arguments for element in self.elements
        )


def methods(cls: type) -> Iterator[tuple[str, _Function]]:
    """The methods of a class and of its bases, with their files; the constructor of each class first."""
    for one in cls.__mro__:
        found = definitions.class_statement(one)
        if found is not None:
            path, node = found
            functions = [child for child in node.body if isinstance(child, _Function)]
            yield from ((path, child) for child in sorted(functions, key=lambda child: child.name != "__init__"))


def fills(cls: type, name: str) -> list[Fill]:
    """Every statement that fills `self.name`, in the order of the source."""
    found = [fill for path, function in methods(cls) for fill in _fills(path, function, name)]
    # An empty container says nothing: what counts is what comes into it later.
    return [fill for fill in found if fill.elements] or found


def assigned(cls: type, name: str) -> bool:
    """Some method assigns `self.name`."""
    return any(_fills(path, function, name) for path, function in methods(cls))


def assigned_in_constructor(cls: type, name: str) -> Fill | None:
    """The first assignment of `self.name` in a constructor."""
    found = (f for path, function in methods(cls) if function.name == "__init__" for f in _fills(path, function, name))
    return next(found, None)


def read(cls: type, name: str) -> bool:
    """A method other than the constructor reads `self.name`."""
    return any(True for _ in _reads(cls, name))


def moved_at_use(cls: type, name: str) -> bool:
    """Every read of `self.name` outside of the constructor is `self.name.to(...)`, or asks for its shape."""
    return all(isinstance(parent, ast.Attribute) and parent.attr in _ASKS for parent in _reads(cls, name))


def _fills(path: str, function: _Function, name: str) -> list[Fill]:
    found: list[Fill] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if _is_own(target, function, name):
                    found.append(Fill(path, function, node.value, tuple(_elements(node.value))))
                elif isinstance(target, ast.Subscript) and _is_own(target.value, function, name):
                    found.append(Fill(path, function, node.value, (node.value,)))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _FILLS:
            if _is_own(node.func.value, function, name) and len(node.args) > _FILLS[node.func.attr]:
                found.append(Fill(path, function, node, (node.args[_FILLS[node.func.attr]],)))
    return sorted(found, key=lambda fill: (fill.statement.lineno, fill.statement.col_offset))


def _elements(value: ast.expr) -> list[ast.expr]:
    if isinstance(value, ast.List | ast.Tuple | ast.Set):
        return list(value.elts)
    if isinstance(value, ast.Dict):
        return list(value.values)
    if isinstance(value, ast.Call) and not value.args and not value.keywords:
        return []  # `list()`, `dict()`
    return [value]


def _reads(cls: type, name: str) -> Iterator[ast.AST]:
    """What stands around each read of `self.name` outside of constructors."""
    for _, function in methods(cls):
        if function.name == "__init__":
            continue
        for parent in ast.walk(function):
            for child in ast.iter_child_nodes(parent):
                if _is_own(child, function, name) and isinstance(getattr(child, "ctx", None), ast.Load):
                    yield parent


def _is_own(node: ast.AST, function: _Function, name: str) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args]
    return (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and bool(arguments)
        and node.value.id == arguments[0].arg
    )
