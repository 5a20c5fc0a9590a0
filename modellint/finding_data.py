"""Findings as JSON values, to be stored or sent to another process, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modellint.facts.span import Span
from modellint.finding import Category, Certainty, Edit, Finding, Fix, FlowStep, Level, Note, Safety


def finding_data(finding: Finding) -> dict[str, Any]:
    """A finding as JSON values; what is empty is left out, and a group that is no text."""
    data: dict[str, Any] = {
        "rule": finding.rule,
        "category": finding.category.value,
        "level": finding.level.value,
        "certainty": finding.certainty.value,
        "message": finding.message,
        "span": list(finding.span),
    }
    for name in ("label", "primary_order", "seen", "why", "help", "weight"):
        value = getattr(finding, name)
        if value:
            data[name] = value
    if isinstance(finding.group, str):
        data["group"] = finding.group
    if finding.related:
        data["related"] = [[list(note.span), note.label, note.order, note.cause] for note in finding.related]
    if finding.flow:
        data["flow"] = [[list(step.span), step.text] for step in finding.flow]
    if finding.notes:
        data["notes"] = list(finding.notes)
    if finding.sides != ("source",):
        data["sides"] = list(finding.sides)
    if finding.evidence:
        data["evidence"] = dict(finding.evidence)
    if finding.fix is not None:
        edits = [[list(edit.span), edit.text] for edit in finding.fix.edits]
        data["fix"] = [finding.fix.title, finding.fix.safety.value, finding.fix.reason, edits]
    return data


def finding_from(data: Mapping[str, Any]) -> Finding:
    """The finding that `finding_data` wrote; KeyError, TypeError, ValueError or AttributeError for anything else."""
    fix = data.get("fix")
    order = data.get("primary_order")
    return Finding(
        rule=text_from(data["rule"]),
        category=Category(data["category"]),
        level=Level(data["level"]),
        certainty=Certainty(data["certainty"]),
        message=text_from(data["message"]),
        span=span_from(data["span"]),
        label=text_from(data.get("label", "")),
        primary_order=int(order) if order is not None else None,
        related=tuple(
            Note(span_from(span), text_from(label), int(number) if number is not None else None, bool(cause))
            for span, label, number, cause in data.get("related", ())
        ),
        flow=tuple(FlowStep(span_from(span), text_from(text)) for span, text in data.get("flow", ())),
        seen=text_from(data.get("seen", "")),
        why=text_from(data.get("why", "")),
        help=text_from(data.get("help", "")),
        notes=tuple(map(text_from, data.get("notes", ()))),
        fix=Fix(
            text_from(fix[0]),
            Safety(fix[1]),
            text_from(fix[2]),
            tuple(Edit(span_from(s), text_from(t)) for s, t in fix[3]),
        )
        if fix is not None
        else None,
        sides=tuple(map(text_from, data.get("sides", ("source",)))),
        evidence=dict(data.get("evidence", {})),
        group=data.get("group"),
        weight=int(data.get("weight", 0)),
    )


def _fix_from(data: Any) -> Fix:
    title, safety, reason, edits = data
    changes = tuple(Edit(span_from(span), text_from(text)) for span, text in edits)
    return Fix(text_from(title), Safety(safety), text_from(reason), changes)


def span_from(data: Any) -> Span:
    """A span from its five values."""
    path, *numbers = data
    line, column, end_line, end_column = map(int, numbers)
    return Span(text_from(path), line, column, end_line, end_column)


def text_from(value: Any) -> str:
    """The value, if it is a text."""
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value
