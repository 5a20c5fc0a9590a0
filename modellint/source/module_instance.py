"""Reads `ModuleInstance`: what one forward of each constructed module calls, and what it leaves out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from modellint.facts.module_instance import Branch, LayerCall, ModuleInstance, UnusedLayer, UnusedParameter
from modellint.source.interpreter.records import CallRecord
from modellint.source.interpreter.values import ClassValue, ModuleValue, ParameterValue
from modellint.source.layout import project_root
from modellint.source.places import Places
from modellint.source.tree import walk

_COMBINING = frozenset({"Add", "Sub", "torch.add", "torch.cat", "torch.Tensor.add", "torch.Tensor.add_"})
_INIT_CODE = ("__init__", "init", "_init", "reset_parameters", "_reset", "extra_repr", "weights_init", "initialize")


def read(places: Places) -> Iterator[ModuleInstance]:
    """One fact for each module whose forward ran: roots with their calls, modules below them for what is unused."""
    calls: dict[int, list[CallRecord]] = {}
    roots: dict[int, ModuleValue] = {}
    for module, run in places.records.instances:
        roots.setdefault(id(module), module)
        calls.setdefault(id(module), run)
    seen: set[object] = set()
    for module, runs in places.records.method_calls.values():
        if module.name not in {root.name for root in roots.values()} and len(runs) > 1:
            roots.setdefault(id(module), module)
            calls.setdefault(id(module), [call for run in runs for call in run])
    for root in roots.values():
        yield _instance(places, root, calls[id(root)], True)
        seen.add(id(root))
        for _, part in root.walk():
            if part.cls is not None and part.state.get("ran") and id(part) not in seen:
                seen.add(id(part))
                fact = _instance(places, part, [], False)
                if fact.unused or fact.unused_parameters:
                    yield fact


def _instance(places: Places, module: ModuleValue, calls: list[CallRecord], root: bool) -> ModuleInstance:
    optimizer = next(
        (o for o in places.records.optimizers if o.complete and any(module in m.walk_values() for m in o.modules)), None
    )
    names = {id(part): name for name, part in module.walk()}
    return ModuleInstance(
        model=places.model(module, module.name),
        calls=tuple(_call(places, record, names) for record in calls),
        unused=tuple(_unused(places, module)),
        parameters=places.parameters(module),
        optimizer=optimizer.kind if optimizer is not None and optimizer.kind else None,
        optimizer_place=places.optional(optimizer.site) if optimizer is not None else None,
        root=root,
        unused_parameters=tuple(_unused_parameters(places, module)),
    )


def _call(places: Places, record: CallRecord, names: dict[int, str]) -> LayerCall:
    module = record.module
    producer, key = record.producer_text, record.producer
    if key is None and record.node is not None and record.node.inputs:
        # Made by an operation that is no layer: the same operation of the same module is the same position.
        made = record.node.inputs[0]
        if made.op in _COMBINING and made.site is not None:
            producer, key = "a combination of several", (made.op, id(made.site.node), getattr(made.owner, "key", None))
    return LayerCall(
        layer=module.key,
        ref=places.layer(names.get(id(module), ""), module),
        place=places.span(record.site),
        stateful_norm=record.stateful,
        producer=producer,
        producer_key=key,
        branches=record.branches,
        trained_slope=record.trained_slope,
    )


def _unused(places: Places, module: ModuleValue) -> Iterator[UnusedLayer]:
    cls = module.cls
    if cls is None or not _followed(module, cls):
        return
    elsewhere = {
        id(part) for name, value in module.children() if name in module.reads for part in [value, *value.walk_values()]
    }
    for name, child in module.children():
        if name in module.reads or name.startswith("?") or id(child) in elsewhere or not places.has_parameters(child):
            continue
        if child.spec is not None and child.spec.family == "loss":
            continue
        if any(_known_use(part) for part in child.walk_values()):
            continue
        excluded = _excluded_by(places, module, cls, name)
        if excluded is not None and not (excluded and module.from_outside):
            yield UnusedLayer(places.layer(name, child), places.parameters(child), excluded)


def _followed(module: ModuleValue, cls: ClassValue) -> bool:
    """Its forward ran, all of it was followed, and no base class from outside may use what it holds."""
    if not module.complete or "*" in module.reads or cls.unknown_base or not module.state.get("ran"):
        return False
    if any(not base.startswith("torch.nn.Module") for base in cls.library_bases if base.startswith("torch.")):
        return False
    return not any("." in base and not base.startswith("torch.") for base in cls.library_bases)


_BY_NAME = frozenset({"parameters", "named_parameters", "_parameters", "__dict__", "getattr", "vars", "globals"})


def _unused_parameters(places: Places, module: ModuleValue) -> Iterator[UnusedParameter]:
    cls = module.cls
    if cls is None or not _followed(module, cls):
        return
    for name, value in module.attrs.items():
        if not isinstance(value, ParameterValue) or not value.trainable or name in module.reads or name[0] == "?":
            continue
        states = [state for key, state in module.state.items() if key in ("frozen", f"frozen:{name}")]
        own = len(value.targets) == 1 and value.targets[0] == (module, name)
        if not own or any(state is not False for state in states) or _reads_by_name(cls):
            continue
        site = module.element_sites.get(name)
        if site is not None and _excluded_by(places, module, cls, name) == ():
            yield UnusedParameter(name, "Parameter", None, places.span(site))


def _reads_by_name(cls: ClassValue) -> bool:
    """Its code may reach a parameter without naming it, or it is kept so that old checkpoints load."""
    known: bool | None = getattr(cls.node, "_modellint_by_name", None)
    if known is None:
        known = cls.node._modellint_by_name = _finds_by_name(cls)  # type: ignore[attr-defined]
    return known


def _finds_by_name(cls: ClassValue) -> bool:
    for base in cls.mro:
        if any(name == "_load_from_state_dict" or name.startswith("_keys_to_ignore") for name in base.attrs):
            return True
        for node in walk(base.node):
            if isinstance(node, ast.Attribute) and node.attr in _BY_NAME:
                if isinstance(node.value, ast.Name) and node.value.id in ("self", "super"):
                    return True
            elif isinstance(node, ast.Name) and node.id in _BY_NAME:
                return True
    return False


def _known_use(module: ModuleValue) -> bool:
    """Called under another name, tied, or handed to code that was not followed."""
    return bool(module.state.get("called") or module.state.get("tied") or module.state.get("escaped"))


def _excluded_by(
    places: Places, module: ModuleValue, cls: ClassValue, name: str, methods: tuple[str, ...] = ()
) -> tuple[Branch, ...] | None:
    """The decided branches that hold all reads of the attribute; None when it is read elsewhere.

    A read in a method counts as held when all reads of that method are (`methods`: those being looked at).
    """
    root = project_root(cls.file.path.parent)
    family = {ancestor.name for ancestor in cls.mro}
    branches: dict[Branch, None] = {}
    for path, read in places.project.attribute_reads(cls.file.path, name):
        if not module.from_outside and not places.project.connected(root, cls.file.path, path):
            continue  # the instance cannot get there
        function = read.function
        if read.class_name is not None and read.receiver == "self" and not (read.lineage & family):
            continue  # of another class
        in_family = read.class_name is not None and read.class_name in family
        in_init = in_family and function is not None and function.startswith(_INIT_CODE)
        if in_init and not methods and not read.deleted:
            continue
        if read.receiver and read.receiver in places.project.library_names(path):
            continue  # `F.bilinear` is no attribute of a module
        branch = _dead_branch(places, module, path, read.position)
        if branch is not None:
            branches[branch] = None
            continue
        inner = None
        if (
            in_family
            and function is not None
            and function not in (*methods, "forward")
            and len(methods) < _METHOD_DEPTH
        ):
            inner = _excluded_by(places, module, cls, function, (*methods, function))
        if not inner:
            return None
        branches.update(dict.fromkeys(inner))
    return tuple(branches)


_METHOD_DEPTH = 3


def _dead_branch(places: Places, module: ModuleValue, path: Path, position: tuple[int, int]) -> Branch | None:
    """The branch that the arguments of the instance exclude and that holds this read."""
    for site, _, taken, dead in module.decided.values():
        if site.file.path == path and any(first <= position < last for first, last in dead):
            because = ", ".join(places.constants_of(module, site.node))
            return Branch(site.file.text.segment(site.node), taken, places.span(site), because)
    return None
