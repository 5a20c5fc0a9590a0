"""What names say that an evaluation is for: held-out data, training data, something special. No name proves more."""

from __future__ import annotations

import ast

from modellint.source.data_loops import DataLoop, bound_name, enclosing_function, words_in
from modellint.source.loader_setup import called_names
from modellint.source.places import Places

_HELD_OUT = frozenset([
    "val", "valid", "validation", "validate", "test", "testing", "dev", "holdout", "valloader", "validloader",
    "testloader", "devloader", "valset", "validset", "testset",
])  # fmt: skip
_TRAINING = frozenset(["train", "training", "trn", "tr", "fit", "trainloader", "trainset", "traindata", "trainds"])
_ON_PURPOSE = frozenset([
    "overfit", "overfitting", "debug", "sanity", "smoke", "dummy", "toy", "demo", "fold", "folds", "kfold", "cross",
    "loo", "support", "query", "episode", "episodes", "shot", "fewshot", "memory", "memorize", "tta", "augment",
    "augmentation", "views", "probe", "knn", "simclr", "byol", "moco", "contrastive", "ssl", "patch", "patches",
    "tile", "tiles", "autoencoder", "reconstruct", "reconstruction", "federated", "client", "clients",
])  # fmt: skip
_FOLDS = frozenset({"KFold", "StratifiedKFold", "GroupKFold", "LeaveOneOut", "cross_validate", "RepeatedKFold"})


def _names(loop: DataLoop) -> list[str]:
    """What the loop calls its loader, and what those who passed it on call it, innermost first."""
    statement = loop.record.site.node
    assert isinstance(statement, ast.For | ast.AsyncFor)
    value: ast.AST = statement.iter
    while isinstance(value, ast.Call) and value.args:
        value = value.args[0]
    file, inside = loop.record.site.file, loop.record.site.node
    result = [file.text.segment(value)]
    calls = [site for _, site in (loop.forwards[0].functions if loop.forwards else ()) if site is not None]
    while calls and isinstance(value, ast.Name):
        function = enclosing_function(file, inside)
        site = calls.pop()
        if function is None or not isinstance(site.node, ast.Call):
            break
        given = _argument(function, site.node, value.id)
        if given is None:
            break
        value, file, inside = given, site.file, site.node
        if isinstance(value, ast.Name | ast.Attribute | ast.Subscript):
            result.append(file.text.segment(value))
    return result


def _argument(function: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call, name: str) -> ast.AST | None:
    """What a call gives for a parameter."""
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    if names and names[0] in ("self", "cls"):
        names = names[1:]
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if name in names and names.index(name) < len(call.args):
        return call.args[names.index(name)]
    return None


def held_out(loop: DataLoop, other: DataLoop) -> bool:
    """The evaluation is one on held-out data, by its name."""
    names = _names(loop)
    if loop.loader is not other.loader and loop.loader.site is not None:
        names.append(bound_name(loop.loader.site))
    return bool(words_in(tuple(names)) & _HELD_OUT)


def training_meant(loop: DataLoop, other: DataLoop) -> bool:
    """The evaluation is meant to be on training data, by its name."""
    names = _names(loop)
    if loop.loader is not other.loader and loop.loader.site is not None:
        names.append(bound_name(loop.loader.site))
    return bool(words_in(tuple(names)) & _TRAINING)


def on_purpose(places: Places, loop: DataLoop, other: DataLoop) -> bool:
    """A name says that both read the same on purpose, or folds are made."""
    said = [*loop.functions(), *other.functions(), *_names(loop), places.file.text.file.stem]
    if words_in(tuple(said)) & _ON_PURPOSE:
        return True
    files = {places.file, loop.record.site.file, *(s.file for s in (loop.loader.site, other.loader.site) if s)}
    return any(_FOLDS & called_names(file.text.tree) for file in files)
