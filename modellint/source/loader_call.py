"""Reads `LoaderCall` and `UnusedSampler`: how loaders are constructed."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.loader_call import LoaderCall
from modellint.facts.span import Span
from modellint.facts.unused_sampler import UnusedSampler
from modellint.source.data_loops import absent, constant, is_plain, names_in
from modellint.source.interpreter.data import FrozenData
from modellint.source.interpreter.values import (
    DataMade,
    LibraryObject,
    LoaderValue,
    ObjectValue,
    SequenceValue,
    Site,
)
from modellint.source.iterable_read import iterable_read
from modellint.source.places import Places
from modellint.source.tree import children, walk


def read(places: Places) -> Iterator[LoaderCall | UnusedSampler]:
    """One fact for each place that constructs a loader in the same way, one for each sampler that is dropped."""
    seen: set[object] = set()
    for made_there in places.records.data.loaders.values():
        for loader, data in made_there:
            fact = _call(places, loader, data)
            if fact not in seen:
                seen.add(fact)
                yield fact
    yield from _unused(places)


def _call(places: Places, loader: LoaderValue, data: FrozenData | None) -> LoaderCall:
    made, site = loader.made, loader.site
    assert made is not None
    assert site is not None
    others: list[tuple[str, Span]] = []
    for name, default in (("batch_size", 1), ("drop_last", False)):
        value = constant(made, name, default)
        if value is not ... and value != default:
            others.append((name, places.span(Site(site.file, made.nodes[name]))))
    shuffle = constant(made, "shuffle") is True
    workers = constant(made, "num_workers", 0)
    return LoaderCall(
        place=places.span(site),
        text=site.file.text.segment(site.node.func) if isinstance(site.node, ast.Call) else "DataLoader",
        sampler=_sampler_text(made, "sampler", site),
        batch_sampler=_sampler_text(made, "batch_sampler", site),
        shuffle=shuffle,
        shuffle_place=places.span(Site(site.file, made.nodes["shuffle"])) if shuffle else None,
        others=tuple(others),
        workers=workers if isinstance(workers, int) else None,
        initialised=not absent(made, "worker_init_fn"),
        iterable=iterable_read(places, data),
        in_test_suite=site.file.in_test_suite,
    )


def _sampler_text(made: DataMade, name: str, site: Site) -> str:
    """The argument as written, where it is a sampler for sure."""
    value = made.arguments.get(name)
    sure = (
        (isinstance(value, LibraryObject) and value.name.startswith("torch.utils.data."))
        or isinstance(value, ObjectValue)
        or (isinstance(value, SequenceValue) and value.kind == "list")
    )
    node = made.nodes.get(name)
    return site.file.text.segment(node) if sure and node is not None and hasattr(node, "lineno") else ""


# ---------------------------------------------------------------- samplers that are dropped


def _unused(places: Places) -> Iterator[UnusedSampler]:
    for node, (sampler, _) in places.records.data.samplers.items():
        site = sampler.site
        if site is None or site.file.in_test_suite:
            continue
        function, name = _assigned_in(site, node)
        if function is None or name in ("", "_"):
            continue
        if any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in walk(function)):
            continue
        if names_in(function) & {"locals", "vars", "globals", "exec", "eval"}:
            continue
        loader = _plain_loader(places, function)
        if loader is not None:
            yield UnusedSampler(places.span(site), sampler.name.rpartition(".")[2], name, loader)


def _assigned_in(site: Site, call: object) -> tuple[ast.AST | None, str]:
    """The function (or file) whose local name a call is assigned to."""
    tree = site.file.text.tree
    owner: ast.AST | None = None
    name = ""
    stack: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while stack:
        node, function = stack.pop()
        if isinstance(node, ast.Assign) and node.value is call and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name):
                owner, name = function, target.id
            break
        inner = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        stack.extend((child, inner) for child in children(node))
    if owner is not None and any(isinstance(n, ast.Global | ast.Nonlocal) and name in n.names for n in walk(owner)):
        return None, ""
    if isinstance(owner, ast.Module) and "." in site.file.text.path and _may_be_imported(site):
        return None, ""
    return owner, name


def _may_be_imported(site: Site) -> bool:
    """A name of a file that another file may read: nothing there runs anything when the file is imported alone."""
    return not any(isinstance(node, ast.For | ast.While | ast.If) for node in site.file.text.tree.body)


def _plain_loader(places: Places, function: ast.AST) -> Span | None:
    inside = {id(node) for node in walk(function)}
    for node, made_there in places.records.data.loaders.items():
        if id(node) in inside and all(is_plain(loader.made) for loader, _ in made_there):
            return places.span(made_there[0][0].site)
    return None
