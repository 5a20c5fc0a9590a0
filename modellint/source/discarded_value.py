"""Reads `DiscardedValue`: methods named where their result was meant, results that nothing reads."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.discarded_value import DiscardedValue
from modellint.source.interpreter.value_records import DroppedRecord
from modellint.source.interpreter.values import UNMOVED, Site
from modellint.source.places import Places
from modellint.source.statements_around import body_of, is_read_later, is_watched, reads_of

_CELLS = ("# %%", "#" * 20)
"""What separates the cells of a script: that of editors, and that of galleries of examples."""


def _ends_a_cell(site: Site) -> bool:
    """Whether a statement is the last one of a `# %%` cell: its value is shown, not dropped."""
    lines = site.file.text.lines
    if not any(line.startswith(_CELLS) for line in lines):
        return False
    for line in lines[site.node.end_lineno :]:  # type: ignore[attr-defined]
        if line.startswith(_CELLS):
            return True
        if line.strip() and not line.lstrip().startswith("#"):
            return False
    return True


def read(places: Places) -> Iterator[DiscardedValue]:
    """One fact for each place."""
    for record in places.records.discarded.values():
        if record.given_to is None and _ends_a_cell(record.site):
            continue
        yield DiscardedValue(
            place=places.span(record.site),
            text=record.site.file.text.segment(record.site.node),
            receiver=record.receiver_text,
            receiver_kind=record.receiver_kind,
            attribute=record.attribute,
            given_to=record.given_to,
            given_place=places.optional(record.given_site),
        )
    for dropped in places.records.values.dropped.values():
        fact = _dropped(places, dropped)
        if fact is not None:
            yield fact


def _dropped(places: Places, record: DroppedRecord) -> DiscardedValue | None:
    """A call whose result goes nowhere."""
    site, value = record.site, record.value
    if record.role == "unread":
        if reads_of(body_of(site, record.function), record.name) or record.name.startswith("_"):
            return None
    made = value is None or value.nature.known or value.maker is not None or value.device is UNMOVED
    # A parameter, or an attribute, is there for the code elsewhere.
    stored = value is not None and record.subject.isidentifier()
    excused = record.role in ("tensor", "layer") and (site.file.in_test_suite or is_watched(site, record.function))
    return DiscardedValue(
        place=places.span(site),
        text=site.file.text.segment(site.node),
        receiver=record.subject,
        receiver_kind="tensor" if record.role in ("tensor", "layer", "unread") else "context",
        attribute=record.operation,
        given_to=None,
        given_place=None,
        role=record.role,
        known=made,
        read_later=not stored or is_read_later(site, record.function, record.subject),
        excused=excused or (record.role != "class" and _ends_a_cell(site)),
        name=record.name,
    )
