"""Reads `RetainedGraph`: `retain_graph=True` in a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.retained_graph import RetainedGraph
from modellint.source.interpreter.machine import taints
from modellint.source.interpreter.records import BackwardRecord
from modellint.source.interpreter.values import Site, Tensor
from modellint.source.places import Places


def read(places: Places) -> Iterator[RetainedGraph]:
    """One fact for each place whose graphs were all followed."""
    order = places.records.order
    by_place: dict[int, list[BackwardRecord]] = {}
    for record in order.backwards:
        by_place.setdefault(id(record.site.node), []).append(record)
    in_loop: dict[int, set[int]] = {}
    for record in order.backwards:
        for loop in record.loops[-1:]:
            in_loop.setdefault(id(loop.site.node), set()).add(id(record.site.node))
    for records in by_place.values():
        first = records[0]
        flag = _flag(first.site)
        if flag is None or not all(_followed(record, order.grad_calls) for record in records):
            continue
        alone = all(len(in_loop[id(record.loops[-1].site.node)]) == 1 for record in records)
        most = max(len(forward.backwards) for record in records for forward in taints((record.value,))[0])
        yield RetainedGraph(
            place=places.span(first.site),
            text=first.site.file.text.segment(first.site.node),
            flag=places.span(Site(first.site.file, flag)),
            loop=places.span(first.loops[-1].site),
            backwards=most if alone else max(most, 2),
        )


def _flag(site: Site) -> ast.AST | None:
    if not isinstance(site.node, ast.Call):
        return None
    return next((keyword for keyword in site.node.keywords if keyword.arg == "retain_graph"), None)


def _followed(record: BackwardRecord, grad_calls: set[object]) -> bool:
    """Everything that may come back to the graph is known: it was made in this pass, and stays here."""
    if not record.retains or record.creates or not record.loops or not isinstance(record.value, Tensor):
        return False
    if record.function in grad_calls or record.loops[-1].framework is not None:
        return False
    forwards = taints((record.value,))[0]
    return bool(forwards) and all(
        forward.loops[-1:] == record.loops[-1:] and not forward.escaped and forward.model.complete
        for forward in forwards
    )
