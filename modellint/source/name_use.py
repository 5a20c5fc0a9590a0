"""What a program does with an object that it binds to a name: the methods it calls, through functions as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.source.interpreter.values import FunctionValue, Site, Value
from modellint.source.layout import project_root
from modellint.source.places import Places
from modellint.source.project import SourceFile
from modellint.source.tree import children, walk

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_PLAIN_BASES = frozenset({"object", "Module", "nn.Module", "torch.nn.Module", "ABC", "abc.ABC"})
_DEPTH = 6
SCHEDULE = "<scheduler>"
"""It is given to the constructor of a scheduler."""


def methods_called(places: Places, value: Value, site: Site) -> frozenset[str] | None:
    """The methods that are called on the object made at `site`, None where something else happens to it.

    It counts only where the object is bound to a plain name, or to an attribute that nobody ever reads.
    """
    bound = _bindings(site.file).get(id(site.node))
    if bound is None:
        return None
    target, scope, cls = bound
    found: set[str] = set()
    if isinstance(target, ast.Name):
        if isinstance(scope, ast.Module) and list(places.project.importers([site.file.path])):
            return None
        return frozenset(found) if _follow(places, value, scope, target.id, found, 0) else None
    done = cls is not None and _of_attribute(places, value, target, cls, site.file, found, 0)
    return frozenset(found) if done else None


_Binding = tuple[ast.Name | ast.Attribute, ast.AST, ast.ClassDef | None]


def _bindings(file: SourceFile) -> dict[int, _Binding]:
    """The name that each call of a file is bound to, by the call."""
    tree = file.text.tree
    known: dict[int, _Binding] | None = getattr(tree, "_modellint_bindings", None)
    if known is None:
        known = {}
        stack: list[tuple[ast.AST, ast.AST, ast.ClassDef | None]] = [(tree, tree, None)]
        while stack:
            node, scope, cls = stack.pop()
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                for target, value in _pairs(node.targets[0], node.value):
                    if isinstance(value, ast.Call) and isinstance(target, ast.Name | ast.Attribute):
                        known[id(value)] = (target, scope, cls)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
                if isinstance(node.target, ast.Name | ast.Attribute):
                    known[id(node.value)] = (node.target, scope, cls)
            inner_scope = node if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) else scope
            inner_class = node if isinstance(node, ast.ClassDef) else cls
            stack.extend((child, inner_scope, inner_class) for child in children(node))
        tree._modellint_bindings = known  # type: ignore[attr-defined]
    return known


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        yield from zip(target.elts, value.elts, strict=True)
    else:
        yield target, value


def _follow(
    places: Places,
    value: Value,
    scope: ast.AST,
    name: str,
    found: set[str],
    depth: int,
    function: FunctionValue | None = None,
) -> bool:
    """Collect what is done under a name in a scope; False where it goes out of sight."""
    if depth > _DEPTH or isinstance(scope, ast.ClassDef):
        return False
    for node, parent, above in _reads(scope, name):
        stored = _stored(node, parent)
        if stored is not None and function is not None and function.owner is not None:
            # `self.optimizer = optimizer`
            if not _of_attribute(places, value, stored, function.owner.node, function.file, found, depth + 1):
                return False
        elif not _use(places, value, node, parent, above, found, depth):
            return False
    return True


def _stored(node: ast.expr, parent: ast.AST) -> ast.Attribute | None:
    if isinstance(parent, ast.Assign) and parent.value is node and len(parent.targets) == 1:
        target = parent.targets[0]
        return target if isinstance(target, ast.Attribute) else None
    return None


def _plain(attribute: ast.Attribute, parent: ast.AST) -> bool:
    """A method is called, or the settings of an optimizer are looked at."""
    if isinstance(parent, ast.Call | ast.keyword):
        return isinstance(parent, ast.Call) and parent.func is attribute
    return attribute.attr == "param_groups"


def _of_attribute(
    places: Places,
    value: Value,
    target: ast.Attribute,
    cls: ast.ClassDef,
    file: SourceFile,
    found: set[str],
    depth: int,
) -> bool:
    """Collect what is done with `self.name`; False where more than its own class reads an attribute of that name."""
    if not (isinstance(target.value, ast.Name) and target.value.id == "self") or depth > _DEPTH:
        return False
    if any(ast.unparse(base) not in _PLAIN_BASES for base in cls.bases):
        return False
    project = places.project
    root = project_root(file.path.parent)
    for path, _ in project.files_saying(file.path, target.attr):
        if not project.connected(root, file.path, path):
            continue
        other = project.file(path)
        if not isinstance(other, SourceFile):
            return False
        modules = _imported(other.text.tree)
        for node, parent, above, owner in _attribute_reads(other.text.tree, target.attr):
            if isinstance(node.value, ast.Name) and node.value.id in modules:
                continue  # `torch.optim`
            own = owner is cls
            mine = isinstance(node.value, ast.Name) and node.value.id == "self"
            if not own and mine and owner is not None and all(_name(base) != cls.name for base in owner.bases):
                continue  # an attribute of another class
            if not own or not mine or not _use(places, value, node, parent, above, found, depth):
                return False
    return True


def _imported(tree: ast.AST) -> frozenset[str]:
    known: frozenset[str] | None = getattr(tree, "_modellint_imported", None)
    if known is None:
        statements = (node for node in walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
        names = (alias.asname or alias.name.partition(".")[0] for node in statements for alias in node.names)
        known = tree._modellint_imported = frozenset(names)  # type: ignore[attr-defined]
    return known


def _name(base: ast.expr) -> str:
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


_Read = tuple[ast.Attribute, ast.AST, ast.AST, ast.ClassDef | None]


def _attribute_reads(tree: ast.AST, name: str) -> Iterator[_Read]:
    stack: list[tuple[ast.AST, ast.AST, ast.AST, ast.ClassDef | None]] = [(tree, tree, tree, None)]
    while stack:
        node, parent, above, cls = stack.pop()
        if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load):
            yield node, parent, above, cls
        inner = node if isinstance(node, ast.ClassDef) else cls
        stack.extend((child, node, parent, inner) for child in children(node))


def _use(
    places: Places, value: Value, node: ast.expr, parent: ast.AST, above: ast.AST, found: set[str], depth: int
) -> bool:
    """Note what one read is for; False where the object goes out of sight."""
    if isinstance(parent, ast.Attribute):
        found.add(parent.attr)
        return _plain(parent, above)
    if isinstance(parent, ast.Call) and any(node is argument for argument in parent.args):
        return _handed(places, value, parent, parent.args.index(node), found, depth)
    if isinstance(parent, ast.keyword) and isinstance(above, ast.Call):
        return _handed(places, value, above, parent.arg, found, depth)
    return False


def _handed(
    places: Places, value: Value, call: ast.Call, argument: int | str | None, found: set[str], depth: int
) -> bool:
    if any(s.site is not None and s.site.node is call for s in places.records.order.schedulers):
        found.add(SCHEDULE)
        return True
    functions: list[FunctionValue] = places.records.order.handed.get((call, id(value)), [])
    if not functions or any(isinstance(part, ast.Starred) for part in call.args):
        return False
    for function in dict.fromkeys(functions):
        parameters = function.node.args
        names = [a.arg for a in (*parameters.posonlyargs, *parameters.args)]
        if names and names[0] in ("self", "cls") and function.owner is not None:
            names = names[1:]
        if isinstance(argument, int):
            if argument >= len(names):
                return False
            name = names[argument]
        elif argument in names or argument in [a.arg for a in parameters.kwonlyargs]:
            name = str(argument)
        else:
            return False
        if not _follow(places, value, function.node, name, found, depth + 1, function):
            return False
    return True


def _reads(scope: ast.AST, name: str) -> Iterator[tuple[ast.expr, ast.AST, ast.AST]]:
    """Every read of a name in a scope and the functions inside that see it, with the two nodes around it."""
    stack: list[tuple[ast.AST, ast.AST, ast.AST]] = [(child, scope, scope) for child in children(scope)]
    while stack:
        node, parent, above = stack.pop()
        if isinstance(node, ast.Name):
            if node.id == name and isinstance(node.ctx, ast.Load):
                yield node, parent, above
            continue
        if isinstance(node, _FUNCTIONS) and _binds(node, name):
            continue
        stack.extend((child, node, parent) for child in children(node))


def _binds(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str) -> bool:
    """Whether a name inside of a function is its own."""
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    if any(argument is not None and argument.arg == name for argument in given):
        return True
    if isinstance(function, ast.Lambda):
        return False
    inside = [node for statement in function.body for node in walk(statement)]
    if any(isinstance(node, ast.Global | ast.Nonlocal) and name in node.names for node in inside):
        return False
    return any(isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store) for node in inside)
