"""How often each rule fired: count, level, rule, fix; then the total."""

from __future__ import annotations

from collections import Counter

from modellint.finding import Level
from modellint.report.cells import visible
from modellint.report.model import LintReport, Options
from modellint.report.paint import Paint
from modellint.report.summary import closing


def render(report: LintReport, options: Options) -> str:
    """A line for every rule and level, the most frequent first."""
    if options.verbosity < -1:
        return ""
    counts: Counter[tuple[str, Level, str]] = Counter(
        (finding.rule, finding.level, finding.fix.safety.value if finding.fix else "-") for finding in report.findings
    )
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0][0], -row[0][1].rank, row[0][2]))
    paint = Paint(options.color)
    count_width = max((len(f"{count:,}") for count in counts.values()), default=0)
    level_width = max((len(level.value) for _, level, _ in counts), default=0)
    rule_width = max((len(rule) for rule, _, _ in counts), default=0)
    lines = []
    for (rule, level, fix), count in rows:
        shown = paint.level(level, f"{level.value:{level_width}}")
        lines.append(f"{count:>{count_width},}  {shown}  {visible(rule):{rule_width}}  {fix}")
    end = closing(report, options)
    if lines and end:
        lines.append("")
    return "".join(f"{line}\n" for line in lines + end)
