"""Where a layer of a live model is defined: the value of the first assignment to its attribute along the MRO.

Found in the source of the class, which is read only for findings. A layer inside of a container is looked for among
the container's arguments. Where that fails, the place at which the layer was registered is known if a watch was open;
else the class line.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from types import CodeType, FunctionType

from modellint.facts.span import Span
from modellint.runtime.call_site import byte_span, lines, shown
from modellint.runtime.session import ModuleRecord, RootRecord, Session

_MOST_DEPTH = 32


def place_of(session: Session, root: RootRecord, path: str) -> Span | None:
    """The definition of the module or parameter at a dotted path below a root; None when no source is known."""
    owner, rest = _owner(root, path)
    for depth in range(len(rest)):
        # `layers.0.conv`: as deep as the source tells, else the attribute around it.
        parts = rest[: len(rest) - depth]
        span = attribute_place(owner, parts) if owner is not None else None
        if span is not None:
            return span
    registered = _registration(session, root, path)
    if registered is not None:
        return registered
    record = _record(root, "")
    return class_place(record.cls) if record is not None else None


def attribute_place(cls: type, parts: Sequence[str]) -> Span | None:
    """Where `self.a` (and the element `b` of it for `a.b`) gets its value in the code of a class or of its bases."""
    for base in cls.__mro__:
        found = _class_node(base)
        if found is None:
            continue
        path, node = found
        for function in _methods(node):
            value = _assigned(function, parts[0])
            if value is not None:
                element = _element(value, parts[1:])
                return _span(path, element) if element is not None else None
    return None


def class_place(cls: type) -> Span | None:
    """The name in the class statement; None for a class whose source is not the user's or is not known."""
    found = _class_node(cls)
    if found is None:
        return None
    path, node = found
    text = lines(path)[node.lineno - 1]
    column = text.find(node.name, node.col_offset) + 1
    return Span(path, node.lineno, column, node.lineno, column + len(node.name)) if column else None


def _owner(root: RootRecord, path: str) -> tuple[type | None, list[str]]:
    """The innermost class with source around a path, and the rest of the path below it."""
    parts = path.split(".") if path else []
    for index in range(max(len(parts) - 1, 0), -1, -1):
        record = _record(root, ".".join(parts[:index]))
        if record is not None and _class_node(record.cls) is not None:
            return record.cls, parts[index:]
    return None, parts


def _record(root: RootRecord, path: str) -> ModuleRecord | None:
    return next((record for record in root.by_id.values() if path in record.paths), None)


def _registration(session: Session, root: RootRecord, path: str) -> Span | None:
    parent, _, name = path.rpartition(".")
    owner, child = _record(root, parent), _record(root, path)
    known = session.registered.get((owner.key, name)) if owner is not None else None
    if known is None or child is None or child.ref() is None or known[0]() is not child.ref():
        return None
    return known[1].span()


@cache
def _class_node(cls: type) -> tuple[str, ast.ClassDef] | None:
    """The file and the statement of a class that is written outside of torch."""
    if cls.__module__.partition(".")[0] in ("torch", "builtins"):
        return None
    for code in _codes(cls):
        path = shown(code.co_filename)
        for node in _classes(path):
            if any(_first_line(f) == code.co_firstlineno and f.name == code.co_name for f in _methods(node)):
                return path, node
    return None


def _codes(cls: type) -> Iterator[CodeType]:
    for value in vars(cls).values():
        function = inspect.unwrap(value) if callable(value) and hasattr(value, "__wrapped__") else value
        if isinstance(function, FunctionType):
            yield function.__code__


@cache
def _classes(path: str) -> tuple[ast.ClassDef, ...]:
    try:
        tree = ast.parse("\n".join(lines(path)))
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    methods = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
    return sorted(methods, key=lambda method: method.name != "__init__")  # the constructor first


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _assigned(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> ast.expr | None:
    """The value of the first `self.name = value` in a method."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    if not arguments:
        return None
    own = arguments[0].arg
    found: list[ast.expr] = []
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = getattr(node, "value", None)
        for target in targets:
            for one, given in _pairs(target, value):
                if isinstance(one, ast.Attribute) and one.attr == name and given is not None:
                    if isinstance(one.value, ast.Name) and one.value.id == own:
                        found.append(given)
    return min(found, key=lambda node: (node.lineno, node.col_offset), default=None)


def _pairs(target: ast.expr, value: ast.expr | None) -> list[tuple[ast.expr, ast.expr | None]]:
    """`self.a, self.b = x, y` as two assignments."""
    if not isinstance(target, ast.Tuple | ast.List):
        return [(target, value)]
    if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(one, value) for one in target.elts]


def _element(value: ast.expr, parts: Sequence[str]) -> ast.expr | None:
    """The argument of a container's constructor that a path leads to: `1` of `nn.Sequential(a, b)` is `b`."""
    for part in parts:
        found = None
        if isinstance(value, ast.Call):
            positional: list[ast.expr] = list(value.args)
            if len(positional) == 1 and isinstance(positional[0], ast.List | ast.Tuple | ast.Dict):
                container = positional[0]
                if isinstance(container, ast.Dict):
                    keys = {key.value: given for key, given in zip(container.keys, container.values, strict=True)
                            if isinstance(key, ast.Constant)}  # fmt: skip
                    found = keys.get(part)
                    positional = []
                else:
                    positional = container.elts
            if part.isdigit() and int(part) < len(positional):
                before = positional[: int(part) + 1]
                found = None if any(isinstance(argument, ast.Starred) for argument in before) else before[-1]
        if found is None:
            return None
        value = found
    return value


def _span(path: str, node: ast.expr) -> Span:
    return byte_span(path, node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or 0)
