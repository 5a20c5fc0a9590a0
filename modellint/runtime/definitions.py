"""Where a layer of a live model is defined: what was put under its name, as exactly as the source tells.

Known best is a registration that happened under a watch: the instruction that put the very object there. Else the
value of the assignment to its attribute along the MRO; a layer inside of a container is looked for among the
container's arguments. Else the attribute around it, or the class line. The source is read for findings only.
"""

from __future__ import annotations

import ast
import dis
import inspect
from collections.abc import Iterator, Sequence
from functools import cache
from types import CodeType, FunctionType

from modellint.facts.span import Span
from modellint.runtime import source_tree
from modellint.runtime.call_site import Site, is_user_code, lines, shown
from modellint.runtime.session import ModuleRecord, RootRecord, Session

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
_REGISTRARS = {
    "setattr": 2, "__setattr__": 1, "add_module": 1, "register_module": 1, "register_parameter": 1,
    "register_buffer": 1, "append": 0, "insert": 1, "extend": 0, "update": 0, "add": 0,
}  # fmt: skip
"""Calls that put a module into another one, and which argument is the module (or the list of them)."""


def place_of(session: Session, root: RootRecord, path: str) -> Span | None:
    """The definition of the module or parameter at a dotted path below a root; None when no source is known."""
    owner, rest = _owner(root, path)
    record = _record(root, path)
    parts, kind = rest, record.kind if record is not None else ""
    while parts:
        # `layers.0.conv`: as deep as the source tells, else what is around it.
        site = record.site if record is not None else None
        if site is not None:
            return _registered_at(site, parts[-1])
        span = attribute_place(owner, parts, kind) if owner is not None else None
        if span is not None:
            return span
        parts, kind = parts[:-1], ""
        path = path.rpartition(".")[0]
        record = _record(root, path) if path else None
    record = _record(root, "")
    around = owner or (record.cls if record is not None else None)
    return class_place(around) if around is not None else None


def attribute_place(cls: type, parts: Sequence[str], kind: str = "") -> Span | None:
    """Where `self.a` (and the element `b` of it for `a.b`) gets its value in the code of a class or of its bases.

    Of several assignments the first one that constructs a `kind`, else the first one.
    """
    for base in cls.__mro__:
        found = _class_node(base)
        if found is None:
            span = _stored_at(base, parts[0])
            if span is not None:
                return span
            continue
        path, node = found
        if not is_user_code(path):
            continue
        for function in source_tree.methods(node):
            values = _assigned(function, parts[0])
            if values:
                found_elements = [_element(value, function, parts[1:]) for value in values]
                elements = [element for element in found_elements if element is not None]
                element = next((one for one in elements if kind and _constructs(one, kind)), None)
                element = element or (elements[0] if elements else None)
                return source_tree.span_of(path, element) if element is not None else None
    return None


def class_place(cls: type) -> Span | None:
    """The name in the class statement; None for a class whose source is not the user's or is not known."""
    found = _class_node(cls)
    if found is not None:
        return name_span(*found) if is_user_code(found[0]) else None
    code = next((code for code in _codes(cls) if _changed(code)), None)
    return source_tree.line_span(code) if code is not None else None


def name_span(path: str, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Span | None:
    """The name in a class or `def` statement."""
    text = lines(path)[node.lineno - 1]
    column = text.find(node.name, node.col_offset) + 1
    return Span(path, node.lineno, column, node.lineno, column + len(node.name)) if column else None


def class_statement(cls: type) -> tuple[str, ast.ClassDef] | None:
    """The file and the statement of a class; None for one of torch's, or without a source that is known."""
    return _class_node(cls)


def span_of(path: str, node: ast.expr) -> Span:
    """The place of an expression in a file that `class_statement` named."""
    return source_tree.span_of(path, node)


def _owner(root: RootRecord, path: str) -> tuple[type | None, list[str]]:
    """The innermost class of the user's around a path, and the rest of the path below it."""
    parts = path.split(".") if path else []
    for index in range(max(len(parts) - 1, 0), -1, -1):
        record = _record(root, ".".join(parts[:index]))
        if record is not None and class_place(record.cls) is not None:
            return record.cls, parts[index:]
    return None, parts


def _record(root: RootRecord, path: str) -> ModuleRecord | None:
    return next((record for record in root.by_id.values() if path in record.paths), None)


# Registered under a watch


def _registered_at(site: Site, name: str) -> Span:
    """What was put under a name by the user's code at a place: the value that is assigned, or the argument."""
    path = shown(site.code.co_filename)
    if not source_tree.unchanged(site.code):
        return source_tree.line_span(site.code, source_tree.site_line(site))
    node = source_tree.expression_at(site)
    if isinstance(node, ast.Call):
        return source_tree.span_of(path, _given(node, name) or node)
    value = source_tree.value_of(site, node) if node is not None else None
    return source_tree.span_of(path, value) if value is not None else site.span()


def _given(call: ast.Call, name: str) -> ast.expr | None:
    """The argument that a registering call puts under a name, where it is written there."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    index = _REGISTRARS.get(function)
    if index is None or index >= len(call.args):
        return _element(call, None, [name])
    given = call.args[index]
    if function in ("extend", "update"):
        return given.elt if isinstance(given, ast.ListComp | ast.GeneratorExp) else None
    return given if isinstance(given, ast.Call) else None


# Read in the source of the class


@cache
def _class_node(cls: type) -> tuple[str, ast.ClassDef] | None:
    """The file and the statement of a class that is written outside of torch."""
    if cls.__module__.partition(".")[0] in ("torch", "builtins"):
        return None
    for code in _codes(cls):
        path = shown(code.co_filename)
        for node in source_tree.classes(path):
            if any(source_tree.first_line(f) == code.co_firstlineno and f.name == code.co_name
                   for f in source_tree.methods(node)):  # fmt: skip
                return (path, node) if source_tree.unchanged(code) else None
    return None


def _codes(cls: type) -> Iterator[CodeType]:
    """The code of the methods that a class writes, the constructor first."""
    for _, value in sorted(vars(cls).items(), key=lambda item: item[0] != "__init__"):
        function = inspect.unwrap(value) if callable(value) and hasattr(value, "__wrapped__") else value
        if isinstance(function, FunctionType):
            yield function.__code__


def _changed(code: CodeType) -> bool:
    """It is the user's, and its file was edited since it was imported."""
    return is_user_code(code.co_filename) and bool(lines(shown(code.co_filename))) and not source_tree.unchanged(code)


def _stored_at(cls: type, name: str) -> Span | None:
    """The line that assigns an attribute, from the code objects of a class whose file was edited since."""
    for code in _codes(cls):
        if not _changed(code):
            continue
        for instruction in dis.get_instructions(code):
            position = instruction.positions
            if instruction.opname == "STORE_ATTR" and instruction.argval == name and position is not None:
                return source_tree.line_span(code, position.lineno)
    return None


def _assigned(function: source_tree.Function, name: str) -> list[ast.expr]:
    """The values that a method gives to `self.name`, in the order of the source; local names are followed."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    if not arguments:
        return []
    own = arguments[0].arg
    found = [given for target, given in source_tree.assignments(function) if _is_own(target, own, name)]
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            function_name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            index = _REGISTRARS.get(function_name, 0)
            if index and index < len(node.args) and _names(node.args[index - 1], name):
                found.append(node.args[index])
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return [_followed(value, function) for value in found]


def _is_own(target: ast.expr, own: str, name: str) -> bool:
    if not isinstance(target, ast.Attribute) or target.attr != name:
        return False
    return isinstance(target.value, ast.Name) and target.value.id == own


def _names(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == name


def _followed(value: ast.expr, function: source_tree.Function | None) -> ast.expr:
    """The value of a local name that is assigned once."""
    if not isinstance(value, ast.Name) or function is None:
        return value
    given = [
        one
        for target, one in source_tree.assignments(function)
        if isinstance(target, ast.Name) and target.id == value.id
    ]
    return given[0] if len(given) == 1 else value


def _constructs(value: ast.expr, kind: str) -> bool:
    if not isinstance(value, ast.Call):
        return False
    return (value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")) == kind


def _element(value: ast.expr, function: source_tree.Function | None, parts: Sequence[str]) -> ast.expr | None:
    """What a path leads to inside of a container's constructor: `1` of `nn.Sequential(a, b)` is `b`."""
    for part in parts:
        found = _member(value, function, part)
        if found is None:
            return None
        value = _followed(found, function)
    return value


def _member(value: ast.expr, function: source_tree.Function | None, part: str) -> ast.expr | None:
    if not isinstance(value, ast.Call) or not any(_constructs(value, container) for container in _CONTAINERS):
        return None
    members: Sequence[ast.expr] = value.args
    if len(members) == 1:
        inside = members[0].value if isinstance(members[0], ast.Starred) else members[0]
        inside = _followed(inside, function)
        if isinstance(inside, ast.Call) and _constructs(inside, "OrderedDict") and len(inside.args) == 1:
            inside = inside.args[0]
        if isinstance(inside, ast.BinOp) and isinstance(inside.op, ast.Mult) and isinstance(inside.left, ast.List):
            return inside.left.elts[0] if len(inside.left.elts) == 1 else None  # `[layer] * 3`
        if isinstance(inside, ast.ListComp | ast.GeneratorExp):
            return inside.elt
        if isinstance(inside, ast.DictComp):
            return inside.value
        if isinstance(inside, ast.Dict):
            entries = zip(inside.keys, inside.values, strict=True)
            return next((given for key, given in entries if key is not None and _names(key, part)), None)
        if isinstance(inside, ast.List | ast.Tuple):
            members = inside.elts
            for member in members:  # `[("name", layer), ...]`
                if isinstance(member, ast.Tuple | ast.List) and len(member.elts) == 2 and _names(member.elts[0], part):
                    return member.elts[1]
    if not part.isdigit() or int(part) >= len(members):
        return None
    before = members[: int(part) + 1]
    return None if any(isinstance(member, ast.Starred) for member in before) else before[-1]
