"""The syntax trees of the files that run, for findings only: classes, expressions by position, what has changed since.

A file may have been edited since it was imported. A code object tells: compiled again, the file must give the same
instructions at the same positions. Where it does not, only the lines that the code object itself carries are known.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from types import CodeType

from modellint.facts.span import Span
from modellint.runtime.call_site import Site, byte_span, lines, shown

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Position = tuple[int, int | None, int, int | None]


def span_of(path: str, node: ast.expr) -> Span:
    """The place of an expression."""
    return byte_span(path, node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or 0)


def line_span(code: CodeType, line: int | None = None) -> Span:
    """A place in a file that has changed: the line is that of the file as it was imported, a column is not known."""
    line = line or code.co_firstlineno
    return Span(shown(code.co_filename), line, 1, line, 1)


@cache
def classes(path: str) -> tuple[ast.ClassDef, ...]:
    """All class statements of a file."""
    tree = _tree(path)
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)) if tree is not None else ()


def methods(node: ast.ClassDef) -> list[Function]:
    """The methods that a class statement writes, the constructor first."""
    found = [child for child in node.body if isinstance(child, Function)]
    return sorted(found, key=lambda method: method.name != "__init__")


def first_line(node: Function) -> int:
    """Where its code begins, decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


@cache
def unchanged(code: CodeType) -> bool:
    """The file still holds what this code was compiled from."""
    twins = _compiled(shown(code.co_filename))
    if twins is None:
        return True  # nothing to compare with: a cell with its own syntax
    return any(_same(code, twin) for twin in twins.get((code.co_qualname, code.co_firstlineno), ()))


def expression_at(site: Site) -> ast.expr | None:
    """What stands at an instruction: the call, or the target of the assignment; None where the file has changed."""
    if not unchanged(site.code):
        return None
    position = _position(site)
    return _expressions(shown(site.code.co_filename)).get(position) if position is not None else None


def value_of(site: Site, target: ast.expr) -> ast.expr | None:
    """What the assignment gives to a target."""
    return _values(shown(site.code.co_filename)).get(_place(target))


def site_line(site: Site) -> int:
    """The line of an instruction, from the code object alone."""
    position = _position(site)
    return position[0] if position is not None else site.code.co_firstlineno


def pairs(target: ast.expr, value: ast.expr | None) -> list[tuple[ast.expr, ast.expr | None]]:
    """`self.a, self.b = x, y` as two assignments."""
    if not isinstance(target, ast.Tuple | ast.List):
        return [(target, value)]
    if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
        return [pair for one, given in zip(target.elts, value.elts, strict=True) for pair in pairs(one, given)]
    return [(one, value) for one in target.elts]


def assignments(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Every target of an assignment with what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for one, given in pairs(target, node.value):
                    if given is not None:
                        yield one, given


@cache
def attribute_assignments(path: str, name: str) -> tuple[tuple[ast.Attribute, ast.expr], ...]:
    """The assignments of a file to an attribute of this name, on whatever object."""
    tree = _tree(path)
    found = assignments(tree) if tree is not None else ()
    return tuple((one, given) for one, given in found if isinstance(one, ast.Attribute) and one.attr == name)


def last_name(node: ast.expr) -> str:
    """`fc` of `model.fc`, `model` of `model`."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@cache
def _tree(path: str) -> ast.Module | None:
    try:
        return ast.parse("\n".join(lines(path)))
    except (SyntaxError, ValueError, RecursionError):
        return None


@cache
def _compiled(path: str) -> dict[tuple[str, int], list[CodeType]] | None:
    """All code objects of a file as it is now, by name and first line; None when it does not compile."""
    source = "\n".join(lines(path)) + "\n"
    try:
        top = compile(source, path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: dict[tuple[str, int], list[CodeType]] = {}
    open_codes: list[CodeType] = [top]
    while open_codes:
        code = open_codes.pop()
        found.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
        open_codes += (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return found


def _same(one: CodeType, other: CodeType) -> bool:
    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and list(one.co_positions()) == list(other.co_positions())
    )


def _position(site: Site) -> _Position | None:
    positions = list(site.code.co_positions())
    index = site.instruction // 2
    if not 0 <= index < len(positions):
        return None
    line, end_line, column, end_column = positions[index]
    return (line, end_line, column or 0, end_column) if line is not None else None


def _place(node: ast.expr) -> _Position:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


@cache
def _expressions(path: str) -> dict[_Position, ast.expr]:
    tree = _tree(path)
    nodes = ast.walk(tree) if tree is not None else ()
    return {_place(node): node for node in nodes if isinstance(node, ast.Call | ast.Attribute | ast.Subscript)}


@cache
def _values(path: str) -> dict[_Position, ast.expr]:
    tree = _tree(path)
    return {_place(target): given for target, given in assignments(tree)} if tree is not None else {}
