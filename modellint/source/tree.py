"""Walks over Python's syntax trees: like those of `ast`, several times as fast.

`ast.walk` goes through generators and visits contexts and operators, which say nothing by themselves; here the fields
of each class that may hold nodes are known beforehand.
"""

from __future__ import annotations

import ast

# Texts and numbers, contexts, operators. `names` of an import holds nodes, `names` of `global` texts.
_NO_NODES = frozenset(
    [
        "arg", "asname", "attr", "conversion", "ctx", "id", "is_async", "kind", "kwd_attrs", "level", "lineno",
        "module", "n", "name", "op", "ops", "rest", "s", "simple", "tag", "type_comment", "type_ignores",
    ]
)  # fmt: skip
_STATEMENTS = ("body", "orelse", "finalbody", "handlers", "cases")


def _holding(cls: type[ast.AST]) -> tuple[str, ...]:
    if cls in (ast.Global, ast.Nonlocal, ast.Constant):
        return ()
    return tuple(field for field in cls._fields if field not in _NO_NODES or cls.__name__ == "TypeAlias")


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}


def _fields(cls: type[ast.AST]) -> tuple[str, ...]:
    known = _FIELDS.get(cls)
    if known is None:
        known = _FIELDS[cls] = _holding(cls)
    return known


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes directly below one, in the order of their fields."""
    result: list[ast.AST] = []
    for field in _FIELDS.get(type(node)) or _fields(type(node)):
        value = getattr(node, field, None)
        if value is None:
            continue
        if type(value) is list:
            result.extend([part for part in value if isinstance(part, ast.AST)])
        elif isinstance(value, ast.AST):
            result.append(value)
    return result


def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all below it, outer ones first."""
    result = [node]
    known = _FIELDS
    for part in result:  # grows while it is walked
        cls = type(part)
        fields = known.get(cls)
        if fields is None:
            fields = _fields(cls)
        for field in fields:
            value = getattr(part, field, None)
            if value is None:
                continue
            if type(value) is list:
                result.extend([item for item in value if isinstance(item, ast.AST)])
            elif isinstance(value, ast.AST):
                result.append(value)
    return result


def statements(node: ast.AST) -> list[ast.AST]:
    """The statements below a node, those in nested functions and classes included, without their expressions."""
    result: list[ast.AST] = [node]
    for part in result:
        for field in _STATEMENTS:
            value = getattr(part, field, None)
            if type(value) is list:
                result.extend(value)
    return result
