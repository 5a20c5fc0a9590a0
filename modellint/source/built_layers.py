"""Reads `TorchCall` of layers that a forward builds anew at every call."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.torch_call import UNKNOWN, Argument, TorchCall
from modellint.source.interpreter.module_notes import BuiltRecord
from modellint.source.interpreter.values import Const, ModuleValue, ParameterValue
from modellint.source.naming import by_chance_on_purpose
from modellint.source.places import Places
from modellint.source.tree import children, walk

_GUARDS = (ast.If, ast.IfExp, ast.Try, ast.While, ast.BoolOp, ast.Match, ast.ExceptHandler)


def read(places: Places) -> Iterator[TorchCall]:
    """One fact for each construction that every forward comes to, of a layer that the forward then calls."""
    guarded: dict[tuple[ast.AST, ast.AST], bool] = {}
    seen: set[ast.AST] = set()
    for record in places.records.module_notes.built:
        module = record.module
        if record.site.node in seen or not module.state.get("called") or _kept_weights(module):
            continue
        trains = _trains(module)
        if trains is None or (not trains and not _drops(module)):
            continue
        for function, node in record.chain:
            if (function, node) not in guarded:
                guarded[function, node] = _guarded(function, node)
        if any(guarded[step] for step in record.chain):
            continue
        seen.add(record.site.node)
        yield _fact(places, record, trains)


def _fact(places: Places, record: BuiltRecord, trains: bool) -> TorchCall:
    module = record.module
    owner = record.owner.name.rpartition(".")[2] if record.owner is not None else None
    share = module.arguments.get("p")
    arguments: tuple[Argument, ...] = ()
    if not trains and share is not None:
        constant = share.value if isinstance(share, Const) else UNKNOWN
        arguments = (Argument("p", "", places.span(record.site), constant, False),)
    name = module.name.rpartition(".")[2]
    return TorchCall(
        name=f"torch.nn.{name}",
        place=places.span(record.site),
        text=places.interpreter.layer_text(module),
        arguments=arguments,
        open_arguments=False,
        receiver=None,
        receiver_kind="module",
        module_class=owner,
        function=record.function,
        training_only=False,
        stochastic_on_purpose=by_chance_on_purpose(owner, record.function),
        delegating=False,
        framework=record.framework,
        in_test_suite=record.site.file.in_test_suite,
        built_each_forward=True,
        has_parameters=trains,
    )


def _trains(module: ModuleValue) -> bool | None:
    """It has parameters that would be trained; None when that is not known, or it is a loss or a lazy layer."""
    parts = module.walk_values()
    if not all(part.complete for part in parts) or any(part.known_library is not None for part in parts):
        return None
    if any(part.spec is not None and part.spec.family == "loss" for part in parts):
        return None
    if any(part.name.rpartition(".")[2].startswith("Lazy") for part in parts):
        return None
    return any(
        (part.spec is not None and part.spec.parametric and not _without_weights(part))
        or any(isinstance(value, ParameterValue) for value in part.attrs.values())
        for part in parts
    )


def _without_weights(module: ModuleValue) -> bool:
    """A norm that was told to have none."""
    given = [module.arguments.get(name) for name in ("affine", "elementwise_affine")]
    return any(isinstance(value, Const) and not value.value for value in given)


def _drops(module: ModuleValue) -> bool:
    """A dropout that may drop: in the mode that every new layer has."""
    if module.spec is None or module.spec.family != "dropout":
        return False
    share = module.arguments.get("p")
    return not (isinstance(share, Const) and not share.value)


def _kept_weights(module: ModuleValue) -> bool:
    """Its weights come from elsewhere (a hypernetwork, a fixed kernel, a checkpoint), or are frozen."""
    for part in module.walk_values():
        if part.cls is None and part.attrs.keys() & {"weight", "bias"}:
            return True
        if any(key.startswith(("fill:", "frozen")) or key in ("tied", "escaped") for key in part.state):
            return True
    return any(not entry.by_construction for entry in module.state.get("modes", ()))


def _guarded(function: ast.AST, node: ast.AST) -> bool:
    """Not every call of the function comes to the node: a test stands around it, or a way out before it."""
    path = _path(function, node)
    if any(isinstance(part, _GUARDS) for part in path[:-1]):
        return True
    line = getattr(node, "lineno", 0)
    return any(
        isinstance(part, ast.If)
        and part.lineno < line
        and any(isinstance(inner, ast.Return | ast.Continue | ast.Break) for inner in walk(part))
        for part in walk(function)
    )


def _path(function: ast.AST, node: ast.AST) -> list[ast.AST]:
    """The nodes from a function down to one in it."""
    stack: list[list[ast.AST]] = [[function]]
    while stack:
        path = stack.pop()
        if path[-1] is node:
            return path
        stack.extend([*path, child] for child in children(path[-1]))
    return [function]
