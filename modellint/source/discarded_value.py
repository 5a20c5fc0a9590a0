"""Reads `DiscardedValue`: methods named where their result was meant."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.discarded_value import DiscardedValue
from modellint.source.places import Places


def read(places: Places) -> Iterator[DiscardedValue]:
    """One fact for each place."""
    for record in places.records.discarded.values():
        yield DiscardedValue(
            place=places.span(record.site),
            text=record.site.file.text.segment(record.site.node),
            receiver=record.receiver_text,
            receiver_kind=record.receiver_kind,
            attribute=record.attribute,
            given_to=record.given_to,
            given_place=places.optional(record.given_site),
        )
