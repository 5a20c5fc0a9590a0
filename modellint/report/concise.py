"""One line a finding, for the problem matchers of editors and for agents."""

from __future__ import annotations

from modellint.finding import Finding
from modellint.report.cells import visible
from modellint.report.model import LintReport, Options
from modellint.report.summary import closing


def render(report: LintReport, options: Options) -> str:
    """The findings, then the summary."""
    if options.verbosity < -1:
        return ""
    lines = [_line(finding) for finding in report.findings] + closing(report, options)
    return "".join(f"{line}\n" for line in lines)


def _line(finding: Finding) -> str:
    message = finding.message.replace("`", "")
    return visible(f"{finding.span}: {finding.level.value}[{finding.rule}] {message}{_also(finding)}")


def _also(finding: Finding) -> str:
    """The secondary places: those in the same file without its name, and first."""
    spans = sorted({note.span for note in finding.related if note.span != finding.span})
    own = [f"{span.line}:{span.column}" for span in spans if span.path == finding.span.path]
    other = [str(span) for span in spans if span.path != finding.span.path]
    return f" (also {', '.join(own + other)})" if spans else ""
