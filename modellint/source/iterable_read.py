"""What an IterableDataset of the project reads in each worker."""

from __future__ import annotations

import ast

from modellint.facts.loader_call import IterableRead
from modellint.source.data_loops import names_in
from modellint.source.interpreter.data import FrozenData
from modellint.source.interpreter.values import Const, DictValue, ObjectValue, RangeValue, SequenceValue, Site, Tensor
from modellint.source.loader_setup import called_names
from modellint.source.method_reach import reached
from modellint.source.naming import words
from modellint.source.places import Places
from modellint.source.torch_api.names import canonical
from modellint.source.tree import walk

_DIVIDES = frozenset(["worker", "workers", "rank", "world", "shard", "shards", "replica", "replicas", "islice"])
_DRAWS = frozenset([
    "random", "rand", "randn", "randint", "randrange", "randperm", "choice", "choices", "shuffle", "sample", "normal",
    "uniform", "permutation", "integers", "gauss",
])  # fmt: skip
_ENDLESS = frozenset({"count", "cycle", "repeat"})
_READS = frozenset({
    "open", "range", "sorted", "reader", "DictReader", "glob", "iglob", "rglob", "listdir", "scandir", "read_csv",
    "loadtxt", "iterdir", "readlines", "splitlines", "load", "loads", "iterrows", "itertuples", "arange", "walk",
    "keys", "values", "items",
})  # fmt: skip
_PASSES_ON = frozenset({"enumerate", "zip", "map", "filter", "reversed", "list", "tuple", "iter", "tqdm", "chain"})


def iterable_read(places: Places, data: FrozenData | None) -> IterableRead | None:
    """What an IterableDataset of the project reads in each worker."""
    if data is None or not isinstance(data.value, ObjectValue):
        return None
    cls = data.value.cls
    if cls.unknown_base or (
        {canonical(base) for base in cls.library_bases} - {"typing.Generic"} != {"torch.utils.data.IterableDataset"}
        and "torch.utils.data.IterableDataset" not in [canonical(base) for base in cls.library_bases[:1]]
    ):
        return None
    code = list(reached(cls, "__iter__"))
    if not code:
        return None
    names = frozenset().union(*(names_in(node) for _, node in code), *(names_in(c.node) for c in cls.mro))
    said = {word for name in names for word in words(name)}
    called = frozenset().union(*(called_names(node) for _, node in code))
    endless = bool(called & _DRAWS or called & _ENDLESS) or any(
        isinstance(part, ast.While) and isinstance(part.test, ast.Constant) and part.test.value
        for _, node in code
        for part in walk(node)
    )
    file, start = code[0]
    source = None
    functions = {node.name for _, node in code if isinstance(node, ast.FunctionDef)}
    known = _known_attributes(data, [c.node for c in cls.mro])
    for reached_file, node in code:
        found, followed = _source(node, known, functions)
        if not followed:
            return None
        if found is not None and source is None:
            source = (reached_file, found)
    if source is None:
        return None
    return IterableRead(
        class_name=cls.name,
        place=places.name_span(Site(file, start)),
        source=source[0].text.segment(source[1]),
        source_place=places.span(Site(source[0], source[1])),
        divides=bool(said & _DIVIDES),
        endless=endless,
    )


def _known_attributes(data: FrozenData, classes: list[ast.ClassDef]) -> set[str]:
    """Attributes that hold data, or what reading it gave, in every worker alike."""
    assigned: dict[str, list[ast.AST]] = {}
    for node in (part for statement in classes for part in walk(statement) if isinstance(part, ast.Assign)):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                assigned.setdefault(target.attr, []).append(node.value)
    return {
        name
        for name in assigned.keys() | data.attrs.keys()
        if isinstance(data.attrs.get(name), SequenceValue | DictValue | RangeValue | Const | Tensor)
        or (name in assigned and all(_whole(value, set(), {}, set(), 4) for value in assigned[name]))
    }


def _source(function: ast.AST, attrs: set[str], functions: set[str]) -> tuple[ast.AST | None, bool]:
    """The first thing that a function runs over, and whether all that it runs over is known to be whole."""
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    arguments = function.args
    local = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)} | functions
    assigned: dict[str, list[ast.AST]] = {}
    for node in walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for part in walk(target):
                    if isinstance(part, ast.Name):
                        assigned.setdefault(part.id, []).append(node.value)
        elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            assigned.setdefault(node.optional_vars.id, []).append(node.context_expr)
        elif isinstance(node, ast.For | ast.comprehension):
            for part in walk(node.target):
                if isinstance(part, ast.Name):
                    local.add(part.id)
    first: ast.AST | None = None
    for node in walk(function):
        given = None
        if isinstance(node, ast.For | ast.comprehension):
            given = node.iter
        elif isinstance(node, ast.YieldFrom):
            given = node.value
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
            name = node.value.func
            if isinstance(name, ast.Name) and name.id in _PASSES_ON and node.value.args:
                given = node.value.args[-1]
        if given is None:
            continue
        if not _whole(given, attrs, assigned, local, 6):
            return None, False
        if first is None or _first_is_a_call(first, functions):
            first = given
    return first, True


def _first_is_a_call(node: ast.AST, functions: set[str]) -> bool:
    """It runs over what another function of the project gives: that one shows better what is read."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions


def _whole(node: ast.AST, attrs: set[str], assigned: dict[str, list[ast.AST]], local: set[str], depth: int) -> bool:
    """An expression that gives all the data in every worker, for sure."""
    if not depth:
        return False
    if isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.ListComp | ast.GeneratorExp):
        return True
    if isinstance(node, ast.Subscript):
        return _whole(node.value, attrs, assigned, local, depth - 1)
    if isinstance(node, ast.Name):
        values = assigned.get(node.id)
        if values:
            return all(_whole(value, attrs, assigned, local, depth - 1) for value in values)
        return node.id in local
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr in attrs
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _READS or (isinstance(node.func, ast.Name) and name in local):
            return True  # the latter is a function of the project: it is looked at as well
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            if node.func.value.id == "self":
                return True  # a method of its own: it is looked at as well
            if node.func.attr in ("split", "strip", "rstrip"):
                return True
        if name in _PASSES_ON and node.args:
            return all(_whole(a, attrs, assigned, local, depth - 1) for a in node.args[name in ("map", "filter") :])
    return False
