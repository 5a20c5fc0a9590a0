"""Workflow commands of GitHub Actions after the full report.

GitHub shows ten annotations of a level a step and drops the rest without a word, so the rest is counted in a notice.
"""

from __future__ import annotations

import hashlib

from modellint.finding import Finding, Level, Note
from modellint.report import full
from modellint.report.cells import visible
from modellint.report.model import LintReport, Options
from modellint.report.summary import document, summary_line

MOST = 10
_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}


def render(report: LintReport, options: Options) -> str:
    """The full report, then at most ten annotations of each level."""
    if options.verbosity < -1:
        return ""
    parts = full.blocks(report.findings, report, options)
    log = document(parts, report, options)
    return _inert(log) + "".join(f"{line}\n" for line in _annotations(report))


def step_summary(report: LintReport) -> str:
    """A Markdown table for the file that `$GITHUB_STEP_SUMMARY` names."""
    rows = [f"**modellint**: {_cell(summary_line(report))}", ""]
    if report.findings:
        rows += ["| place | level | rule | finding |", "|---|---|---|---|"]
    for finding in report.findings:
        cells = (
            f"`{_quoted(visible(str(finding.span)))}`",
            finding.level.value,
            finding.rule,
            visible(finding.message),
        )
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    return "".join(f"{row}\n" for row in rows)


def _annotations(report: LintReport) -> list[str]:
    lines = []
    for level in (Level.ERROR, Level.WARNING, Level.NOTE):
        # The closing notice below is an annotation too and needs room among the notices.
        most = MOST if level is not Level.NOTE else MOST - 1
        lines += [_command(finding) for finding in report.findings if finding.level is level][:most]
    shown, total = len(lines), len(report.findings)
    if shown < total:
        lines.append(
            f"::notice::modellint: {total:,} findings, {shown} shown as annotations "
            "(GitHub's limit per step); all of them are in the log above"
        )
    return lines


def _command(finding: Finding) -> str:
    span = finding.span
    properties = {"title": finding.rule, "file": span.path, "line": span.line, "endLine": span.end_line}
    if span.line == span.end_line:
        properties |= {"col": span.column, "endColumn": span.end_column}
    shown = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    lines = [finding.message, *(f"  {_place(note)}" for note in finding.related)]
    lines += (f"{name}: {text}" for name, text in (("why", finding.why), ("help", finding.help)) if text)
    return f"::{_COMMANDS[finding.level]} {shown}::{_data(chr(10).join(lines))}"


def _place(note: Note) -> str:
    """`1st use models/twin.py:9: output of Linear(32, 64)`."""
    head, colon, rest = note.label.partition(": ")
    place = f"{visible(note.span.path)}:{note.span.line}"
    return f"{head} {place}{colon}{rest}".strip() if colon or not head else f"{head} ({place})"


def _inert(log: str) -> str:
    """The log, with commands switched off where something in it could be read as one."""
    if not any(_may_be_command(line) for line in log.split("\n")):
        return log
    # Nobody can put the digest of the log into the log, so no source line ends the quotation.
    token = hashlib.sha256(log.encode(errors="surrogatepass")).hexdigest()
    return f"::stop-commands::{token}\n{log}::{token}::\n"


def _may_be_command(line: str) -> bool:
    start = line.lstrip()
    return "##[" in line or (start.startswith("::") and "::" in start[2:])


def _data(text: str) -> str:
    inert = "\n".join(visible(line) for line in text.split("\n"))
    return inert.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _quoted(text: str) -> str:
    """Text between backticks, which nothing in it ends."""
    return text.replace("`", "'")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
