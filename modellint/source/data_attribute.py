"""Reads `DataAttribute`: `.data` of what a model or an operation made."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from modellint.facts.data_attribute import DataAttribute
from modellint.source.interpreter.value_records import DataRecord
from modellint.source.interpreter.values import Site
from modellint.source.places import Places


def read(places: Places) -> Iterator[DataAttribute]:
    """One fact for each place."""
    for record in places.records.values.data.values():
        yield _attribute(places, record)


def _attribute(places: Places, record: DataRecord) -> DataAttribute:
    node = record.site.node
    text = record.site.file.text
    assert isinstance(node, ast.Attribute)
    return DataAttribute(
        place=places.span(record.site),
        text=text.segment(node),
        receiver=text.segment(node.value),
        in_forward=record.in_forward,
        read_as_number=_read_as_number(record.site),
    )


def _read_as_number(site: Site) -> bool:
    """Whether `.item()` follows at once."""
    node = site.node
    line = site.file.text.lines[node.end_lineno - 1]  # type: ignore[attr-defined]
    rest = line.encode()[node.end_col_offset :].decode(errors="replace")  # type: ignore[attr-defined]
    return rest.startswith((".item()", "[0]"))
