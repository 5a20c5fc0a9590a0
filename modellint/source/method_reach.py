"""What a method of a project class reaches through calls of its own class and file: for the readers about data."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.source.interpreter.values import ClassValue, External, FunctionValue
from modellint.source.project import SourceFile
from modellint.source.tree import walk

_LIMIT = 40


def reached(cls: ClassValue, method: str) -> Iterator[tuple[SourceFile, ast.AST]]:
    """The function statements that a method runs: itself, methods of `self`, functions of the project by name."""
    start = cls.lookup(method)
    waiting = [start] if isinstance(start, FunctionValue) else []
    seen: set[int] = set()
    while waiting and len(seen) < _LIMIT:
        function = waiting.pop()
        if id(function.node) in seen:
            continue
        seen.add(id(function.node))
        yield function.file, function.node
        for node in walk(function.node):
            found = None
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                found = cls.lookup(node.attr)
            elif isinstance(node, ast.Name) and function.file.scope is not None:
                found = function.file.name(node.id)
            if isinstance(found, FunctionValue):
                waiting.append(found)


def self_attributes(node: ast.AST) -> tuple[set[str], set[str], set[str]]:
    """Attributes of `self` that code reads, that it assigns, and that it calls."""
    read: set[str] = set()
    written: set[str] = set()
    called: set[str] = set()
    for part in walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self":
            (read if isinstance(part.ctx, ast.Load) else written).add(part.attr)
        if (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and isinstance(part.func.value, ast.Name)
            and part.func.value.id == "self"
        ):
            called.add(part.func.attr)
    return read, written, called


def library_name(file: SourceFile, node: ast.AST) -> str:
    """The full name of what a (dotted) name is bound to: `numpy.random.rand`; empty where it is not a library's."""
    if isinstance(node, ast.Name):
        value = file.name(node.id) if file.scope is not None else None
        return value.name if isinstance(value, External) else ""
    if isinstance(node, ast.Attribute):
        owner = library_name(file, node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""
