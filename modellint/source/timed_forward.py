"""Reads `TimedForward`: forwards between two readings of the clock."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.timed_forward import TimedForward
from modellint.source.places import Places


def read(places: Places) -> Iterator[TimedForward]:
    """One fact for each difference of two readings."""
    for record in places.records.timings.values():
        device = record.forward.model_device
        yield TimedForward(
            place=places.span(record.site),
            text=record.site.file.text.segment(record.site.node),
            start=places.span(record.start),
            forward=record.forward.text,
            forward_place=places.span(record.forward.site),
            device=device.text if device is not None else "",
            in_test_suite=record.site.file.in_test_suite,
        )
