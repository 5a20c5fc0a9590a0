"""Reads `BackwardUse`: backwards that reach nothing of what the optimizer holds that steps on them."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.backward_use import BackwardUse
from modellint.source.gradient_paths import GradientPaths, Untrained
from modellint.source.interpreter.reach import DECISION, NO_GRAD
from modellint.source.places import Places


def read(places: Places) -> Iterator[BackwardUse]:
    """One fact for each optimizer."""
    if not places.records.graph.backwards:
        return
    paths = GradientPaths(places)
    seen: set[object] = set()
    for case in paths.untrained():
        if case.forward is None or case.setup.others or (case.cut is not None and case.cut.how == NO_GRAD):
            continue
        fact = _fact(places, paths, case)
        if (fact.place, fact.optimizer.place) not in seen:
            seen.add((fact.place, fact.optimizer.place))
            yield fact


def _fact(places: Places, paths: GradientPaths, case: Untrained) -> BackwardUse:
    note, cut, record = case.backward, case.cut, case.forward
    assert record is not None
    text = cut.site.file.text.segment(cut.site.node) if cut is not None and hasattr(cut.site.node, "lineno") else ""
    return BackwardUse(
        place=places.span(note.site),
        text=note.text if len(note.text) <= 60 else f"{note.text[:57]}...",
        loss=note.receiver,
        leaf=note.reach.leaf,
        optimizer=paths.reference(case.setup.optimizer),
        model=places.model(record.model, record.text),
        model_place=places.span(record.site),
        cut=text if len(text) <= 60 else f"{text[:57]}...",
        cut_place=places.optional(cut.site) if cut is not None else None,
        decides=cut is not None and cut.how == DECISION,
    )
