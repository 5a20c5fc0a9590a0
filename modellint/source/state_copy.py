"""Reads `StateCopy`: state dicts that are kept beside the training."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.state_copy import StateCopy
from modellint.source.places import Places


def read(places: Places) -> Iterator[StateCopy]:
    """One fact for each call whose result is used after later steps."""
    seen: set[object] = set()
    for record in places.records.weights.states:
        place = (record.site.node, record.model.key)
        if record.used is None or place in seen:
            continue
        seen.add(place)
        yield StateCopy(
            place=places.span(record.site),
            text=record.text,
            model=places.model(record.model, record.text.removesuffix(".state_dict()")),
            later_steps=record.later_steps,
            used_at_once=False,
            used_later=True,
            used_place=places.span(record.used),
        )
