"""What one file says without being run: what it imports and binds, and where it reads attributes."""

from __future__ import annotations

import ast
from typing import NamedTuple

from modellint.source.tree import children, statements, walk

_CHANGING = frozenset({"append", "add", "update", "setdefault", "insert", "extend", "register", "__setitem__"})


class AttributeRead(NamedTuple):
    """One place that reads `.name`, or a text that may stand for such a read."""

    line: int
    column: int
    """As `ast` counts: bytes from 0."""
    receiver: str
    """The plain name before the dot; empty where something else stands there."""
    is_text: bool
    """A string literal that is the name, or starts a dotted path with it."""
    deleted: bool
    class_name: str | None
    lineage: frozenset[str]
    """The class and the classes of which it is a subclass, as far as the file says."""
    function: str | None
    rewrites: bool
    """It stands in a statement that assigns to an attribute of this name: `h.hidden = h.hidden.detach()`."""

    @property
    def position(self) -> tuple[int, int]:
        return self.line, self.column


class Imported(NamedTuple):
    """One name that an import statement binds."""

    module: str
    level: int
    name: str | None
    """None for `import module`; `*` for all names."""
    bound: str


class Outline:
    """The outline of one syntax tree; each part is made when it is asked for."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._imported: tuple[Imported, ...] | None = None
        self._bound: frozenset[str] | None = None
        self._reads: dict[str, list[AttributeRead]] | None = None

    @property
    def imported(self) -> tuple[Imported, ...]:
        """All names that imports bind, anywhere in the file."""
        if self._imported is None:
            found: list[Imported] = []
            for node in statements(self._tree):
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        found.append(Imported(alias.name, 0, None, alias.asname or alias.name.split(".")[0]))
                elif isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        found.append(Imported(node.module or "", node.level, alias.name, alias.asname or alias.name))
            self._imported = tuple(found)
        return self._imported

    @property
    def bound(self) -> frozenset[str]:
        """The names that the top level of the file binds, other than by `import *`."""
        if self._bound is None:
            found: set[str] = set()
            stack: list[ast.AST] = list(self._tree.body)
            while stack:
                node = stack.pop()
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found.add(node.name)
                elif isinstance(node, ast.Import):
                    found.update(alias.asname or alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    found.update(alias.asname or alias.name for alias in node.names)
                elif isinstance(node, ast.Name):
                    if not isinstance(node.ctx, ast.Load):
                        found.add(node.id)
                elif not isinstance(node, ast.Lambda):
                    stack.extend(children(node))
            self._bound = frozenset(found)
        return self._bound

    def harmless(self, name: str) -> bool:
        """Whether calling a function of the file changes no object of the file's top level, as far as it shows."""
        for node in self._tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
                return not any(_changes(part, self.bound) for part in walk(node))
        return False

    def reads(self, name: str) -> list[AttributeRead]:
        """Reads of `.name`, then texts that are the name or start a dotted path with it."""
        if self._reads is None:
            self._reads = self._all_reads()
        return self._reads.get(name, [])

    def _all_reads(self) -> dict[str, list[AttributeRead]]:
        attributes: dict[str, list[AttributeRead]] = {}
        texts: dict[str, list[AttributeRead]] = {}
        bases = {node.name: node.bases for node in statements(self._tree) if isinstance(node, ast.ClassDef)}
        lineages: dict[str | None, frozenset[str]] = {None: frozenset()}
        stack: list[tuple[ast.AST, str | None, str | None, frozenset[str]]] = [(self._tree, None, None, frozenset())]
        while stack:
            node, cls, function, assigned = stack.pop()
            kind = type(node)
            if kind is ast.ClassDef:
                cls, function = node.name, None  # type: ignore[attr-defined]
                if cls not in lineages:
                    lineages[cls] = _lineage(cls, bases)
            elif kind is ast.FunctionDef or kind is ast.AsyncFunctionDef:
                function = node.name if function is None else function  # type: ignore[attr-defined]
            elif kind is ast.Assign:
                own = {target.attr for target in node.targets if type(target) is ast.Attribute}  # type: ignore[attr-defined]
                assigned = assigned | own if own else assigned
            elif kind is ast.Attribute:
                context = type(node.ctx)  # type: ignore[attr-defined]
                if context is not ast.Store:
                    value, name = node.value, node.attr  # type: ignore[attr-defined]
                    read = AttributeRead(
                        node.lineno,  # type: ignore[attr-defined]
                        node.col_offset,  # type: ignore[attr-defined]
                        value.id if type(value) is ast.Name else "",
                        False,
                        context is ast.Del,
                        cls,
                        lineages[cls],
                        function,
                        name in assigned,
                    )
                    attributes.setdefault(name, []).append(read)
            elif kind is ast.Constant:
                text = node.value  # type: ignore[attr-defined]
                if type(text) is str:
                    name = text.partition(".")[0]
                    place = (node.lineno, node.col_offset)  # type: ignore[attr-defined]
                    read = AttributeRead(*place, "", True, False, cls, lineages[cls], function, name in assigned)
                    texts.setdefault(name, []).append(read)
                continue
            stack.extend([(child, cls, function, assigned) for child in children(node)])
        for name, found in texts.items():
            attributes.setdefault(name, []).extend(found)
        return attributes


def _lineage(name: str, bases: dict[str, list[ast.expr]]) -> frozenset[str]:
    seen: set[str] = set()
    stack = [name]
    while stack:
        current = stack.pop()
        if current in seen:
            continue
        seen.add(current)
        for base in bases.get(current, ()):
            last = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else None
            if last is not None:
                stack.append(last)
    return frozenset(seen)


def _root(node: ast.expr) -> tuple[str, str | None]:
    """The plain name that an expression starts with; with an attribute where one of it is called or changed."""
    attribute: str | None = None
    while True:
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute):
            attribute, node = node.attr, node.value
        elif isinstance(node, ast.Subscript):
            attribute, node = "", node.value
        else:
            return (node.id if isinstance(node, ast.Name) else ""), attribute


def _changes(node: ast.AST, top: frozenset[str]) -> bool:
    """Whether a node changes an object that a name of the top level stands for."""
    if isinstance(node, ast.Global):
        return True
    target: ast.expr | None = None
    if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
        target = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
        target = node.func.value
    return target is not None and _root(target)[0] in top
