"""Reads `GuardedSingularity`."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.guarded_singularity import GuardedSingularity
from modellint.source.places import Places


def read(places: Places) -> Iterator[GuardedSingularity]:
    """One fact for each call."""
    for record in places.records.graph.singularities.values():
        yield GuardedSingularity(
            place=places.span(record.site),
            condition=record.condition.file.text.segment(record.condition.node),
            operation=record.operation.file.text.segment(record.operation.node),
            operation_place=places.span(record.operation),
            operand=record.operand,
            at=record.at,
        )
