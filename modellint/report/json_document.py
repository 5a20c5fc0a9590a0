"""The report as one JSON document; `schema/findings.schema.json` describes it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from modellint import __version__
from modellint.facts.span import Span
from modellint.finding import Finding, Fix, Level
from modellint.report.fingerprint import fingerprints
from modellint.report.model import LintReport, Options, RunSummary

VERSION = 1
"""Rises when a field changes its meaning, goes away or becomes nullable."""


def render(report: LintReport, options: Options) -> str:
    """One document. It is ASCII, so that no terminal's encoding can spoil it."""
    document = {**frame_of(report), "findings": list(findings_of(report))}
    return json.dumps(document, indent=2, default=str) + "\n"


def frame_of(report: LintReport) -> dict[str, object]:
    """Everything but the findings."""
    summary: dict[str, object] = {level.value: report.count(level) for level in sorted(Level, reverse=True)}
    summary |= {
        "suppressed": len(report.suppressed),
        "baselined": 0,
        "checked": report.checked,
        "skipped": report.skipped,
    }
    failures = [
        {"rule": failure.rule, "path": failure.path, "line": failure.line, "message": failure.error}
        for failure in report.failures
    ]
    tool = {"name": "modellint", "version": __version__}
    run = None if report.run is None else _run(report.run)
    return {"version": VERSION, "tool": tool, "summary": summary, "failures": failures, "run": run}


def findings_of(report: LintReport) -> Iterator[dict[str, object]]:
    """Every finding, the silenced ones too."""
    findings = list(report.all_findings())
    digests = fingerprints((finding for finding, _ in findings), report.lines)
    for (finding, reason), digest in zip(findings, digests, strict=True):
        yield _finding(finding, reason, digest)


def _run(run: RunSummary) -> dict[str, object]:
    return {
        "script": run.script,
        "models": list(run.models),
        "optimizers": run.optimizers,
        "steps": run.steps,
        "traced": run.traced,
        "evaluations": run.evaluations,
        "out_of_sight": [{"subject": gap.subject, "reason": gap.reason, "rules": list(gap.rules)} for gap in run.gaps],
        "quiet": [
            {"rule": each.rule, "path": each.path, "lines": list(each.lines), "times": each.times, "what": each.what}
            for each in run.quiet
        ],
    }


def _finding(finding: Finding, reason: str | None, fingerprint: str) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "category": finding.category.value,
        "level": finding.level.value,
        "certainty": finding.certainty.value,
        "sides": list(finding.sides),
        "message": finding.message,
        "label": finding.label,
        "order": finding.primary_order,
        "seen": finding.seen,
        "why": finding.why,
        "help": finding.help,
        "notes": list(finding.notes),
        **_place(finding.span),
        "related": [
            {**_place(note.span), "label": note.label, "order": note.order, "cause": note.cause}
            for note in finding.related
        ],
        "flow": [{**_place(step.span), "text": step.text} for step in finding.flow],
        "evidence": dict(finding.evidence),
        "fix": None if finding.fix is None else _fix(finding.fix),
        "fingerprint": fingerprint,
        "suppressed": None if reason is None else {"by": "comment", "reason": reason},
    }


def _place(span: Span) -> dict[str, object]:
    return {"path": span.path, "cell": None, "range": _range(span)}


def _range(span: Span) -> dict[str, object]:
    return {
        "start": {"line": span.line, "column": span.column},
        "end": {"line": span.end_line, "column": span.end_column},
    }


def _fix(fix: Fix) -> dict[str, object]:
    return {
        "title": fix.title,
        "safety": fix.safety.value,
        "reason": fix.reason,
        "edits": [{"path": edit.span.path, "range": _range(edit.span), "text": edit.text} for edit in fix.edits],
    }
