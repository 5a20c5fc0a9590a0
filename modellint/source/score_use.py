"""Reads `SelectionUse` and `PredictionOrder`: what is done with the scores and predictions of an evaluation."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.prediction_order import PredictionOrder
from modellint.facts.selection_use import SelectionUse
from modellint.facts.training_loop import EventKind
from modellint.source.data_loops import DataLoop, bound_name, constant, data_loops, events_of, names_in, words_in
from modellint.source.interpreter.data import loader_of
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import ForwardRecord, LoopRecord
from modellint.source.interpreter.values import LoaderValue, Site, Value
from modellint.source.loader_setup import called_names
from modellint.source.places import Places
from modellint.source.tree import walk

_TEST_SPLITS = ("train=False", 'split="test"')
_CONVENTION = frozenset(["benchmark", "leaderboard", "convention", "fold", "folds", "kfold", "cross"])
_FOLDS = frozenset({"KFold", "StratifiedKFold", "LeaveOneOut", "cross_validate"})
_SORTS = frozenset({"argsort", "sort", "sorted", "index", "indices", "idx", "ids", "order", "inverse", "scatter_"})
_SAVES = frozenset({"save", "save_checkpoint", "save_model", "save_state_dict", "save_weights", "save_pretrained"})


def read(places: Places) -> Iterator[SelectionUse | PredictionOrder]:
    """One fact for each comparison of that kind."""
    loops = data_loops(places)
    if not loops:
        return
    trains = {id(r) for r in places.records.loops if _trains(r)}
    seen: set[int] = set()
    for site, left, right, around in places.records.data.comparisons:
        if id(site.node) in seen:
            continue
        forwards, _ = taints((left, right))
        fact = _selection(places, site, forwards, around, trains, loops) or _order(
            places, site, (left, right), around, loops
        )
        if fact is not None:
            seen.add(id(site.node))
            yield fact


def _trains(record: LoopRecord) -> bool:
    return {EventKind.BACKWARD, EventKind.OPTIMIZER_STEP} <= {event.kind for event in events_of(record)}


def _read_by(forward: ForwardRecord) -> list[LoaderValue]:
    """The loaders of the loops around a forward."""
    around = [loader_of(loop.iterated) for loop in forward.loops if isinstance(loop, LoopRecord)]
    return [loader for loader in around if loader is not None]


# ---------------------------------------------------------------- scores that decide


def _selection(
    places: Places,
    site: Site,
    forwards: frozenset[ForwardRecord],
    around: tuple[object, ...],
    trains: set[int],
    loops: list[DataLoop],
) -> SelectionUse | None:
    node = site.node
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Gt | ast.GtE | ast.Lt | ast.LtE):
        return None
    if not any(id(loop) in trains for loop in around):
        return None
    loaders = [loader for forward in forwards for loader in _read_by(forward)]
    if not loaders or any(forward.backwards for forward in forwards):
        return None
    datasets = {id(loader.dataset): loader.dataset for loader in loaders}
    if len(datasets) > 1:
        return None
    (dataset,) = datasets.values()
    if not isinstance(dataset, LoaderValue) or dataset.held_out not in _TEST_SPLITS or dataset.site is None:
        return None
    action = _guarded(site)
    if action is None:
        return None
    others = [loop for loop in loops if not loop.trains and loop.loader.dataset is not dataset]
    said = [site.file.text.file.stem, *(name for forward in forwards for name, _ in forward.functions)]
    return SelectionUse(
        place=places.span(site),
        text=site.file.text.segment(node),
        action=action[0],
        action_place=places.span(Site(site.file, action[1])),
        held_out=dataset.held_out,
        data_place=places.span(dataset.site),
        final_test=bool(others),
        on_purpose=bool(words_in(tuple(said)) & _CONVENTION) or bool(_FOLDS & called_names(site.file.text.tree)),
        in_test_suite=site.file.in_test_suite,
    )


def _guarded(site: Site) -> tuple[str, ast.AST] | None:
    """The save or break in the arm of the `if` whose test this comparison is."""
    arm = _arms(site).get(id(site.node))
    for statement in arm or ():
        for part in walk(statement):
            if isinstance(part, ast.Break):
                return "break", part
            if isinstance(part, ast.Call):
                name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
                if name in _SAVES or (name == "deepcopy" and "state_dict" in names_in(part)):
                    return site.file.text.segment(part.func), part
    return None


def _arms(site: Site) -> dict[int, list[ast.stmt]]:
    """By comparison: what the `if` that tests it runs when it holds; kept on the tree."""
    tree = site.file.text.tree
    known: dict[int, list[ast.stmt]] | None = getattr(tree, "_modellint_arms", None)
    if known is None:
        known = {}
        for node in walk(tree):
            if isinstance(node, ast.If):
                for part in walk(node.test):
                    if isinstance(part, ast.Compare):
                        known[id(part)] = node.body
        tree._modellint_arms = known  # type: ignore[attr-defined]
    return known


# ---------------------------------------------------------------- predictions in another order


def _order(
    places: Places, site: Site, values: tuple[Value, Value], around: tuple[object, ...], loops: list[DataLoop]
) -> PredictionOrder | None:
    nodes = _operands(site.node)
    if nodes is None:
        return None
    for value, other in ((values[0], nodes[1]), (values[1], nodes[0])):
        forwards, _ = taints((value,))
        loaders = {id(loader): loader for forward in forwards for loader in _read_by(forward)}
        if len(loaders) != 1 or any(f.backwards for f in forwards):
            continue
        (loader,) = loaders.values()
        if any(loop.loader is loader and loop.record in around for loop in loops):
            continue  # within the loop: the labels may be those of the batch
        labels = _labels(other, site, loader)
        if labels is None or loader.site is None or loader.made is None:
            continue
        return PredictionOrder(
            place=places.span(site),
            labels=site.file.text.segment(labels),
            loader_place=places.span(loader.site),
            shuffled=constant(loader.made, "shuffle") is True,
            order_kept=bool(_SORTS & names_in(site.file.text.tree)),
            in_test_suite=site.file.in_test_suite,
        )
    return None


def _operands(node: ast.AST) -> tuple[ast.AST, ast.AST] | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        return node.left, node.comparators[0]
    if isinstance(node, ast.Call) and len(node.args) == 2:
        return node.args[0], node.args[1]
    return None


def _labels(node: ast.AST, site: Site, loader: LoaderValue) -> ast.AST | None:
    """The array of the loader's dataset that an expression reads: `test_set.targets`, or what made the dataset."""
    dataset = loader.dataset
    if not isinstance(dataset, LoaderValue) or dataset.site is None or dataset.site.file is not site.file:
        return None
    name = bound_name(dataset.site)
    given = dataset.made.nodes.values() if dataset.made is not None and dataset.made.kind == "tensors" else ()
    tensors = {part.id for argument in given for part in walk(argument) if isinstance(part, ast.Name)}
    for part in walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == name and name:
            return part if part.attr in ("targets", "labels", "tensors", "data") else None
        if isinstance(part, ast.Name) and part.id in tensors:
            return part
    return None
