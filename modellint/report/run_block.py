"""What stands at the end of a watched run: one row a finding, then what was seen and what was not.

The source of a finding is not drawn here: a training has just written its own pages of output. The `full` format draws
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from modellint.finding import Finding
from modellint.report.cells import visible, width
from modellint.report.model import Gap, LintReport, Options, RunSummary
from modellint.report.paint import Paint
from modellint.report.summary import failure_line, hint_line, left_out, summary_line

_WIDTH = 120
_NARROWEST = 40
"""Evidence that would get fewer cells than this stands below its row instead."""
_GAPS_NAMED = 2


def render(report: LintReport, options: Options, last: Sequence[str] = (), name: str = "") -> str:
    """The block, ending in a newline unless it is empty.

    `last` are further lines at its end, `name` says which process it is about: `rank 1`.
    """
    run = report.run
    if options.verbosity < -1 or run is None:
        return ""
    # A script that never trains is the most likely mistake in the command line, so its name is said.
    where = f"{visible(run.script)}: " if run.script and not run.steps else ""
    parts = [f"modellint{f' ({name})' if name else ''}: {where}{summary_line(report)}"]
    if report.findings:
        parts.append("\n".join(_rows(report.findings, Paint(options.color))))
    end = [failure_line(failure) for failure in report.failures]
    if options.verbosity >= 0:
        end += _coverage(run, options.verbosity > 0)
        if options.verbosity > 0:
            end += left_out(report)
        end += [line for line in (hint_line(report, fixable=False), *last) if line]
    parts.append("\n".join(f"  {line}" for line in end))
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(findings: Sequence[Finding], paint: Paint) -> list[str]:
    """Level, rule, place and evidence in columns; long evidence goes on below itself."""
    levels = max(len(finding.level.value) for finding in findings)
    rules = max(len(finding.rule) for finding in findings)
    places = [_place(finding) for finding in findings]
    place_width = max(map(width, places))
    start = 2 + levels + 2 + rules + 2 + place_width + 3
    below = _WIDTH - start < _NARROWEST
    if below:
        start = 2 + levels + 2
    lines = []
    for finding, place in zip(findings, places, strict=True):
        level = paint.level(finding.level, f"{finding.level.value:{levels}}")
        head = f"  {level}  {visible(finding.rule):{rules}}  {place}"
        evidence = wrap(visible(_evidence(finding)), _WIDTH - start)
        if not below:
            head += " " * (place_width - width(place) + 3) + (evidence.pop(0) if evidence else "")
        lines.append(head.rstrip())
        lines += (" " * start + line for line in evidence)
    return lines


def _place(finding: Finding) -> str:
    """`norm, models/twin.py:8`: the layer where the evidence names one, and the line."""
    place = f"{finding.span.path}:{finding.span.line}"
    module = finding.evidence.get("module")
    return visible(f"{module}, {place}" if isinstance(module, str) and module else place)


def _evidence(finding: Finding) -> str:
    """What was seen, and by which of several processes."""
    seen = finding.seen or finding.message.replace("`", "")
    ranks = [note for note in finding.notes if note.startswith("on rank")] if "ranks" in finding.evidence else []
    return "; ".join([seen, *ranks])


def _coverage(run: RunSummary, verbose: bool) -> list[str]:
    """How much of the run the findings rest on, and what it did not show."""
    seen = f"order and modes of every step, values at {run.traced:,} of {run.steps:,} steps"
    if not run.steps:
        seen = "no optimizer step in this process" if run.models else "no call of a model in this process"
    elif run.traced >= run.steps:
        seen = "order, modes and values of every step"
    gaps = [_gap(gap) for gap in run.gaps]
    if not gaps:
        hidden = "nothing"
    elif len(gaps) <= _GAPS_NAMED and not verbose:
        hidden = ", ".join(gaps)
    else:
        hidden = f"{len(gaps)} things" + ("" if verbose else " (-v lists them)")
    lines = wrap(f"seen: {seen}; out of sight: {hidden}", _WIDTH - 2, subsequent_indent=" " * 6)
    if verbose:
        lines += (f"out of sight: {visible(_gap(gap, rules=True))}" for gap in run.gaps)
    return lines


def _gap(gap: Gap, rules: bool = False) -> str:
    text = f"{gap.subject} ({gap.reason})" if gap.reason else gap.subject
    return f"{text}; unknown for it: {', '.join(gap.rules)}" if rules and gap.rules else visible(text)
