"""One line a finding, under the name of its file, in columns."""

from __future__ import annotations

from itertools import groupby

from modellint.report.cells import visible
from modellint.report.model import LintReport, Options
from modellint.report.paint import Paint
from modellint.report.summary import document


def render(report: LintReport, options: Options) -> str:
    """The files with their findings, then the summary."""
    if options.verbosity < -1:
        return ""
    return document(tables(report, options), report, options)


def tables(report: LintReport, options: Options) -> list[str]:
    """One text a file, without a newline at its end; the columns are the same in all of them."""
    paint = Paint(options.color)
    places = [f"{finding.span.line}:{finding.span.column}" for finding in report.findings]
    place_width = max(map(len, places), default=0)
    level_width = max((len(finding.level.value) for finding in report.findings), default=0)
    rule_width = max((len(finding.rule) for finding in report.findings), default=0)
    texts = []
    for path, members in groupby(zip(report.findings, places, strict=True), key=lambda pair: pair[0].span.path):
        rows = [paint.strong(visible(path))]
        for finding, place in members:
            level = paint.level(finding.level, f"{finding.level.value:{level_width}}")
            rule = f"{visible(finding.rule):{rule_width}}"
            rows.append(f"  {place:>{place_width}}  {level}  {rule}  {visible(finding.message)}")
        texts.append("\n".join(rows))
    return texts
