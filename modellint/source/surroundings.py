"""The statements around a node: asked for the few nodes that a reader is about to report."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from modellint.source.interpreter.values import Site
from modellint.source.tree import children, walk

_VERSION = re.compile(r"version|hasattr|TORCH|[A-Z]{3,}")


class Surroundings:
    """The parents of the nodes of files, found once a file."""

    def __init__(self) -> None:
        self._parents: dict[int, dict[ast.AST, ast.AST]] = {}

    def around(self, site: Site) -> Iterator[ast.AST]:
        """The nodes around one, from the inside out."""
        tree = site.file.text.tree
        parents = self._parents.get(id(tree))
        if parents is None:
            parents = self._parents[id(tree)] = {child: parent for parent in walk(tree) for child in children(parent)}
        node = parents.get(site.node)
        while node is not None:
            yield node
            node = parents.get(node)

    def function(self, site: Site) -> ast.AST:
        """The function around a node, else the file."""
        for node in self.around(site):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                return node
        return site.file.text.tree

    def is_statement(self, site: Site) -> bool:
        """Its value is dropped."""
        return isinstance(next(self.around(site), None), ast.Expr)

    def guarded(self, site: Site) -> bool:
        """It runs under a test of what this torch has: of a version, of an attribute, or in a `try`."""
        inner: ast.AST = site.node
        for node in self.around(site):
            if isinstance(node, ast.Try | ast.TryStar) and node.handlers and inner not in node.finalbody:
                return True
            if isinstance(node, ast.If | ast.IfExp) and _VERSION.search(site.file.text.segment(node.test)):
                return True
            inner = node
        return False
