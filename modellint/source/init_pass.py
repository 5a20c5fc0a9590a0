"""Reads `InitPass`: functions that initialise layers by their classes, and what they pass over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from modellint.facts.init_pass import InitPass, PassedOver
from modellint.facts.record import slotted
from modellint.source.interpreter.values import ClassValue, External, FunctionValue, ModuleValue, Site, Value
from modellint.source.interpreter.weight_records import PassRecord
from modellint.source.places import Places
from modellint.source.torch_api.layers import LAYERS
from modellint.source.torch_api.names import canonical
from modellint.source.tree import walk

_RANDOM = frozenset(
    f"{name}{ending}"
    for name in (
        "normal", "uniform", "trunc_normal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal",
        "orthogonal", "sparse", "glorot_uniform", "glorot_normal",
    )
    for ending in ("", "_")
)  # fmt: skip
_GROUPS = {"conv": "conv", "conv_transpose": "conv", "norm_running": "norm", "linear": "linear"}
_UNDECIDED = re.compile(r"__name__|reset_parameters|hasattr|getattr")
_TESTED = re.compile(r"isinstance\(|type\(")


@slotted
class _Test:
    """One arm of a chain of tests of a layer's class."""

    node: ast.expr
    exact: bool
    classes: list[Value]
    fill: str
    """The random write to `.weight` in its body; empty when there is none."""


def read(places: Places) -> Iterator[InitPass]:
    """One fact for each run of such a function on an instance, and for each that is never called."""
    known: dict[int, list[_Test]] = {}
    done: set[object] = set()
    for record in places.records.weights.passes:
        if record.root.from_outside:
            continue
        node = record.function.node
        if id(node) not in known:
            known[id(node)] = _chain(places, record.function)
        key = (id(node), record.root.cls if record.root.cls is not None else record.root.key)
        if known[id(node)] and key not in done:
            done.add(key)
            passed = tuple(_passed_over(places, record, known[id(node)]))
            yield InitPass(
                place=places.span(record.site),
                function=record.function.name,
                class_name=record.function.owner.name if record.function.owner is not None else "",
                model=places.model(record.root, record.root.name.rpartition(".")[2]),
                passed_over=passed,
                never_called=False,
                in_test_suite=places.file.in_test_suite,
            )
    yield from _never_called(places)


# ---------------------------------------------------------------- the chain of tests


def _chain(places: Places, function: FunctionValue) -> list[_Test]:
    """The tests of a function that initialises; empty where they do not decide alone what is initialised."""
    text = function.file.text.segment(function.node)
    if _TESTED.search(text) is None or _UNDECIDED.search(text) is not None:
        return []
    tests: list[_Test] = []
    inside: set[int] = set()
    for node in walk(function.node):
        if not isinstance(node, ast.If):
            continue
        for part in walk(node.test):
            found = _test(places, function, part)
            if found is None:
                continue
            exact, classes = found
            if not classes:
                return []  # a class that is not known
            bodies = [inner for statement in node.body for inner in walk(statement)]
            inside.update(id(inner) for inner in bodies)
            tests.append(_Test(part, exact, classes, _random_fill(function, bodies)))  # type: ignore[arg-type]
    if not any(test.fill for test in tests):
        return []
    outside = [node for node in walk(function.node) if id(node) not in inside]
    return [] if any(_is_random(node) for node in outside) else tests


def _test(places: Places, function: FunctionValue, node: ast.AST) -> tuple[bool, list[Value]] | None:
    """`isinstance(m, X)`, `type(m) == X`, `type(m) in (X, Y)`: whether exact, and the classes (none: not known)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
        return False, _classes(places, function, node.args[1]) if len(node.args) == 2 else []
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.left, ast.Call):
        called = node.left.func
        if isinstance(called, ast.Name) and called.id == "type" and isinstance(node.ops[0], ast.Eq | ast.Is | ast.In):
            return True, _classes(places, function, node.comparators[0])
    return None


def _classes(places: Places, function: FunctionValue, node: ast.expr) -> list[Value]:
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = [_classes(places, function, part) for part in node.elts]
        return [value for part in parts for value in part] if all(parts) else []
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _classes(places, function, node.left), _classes(places, function, node.right)
        return [*left, *right] if left and right else []
    value = _value(places, function, node)
    return [value] if isinstance(value, External | ClassValue) else []


def _value(places: Places, function: FunctionValue, node: ast.expr) -> Value | None:
    if isinstance(node, ast.Name):
        return places.interpreter.lookup(node.id, function.closure)
    if isinstance(node, ast.Attribute):
        owner = _value(places, function, node.value)
        return External(f"{owner.name}.{node.attr}") if isinstance(owner, External) else None
    return None


def _is_random(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in _RANDOM


def _random_fill(function: FunctionValue, nodes: list[ast.AST]) -> str:
    for node in nodes:
        if _is_random(node):
            text = function.file.text.segment(node)
            if ".weight" in text:
                return text
    return ""


# ---------------------------------------------------------------- what it passes over


def _passed_over(places: Places, record: PassRecord, tests: list[_Test]) -> Iterator[PassedOver]:
    missed: dict[str, list[tuple[str, ModuleValue]]] = {}
    for name, part in record.parts:
        if part.spec is None or not part.spec.parametric or part.key in places.records.weights.written:
            continue
        exact_linear = any(test.fill and test.exact and _names(test, "torch.nn.Linear") for test in tests)
        group = "linear" if part.spec.family == "attention" and exact_linear else _GROUPS.get(part.spec.family, "")
        if group and not any(_matches(places, part, test) for test in tests):
            missed.setdefault(group, []).append((name, part))
    for group, parts in missed.items():
        asking = [test for test in tests if test.fill and group in _groups(test)]
        if asking:
            asked = [c for test in asking for c in test.classes if _group(c) == group]
            yield PassedOver(
                asked=tuple(dict.fromkeys(_short(c) for c in asked)),
                place=places.span(Site(record.function.file, asking[0].node)),
                fill_text=asking[0].fill,
                layers=tuple(places.layer(name, part) for name, part in parts),
            )


def _names(test: _Test, name: str) -> bool:
    return any(isinstance(c, External) and canonical(c.name) == name for c in test.classes)


def _matches(places: Places, part: ModuleValue, test: _Test) -> bool:
    for cls in test.classes:
        if test.exact:
            name = canonical(cls.name) if isinstance(cls, External) else cls
            if name == (part.cls if part.cls is not None else part.name):
                return True
        elif places.interpreter.isinstance_of(part, cls) is not False:
            return True
    return False


def _group(cls: Value) -> str:
    spec = LAYERS.get(canonical(cls.name)) if isinstance(cls, External) else None
    return _GROUPS.get(spec.family, "") if spec is not None else ""


def _groups(test: _Test) -> set[str]:
    return {_group(cls) for cls in test.classes}


def _short(cls: Value) -> str:
    return cls.name.rpartition(".")[2] if isinstance(cls, External | ClassValue) else ""


# ---------------------------------------------------------------- never called


def _never_called(places: Places) -> Iterator[InitPass]:
    """Methods that initialise and whose name stands nowhere else in the project, though the class is constructed."""
    if b"normal" not in (data := places.project.content(places.file.path)) and b"uniform" not in data:
        return
    for value in list(places.file.scope.names.values()):
        if not isinstance(value, ClassValue) or value.file is not places.file or not value.is_module:
            continue
        if value.unknown_base or any(not _is_plain(name) for name in value.library_bases):
            continue
        for name, function in value.attrs.items():
            if not isinstance(function, FunctionValue) or function.owner is not value or name.startswith("__"):
                continue
            nodes = walk(function.node)
            if not _random_fill(function, nodes) or any(name in base.attrs for base in value.mro[1:]):
                continue
            if not function.decorators and _is_unused(places, value, name):
                yield InitPass(
                    place=places.name_span(Site(function.file, function.node)),
                    function=name,
                    class_name=value.name,
                    model=None,
                    passed_over=(),
                    never_called=True,
                    in_test_suite=places.file.in_test_suite,
                )


def _is_plain(name: str) -> bool:
    return canonical(name) == "torch.nn.Module" or canonical(name) in LAYERS or name == "object"


def _connected(places: Places) -> list[Path]:
    """The files that use this one, all that those use, and what lies beside it."""
    own = places.file.path
    known = {own, *places.project.importers([own])}
    frontier = list(known)
    while frontier:
        found = {path for one in frontier for path in places.project.imports(one)} - known
        known |= found
        frontier = list(found)
    return sorted(known | set(own.parent.glob("*.py")))


def _is_unused(places: Places, cls: ClassValue, method: str) -> bool:
    named = re.compile(rb"(?:\.|\bdef |[\"'])" + method.encode() + rb"\b")
    constructed = re.compile(rb"(?<!class )\b" + cls.name.encode() + rb"\(")
    mentions = 0
    is_constructed = False
    if len(named.findall(places.project.content(places.file.path))) != 1:
        return False
    for path in _connected(places):
        data = places.project.content(path)
        mentions += len(named.findall(data))
        if mentions > 1:
            return False
        is_constructed = is_constructed or constructed.search(data) is not None
    return mentions == 1 and is_constructed
