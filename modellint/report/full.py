"""Findings as a person reads them in a terminal: what, where with the source, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from modellint.finding import Finding
from modellint.report.cells import visible
from modellint.report.footer import footer
from modellint.report.frame import frame
from modellint.report.grouped import tables
from modellint.report.model import LintReport, Options
from modellint.report.paint import Paint
from modellint.report.summary import document
from modellint.report.wording import counted

MOST = 30
"""More findings than these are shown shorter, unless `full` was asked for."""


def render(report: LintReport, options: Options) -> str:
    """Every finding with its source, then the summary."""
    if options.verbosity < -1:
        return ""
    if len(report.findings) > MOST and not options.explicit:
        return _shortened(report, options)
    return document(blocks(report.findings, report, options), report, options)


def blocks(findings: Sequence[Finding], report: LintReport, options: Options) -> list[str]:
    """One text a finding, without a newline at its end."""
    paint = Paint(options.color)
    lines_of = cache(report.lines)
    return [block(finding, lines_of, paint) for finding in findings]


def block(finding: Finding, lines_of: Callable[[str], Sequence[str]], paint: Paint) -> str:
    """One finding."""
    head = paint.level(finding.level, f"{finding.level.value}[{visible(finding.rule)}]")
    gutter, rows = frame(finding, lines_of, paint)
    end = footer(finding, gutter)
    if end and len(rows) > 1:
        rows.append(f"{'':{gutter}} {paint.frame('|')}")
    return "\n".join([f"{head}: {paint.strong(visible(finding.message))}", *rows, *end])


def _shortened(report: LintReport, options: Options) -> str:
    """The first finding of each rule in full, and a line for every finding."""
    firsts = list({finding.rule: finding for finding in reversed(report.findings)}.values())[::-1]
    firsts.sort(key=lambda finding: (finding.span, finding.rule))
    hidden = len(report.findings) - len(firsts)
    parts = [*blocks(firsts, report, options), *tables(report, options)]
    if hidden:
        parts.append(f"The source of {counted(hidden, 'finding')} is hidden; --output-format full shows all")
    return document(parts, report, options)
