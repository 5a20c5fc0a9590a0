"""Loops over DataLoaders: what they run over, whether they train, in how many rounds. For the readers about data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import field

from modellint.facts.forward_use import Mode
from modellint.facts.record import slotted
from modellint.facts.span import Span
from modellint.facts.training_loop import EventKind
from modellint.source.interpreter.data import FrozenData, loader_of
from modellint.source.interpreter.records import Alternatives, CallTrace, EventRecord, ForwardRecord, LoopRecord
from modellint.source.interpreter.values import (
    Const,
    DataMade,
    LibraryObject,
    LoaderValue,
    ModuleValue,
    ObjectValue,
    RangeValue,
    SequenceValue,
    Site,
    Tensor,
    Value,
)
from modellint.source.naming import words
from modellint.source.places import Places
from modellint.source.project import SourceFile
from modellint.source.torch_api.names import canonical
from modellint.source.tree import children, walk

MANY = 2
"""How many rounds a loop stands for when nobody knows."""


@slotted
class DataLoop:
    """One loop over a DataLoader, as one chain of calls runs it."""

    record: LoopRecord
    loader: LoaderValue
    made: DataMade
    data: FrozenData | None
    kinds: frozenset[EventKind]
    forwards: list[ForwardRecord]
    epochs: int
    """How often the same loader is run over: at least so often."""
    events: list[EventRecord] = field(default_factory=list)

    @property
    def trains(self) -> bool:
        """Its body runs backward and steps an optimizer."""
        return EventKind.BACKWARD in self.kinds and EventKind.OPTIMIZER_STEP in self.kinds

    @property
    def evaluates(self) -> bool:
        """Its body runs a model for sure without training it."""
        if self.kinds & {EventKind.BACKWARD, EventKind.OPTIMIZER_STEP} or not self.forwards:
            return False
        return all(
            not forward.backwards and not forward.needs_gradient and (forward.grad is False or _in_eval(forward))
            for forward in self.forwards
        )

    def functions(self) -> tuple[str, ...]:
        """The names of the functions and classes around it."""
        return tuple(dict.fromkeys(name for forward in self.forwards for name, _ in forward.functions))


def _in_eval(forward: ForwardRecord) -> bool:
    return bool(forward.modes) and all(entry.mode is Mode.EVAL for entry in forward.modes)


def data_loops(places: Places) -> list[DataLoop]:
    """Every loop of a file's run over a DataLoader whose making is known."""
    result: list[DataLoop] = []
    for record in places.records.loops:
        loader = loader_of(record.iterated)
        if loader is None or loader.made is None:
            continue
        events = list(events_of(record))
        forwards = [event.forward for event in events if event.forward is not None]
        kinds = frozenset(event.kind for event in events)
        result.append(
            DataLoop(record, loader, loader.made, record.data, kinds, forwards, _epochs(record, loader.made), events)
        )
    return result


def events_of(record: LoopRecord) -> Iterator[EventRecord]:
    """All that happens in a loop, in every round and branch."""
    stack: list[object] = list(reversed(record.rounds))
    while stack:
        item = stack.pop()
        if isinstance(item, EventRecord):
            yield item
        elif isinstance(item, list):
            stack.extend(reversed(item))
        elif isinstance(item, CallTrace):
            stack.extend(reversed(item.items))
        elif isinstance(item, Alternatives):
            stack.extend(reversed([arm for arm, _ in item.arms]))
        elif isinstance(item, LoopRecord):
            stack.extend(reversed(item.rounds))


def _epochs(record: LoopRecord, made: DataMade) -> int:
    """The rounds of the loops around, up to the one that makes the loader anew."""
    epochs = 1
    for outer in ancestors(record):
        if outer in made.loops:
            break
        node = outer.site.node
        value = outer.iterated
        if isinstance(value, RangeValue) and value.count is not None:
            epochs *= value.count
        elif isinstance(value, SequenceValue) and value.complete:
            epochs *= max(1, len(value.items))
        elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
            epochs *= MANY
    return epochs


def ancestors(record: LoopRecord) -> Iterator[LoopRecord]:
    """The loops around a loop, through calls."""
    outer = record.parent
    while outer is not None:
        yield outer
        outer = outer.parent


def header(places: Places, record: LoopRecord) -> tuple[Span, str]:
    """What a loop runs over: its place, and the loader as written there (`loader` of `tqdm(loader)`)."""
    node = record.site.node
    assert isinstance(node, ast.For | ast.AsyncFor)
    value = node.iter
    while isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    text = record.site.file.text.segment(value)
    named = isinstance(value, ast.Name | ast.Attribute | ast.Subscript) and len(text) <= 40
    return places.span(Site(record.site.file, node.iter)), text if named else "the loader"


# ---------------------------------------------------------------- arguments of a loader


def absent(made: DataMade, name: str) -> bool:
    """An argument is not given, or is None, for sure."""
    value = made.arguments.get(name)
    return not made.open and (value is None or (isinstance(value, Const) and value.value is None))


def constant(made: DataMade, name: str, default: object = None) -> object:
    """The constant of an argument; its default where it is not given; Ellipsis where it is not known."""
    value = made.arguments.get(name)
    if value is None:
        return ... if made.open else default
    return value.value if isinstance(value, Const) else ...


def is_plain(made: DataMade) -> bool:
    """A loader without a sampler of any kind."""
    return not made.open and absent(made, "sampler") and absent(made, "batch_sampler")


# ---------------------------------------------------------------- datasets


def is_map_style(value: Value | None) -> bool:
    """A dataset that is known to be indexed by position."""
    if isinstance(value, LoaderValue):
        if value.made is None or value.made.open:
            return False
        if value.made.kind == "library":
            return value.made.name.startswith("torchvision.")
        return value.made.kind in ("tensors", "split", "subset")
    if isinstance(value, ObjectValue):
        cls = value.cls
        bases = {canonical(base) for base in cls.library_bases}
        return (
            not cls.unknown_base
            and cls.lookup("__getitem__") is not None
            and cls.lookup("__iter__") is None
            and bases <= {"torch.utils.data.Dataset", "typing.Generic", "object", "abc.ABC"}
        )
    if isinstance(value, SequenceValue):
        return value.kind == "list"
    return isinstance(value, Tensor) and (
        value.origin == "dummy" or (value.origin is None and value.device is not None)
    )


def class_files(value: Value | None) -> Iterator[tuple[SourceFile, ast.ClassDef]]:
    """The class statements of a dataset of the project."""
    if isinstance(value, ObjectValue):
        for cls in value.cls.mro:
            yield cls.file, cls.node


def names_in(node: ast.AST) -> frozenset[str]:
    """All identifiers below a node; kept on it."""
    known: frozenset[str] | None = getattr(node, "_modellint_names", None)
    if known is None:
        found: set[str] = set()
        for part in walk(node):
            if isinstance(part, ast.Name):
                found.add(part.id)
            elif isinstance(part, ast.Attribute):
                found.add(part.attr)
            elif isinstance(part, ast.arg | ast.keyword) and part.arg:
                found.add(part.arg)
        known = frozenset(found)
        node._modellint_names = known  # type: ignore[attr-defined]
    return known


def words_in(names: frozenset[str] | tuple[str, ...]) -> set[str]:
    """The words of identifiers."""
    return {word for name in names for word in words(name)}


# ---------------------------------------------------------------- what a value was made for


def bound_name(site: Site) -> str:
    """The name or attribute that a call is assigned to: `val_loader`; empty where it is not."""
    targets: dict[int, str] | None = getattr(site.file.text.tree, "_modellint_targets", None)
    if targets is None:
        targets = {}
        for node in walk(site.file.text.tree):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                first = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(first, ast.Name | ast.Attribute):
                    targets[id(node.value)] = first.id if isinstance(first, ast.Name) else first.attr
                elif isinstance(first, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for target, value in zip(first.elts, node.value.elts, strict=False):
                        if isinstance(target, ast.Name | ast.Attribute):
                            targets[id(value)] = target.id if isinstance(target, ast.Name) else target.attr
        site.file.text.tree._modellint_targets = targets  # type: ignore[attr-defined]
    return targets.get(id(site.node), "")


def enclosing_function(file: SourceFile, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The innermost function around a node."""
    tree = file.text.tree
    known: dict[int, ast.AST] | None = getattr(tree, "_modellint_functions", None)
    if known is None:
        known = {}
        stack: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
        while stack:
            part, function = stack.pop()
            for child in children(part):
                if isinstance(child, ast.Call | ast.For | ast.AsyncFor):
                    known[id(child)] = function
                stack.append((child, child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function))
        tree._modellint_functions = known  # type: ignore[attr-defined]
    found = known.get(id(node))
    return found if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) else None


def models_of(forwards: list[ForwardRecord]) -> set[int]:
    """Keys of the models that were called."""
    return {forward.model.key for forward in forwards}


def is_recurrent(module: ModuleValue) -> bool:
    """It holds a recurrent layer: the order of what it gets may matter."""
    return any(part.spec is not None and "recurrent" in part.spec.family for _, part in module.walk())


def distributed_samplers(value: Value | None) -> list[LibraryObject]:
    """The DistributedSamplers that a sampler argument may be."""
    from modellint.source.interpreter.values import Choice

    options = value.options if isinstance(value, Choice) else (value,)
    result: list[LibraryObject] = []
    for option in options:
        if isinstance(option, LibraryObject) and option.name == "torch.utils.data.BatchSampler":
            result.extend(distributed_samplers(option.attrs.get("sampler")))
        elif isinstance(option, LibraryObject) and option.name == "torch.utils.data.DistributedSampler":
            result.append(option)
    return result
