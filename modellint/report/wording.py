"""Small pieces of English that several formats share."""

from __future__ import annotations

from collections.abc import Sequence

from modellint.finding import Fix, FlowStep
from modellint.report.cells import visible


def counted(number: int, noun: str) -> str:
    """`1 error`, `3 errors`, `1,204 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def joined(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1] if names else "") if part)


def numbered(label: str, order: int | None) -> str:
    """The label with its number in data flow before it."""
    return label if order is None else f"({order}) {label}".rstrip()


def fix_text(fix: Fix) -> str:
    """`unsafe, 1 edit in train.py (validation numbers will change)`."""
    files = joined(list(dict.fromkeys(visible(edit.span.path) for edit in fix.edits)))
    edits = f"{counted(len(fix.edits), 'edit')} in {files}" if fix.edits else fix.title
    safety = {"display": "shown only"}.get(fix.safety.value, fix.safety.value)
    return f"{safety}, {edits} ({fix.reason})" if fix.reason else f"{safety}, {edits}"


def stations(flow: Sequence[FlowStep]) -> list[str]:
    """The steps of a flow; the place is named where it is on another line than the step before."""
    texts, known = [], None
    for step in flow:
        place = (step.span.path, step.span.line)
        texts.append(step.text if place == known else f"{step.text} ({step.span.path}:{step.span.line})")
        known = place
    return texts
