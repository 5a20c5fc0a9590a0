"""Reads `NormUse`: the momentum that norms with running statistics are constructed with."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.norm_use import NormUse
from modellint.source.interpreter.values import Const, ModuleValue
from modellint.source.places import Places


def read(places: Places) -> Iterator[NormUse]:
    """One fact for each construction with a momentum that was followed."""
    seen: set[object] = set()
    for norm in places.records.module_notes.norms:
        momentum = norm.arguments.get("momentum")
        value = momentum.value if isinstance(momentum, Const) else None
        if norm.site is None or not isinstance(value, int | float) or isinstance(value, bool) or not _tracks(norm):
            continue
        if norm.site.file.in_test_suite or (norm.site.node, value) in seen:
            continue
        seen.add((norm.site.node, value))
        layer = places.layer("", norm)
        yield NormUse(
            place=places.span(norm.site),
            model=places.model(norm, layer.kind),
            layer=layer,
            momentum=float(value),
            frozen_part="",
            frozen_passes=0,
            adapter=False,
        )


def _tracks(norm: ModuleValue) -> bool:
    """It keeps running statistics for sure."""
    assert norm.spec is not None
    tracked = norm.arguments.get("track_running_stats")
    if norm.spec.family == "norm_running":
        return tracked is None or (isinstance(tracked, Const) and bool(tracked.value))
    return norm.spec.family == "norm_instance" and isinstance(tracked, Const) and bool(tracked.value)
