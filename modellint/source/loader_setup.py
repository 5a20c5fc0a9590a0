"""Reads `LoaderSetup`: loops over a DataLoader that train, in which order they read."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.loader_setup import LoaderSetup
from modellint.source.data_loops import (
    DataLoop,
    absent,
    ancestors,
    class_files,
    constant,
    data_loops,
    distributed_samplers,
    header,
    is_map_style,
    is_plain,
    is_recurrent,
    names_in,
    words_in,
)
from modellint.source.interpreter.data import FrozenData
from modellint.source.interpreter.records import DataRecords, ForwardRecord
from modellint.source.interpreter.values import (
    Const,
    IterationValue,
    LibraryObject,
    LoaderValue,
    RangeValue,
    Unknown,
    Value,
)
from modellint.source.naming import words
from modellint.source.places import Places
from modellint.source.tree import walk

_DRAWS = frozenset({"shuffle", "permutation", "randperm", "sample", "choice", "choices", "randint", "randrange"})
_SHUFFLED_BEFORE = _DRAWS | {"train_test_split", "ShuffleSplit", "StratifiedShuffleSplit", "KFold", "StratifiedKFold"}
_IN_ORDER = frozenset([
    "series", "timeseries", "sequence", "sequences", "window", "windows", "sliding", "forecast", "forecasting",
    "stock", "temporal", "curriculum", "continual", "online", "stream", "streaming", "causal", "trajectory", "video",
    "overfit", "overfitting", "benchmark", "profile", "profiling", "speed", "throughput", "timing", "dummy",
])  # fmt: skip
"""Words in names of functions, classes and files that say that the order is meant or does not count."""


def read(places: Places) -> Iterator[LoaderSetup]:
    """One fact for each loop over a loader that trains."""
    seen: set[object] = set()
    for loop in data_loops(places):
        if not loop.trains:
            continue
        fact = _setup(places, loop)
        if fact not in seen:
            seen.add(fact)
            yield fact


def _setup(places: Places, loop: DataLoop) -> LoaderSetup:
    place, text = header(places, loop.record)
    made = loop.made
    shuffling = _shuffling(made.arguments.get("sampler")) or _shuffling(made.arguments.get("batch_sampler"))
    silent = _told(places.records.data, loop, shuffling)
    epochs = loop.epochs
    sequential = (
        is_plain(made)
        and constant(made, "shuffle", False) in (False, None)
        and is_map_style(loop.loader.dataset)
        and not _one_batch(loop)
        and loop.record.framework is None
    )
    return LoaderSetup(
        place=place,
        text=text,
        sampler="DistributedSampler" if shuffling else "SequentialSampler" if sequential else "",
        sequential=sequential,
        distributed_shuffle=bool(shuffling) and not made.open,
        epochs=epochs,
        sampler_epochs=(0,) * min(epochs, 2) if shuffling and not silent and epochs > 1 else (),
        steps=0,
        shuffled_otherwise=_shuffled(loop.data, loop),
        ordered_on_purpose=_ordered(loop),
        epoch_variable=_epoch_variable(loop),
        sampler_text=_text(shuffling),
    )


# ---------------------------------------------------------------- distributed samplers


def _shuffling(value: Value | None) -> list[LibraryObject]:
    """DistributedSamplers that shuffle for sure."""
    result: list[LibraryObject] = []
    for sampler in distributed_samplers(value):
        shuffle = sampler.attrs.get("shuffle")
        if shuffle is None or (isinstance(shuffle, Const) and shuffle.value is True):
            result.append(sampler)
    return result


def _told(data: DataRecords, loop: DataLoop, samplers: list[LibraryObject]) -> bool:
    """A sampler may have been told the epoch, by code that was followed or not."""
    concerned = {id(sampler) for sampler in samplers} | {id(loop.loader)}
    if any(isinstance(value, Unknown) or id(value) in concerned for value in data.told):
        return True
    return any(id(value) in concerned for value in data.escaped)


def _text(samplers: list[LibraryObject]) -> str:
    from modellint.source.data_loops import bound_name

    return bound_name(samplers[0].site) if samplers and samplers[0].site is not None else ""


def _epoch_variable(loop: DataLoop) -> str:
    """The name that counts the rounds of the loop around."""
    for outer in ancestors(loop.record):
        node = outer.site.node
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(outer.iterated, RangeValue):
            return node.target.id
    return ""


# ---------------------------------------------------------------- reasons for an order


def _shuffled(data: FrozenData | None, loop: DataLoop) -> bool:
    """The samples come in another order than that of the files, or that is not known."""
    while data is not None and isinstance(data.value, LoaderValue) and data.value.made is not None:
        made = data.value.made
        if made.kind == "split":
            return True
        if made.kind == "subset":
            indices = made.arguments.get("indices")
            if not isinstance(indices, RangeValue):
                return True
            data = data.whole
            continue
        if made.kind == "library":
            return False
        break
    if any(_DRAWS & names_in(node) for _, node in class_files(data.value if data is not None else None)):
        return True
    # Data that the script makes itself may have been shuffled there.
    files = {site.file for site in (loop.loader.site, getattr(data.value if data else None, "site", None)) if site}
    return any(_SHUFFLED_BEFORE & called_names(file.text.tree) for file in files)


def called_names(tree: ast.AST) -> frozenset[str]:
    """The names that are called anywhere in a file."""
    known: frozenset[str] | None = getattr(tree, "_modellint_called", None)
    if known is None:
        functions = [node.func for node in walk(tree) if isinstance(node, ast.Call)]
        known = frozenset(
            f.attr if isinstance(f, ast.Attribute) else f.id
            for f in functions
            if isinstance(f, ast.Attribute | ast.Name)
        )
        tree._modellint_called = known  # type: ignore[attr-defined]
    return known


def _ordered(loop: DataLoop) -> bool:
    forwards: list[ForwardRecord] = loop.forwards
    if any(is_recurrent(forward.model) for forward in forwards):
        return True
    names: list[str] = [*loop.functions()]
    for file, node in class_files(loop.loader.dataset):
        names.append(node.name)
        names.extend(words(file.text.file.stem))
    names.append(loop.record.site.file.text.file.stem)
    if any(_sorts_by_key(node) for _, node in class_files(loop.loader.dataset)) or _by_position(loop):
        return True
    return bool(words_in(tuple(names)) & _IN_ORDER) or loop.record.site.file.in_test_suite


def _sorts_by_key(cls: ast.ClassDef) -> bool:
    """The dataset puts its samples in an order of its own: by length, by time."""
    return any(
        isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") == "sort" or getattr(node.func, "id", "") == "sorted")
        and any(keyword.arg == "key" for keyword in node.keywords)
        for node in walk(cls)
    )


def _by_position(loop: DataLoop) -> bool:
    """What stands at the same place of something else belongs to each batch: `zip(a, b)`, `cached[i]`."""
    iterated = loop.record.iterated
    while isinstance(iterated, IterationValue):
        if iterated.how == "zip":
            return True
        iterated = iterated.parts[0] if iterated.parts else None
    node = loop.record.site.node
    if not isinstance(node, ast.For) or not isinstance(node.target, ast.Tuple) or not isinstance(node.iter, ast.Call):
        return False
    counter = node.target.elts[0] if getattr(node.iter.func, "id", "") == "enumerate" else None
    if not isinstance(counter, ast.Name):
        return False
    return any(
        isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Load) and counter.id in names_in(part.slice)
        for statement in node.body
        for part in walk(statement)
    )


def _one_batch(loop: DataLoop) -> bool:
    """The batch is the whole dataset, or one round ends after its first batch."""
    node = loop.made.nodes.get("batch_size")
    if not absent(loop.made, "batch_size") and node is not None and "len" in names_in(node):
        return True
    statement = loop.record.site.node
    return isinstance(statement, ast.For) and bool(statement.body) and isinstance(statement.body[-1], ast.Break)
