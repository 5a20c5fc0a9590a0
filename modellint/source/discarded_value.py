"""Reads `DiscardedValue`: methods named where their result was meant."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.facts.discarded_value import DiscardedValue
from modellint.source.interpreter.values import Site
from modellint.source.places import Places


def _ends_a_cell(site: Site) -> bool:
    """Whether a statement is the last one of a `# %%` cell: its value is shown, not dropped."""
    lines = site.file.text.lines
    if not any(line.startswith("# %%") for line in lines):
        return False
    following = (line for line in lines[site.node.end_lineno :] if line.strip())  # type: ignore[attr-defined]
    line = next(following, "# %%")
    return line.startswith("# %%")


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
