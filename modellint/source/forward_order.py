"""The order of forwards that a set holds: the same in every run, which that of a set is not."""

from __future__ import annotations

from collections.abc import Iterable

from modellint.source.interpreter.records import ForwardRecord


def in_order(forwards: Iterable[ForwardRecord]) -> list[ForwardRecord]:
    """Forwards by where they stand."""
    return sorted(forwards, key=_place)


def _place(record: ForwardRecord) -> tuple[str, int, int]:
    node = record.site.node
    return record.site.file.text.path, getattr(node, "lineno", 0), getattr(node, "col_offset", 0)
