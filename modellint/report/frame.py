"""The source frame under a finding: numbered lines, and a row of carets for every place in them.

Every place gets a row of its own, also where several share a line: labels never run into each other and overlapping
spans stay readable. The primary place comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.finding import Finding
from modellint.report.cells import WIDEST, SourceLine, visible
from modellint.report.paint import Paint
from modellint.report.wording import numbered

_ABSENT = "(this line is not in the file)"


@record
class _Mark:
    """One place to underline."""

    span: Span
    label: str
    primary: bool

    @property
    def line(self) -> int:
        return max(self.span.line, 1)


def frame(finding: Finding, lines_of: Callable[[str], Sequence[str]], paint: Paint) -> tuple[int, list[str]]:
    """The width of the line numbers, and all rows from `-->` on."""
    marks = _marks(finding)
    path = finding.span.path
    own = [mark for mark in marks if mark.span.path == path]
    gutter = max(len(str(mark.line)) for mark in marks)
    arrow = f"{'':{gutter}}{paint.frame('-->')} {visible(str(finding.span))}"
    if len(marks) == 1 and not marks[0].label and not _has_text(lines_of(path), marks[0].line):
        return gutter, [arrow]
    bar = f"{'':{gutter}} {paint.frame('|')}"
    rows = [arrow, bar, *_file_rows(own, lines_of(path), gutter, finding, paint)]
    others = dict.fromkeys(mark.span.path for mark in marks if mark.span.path != path)
    for other in others:
        there = [mark for mark in marks if mark.span.path == other]
        first = min(mark.span for mark in there)
        rows += [bar, f"{'':{gutter}}{paint.frame(':::')} {visible(str(first))}", bar]
        rows += _file_rows(there, lines_of(other), gutter, finding, paint)
    return gutter, rows


def _marks(finding: Finding) -> list[_Mark]:
    marks = [_Mark(finding.span, numbered(finding.label, finding.primary_order), True)]
    marks += (_Mark(note.span, numbered(note.label, note.order), False) for note in finding.related)
    return list(dict.fromkeys(marks))


def _has_line(lines: Sequence[str], number: int) -> bool:
    return number <= len(lines)


def _has_text(lines: Sequence[str], number: int) -> bool:
    return _has_line(lines, number) and bool(lines[number - 1].strip())


def _file_rows(marks: Sequence[_Mark], lines: Sequence[str], gutter: int, finding: Finding, paint: Paint) -> list[str]:
    """The marked lines of one file, with what lies between elided."""
    rows: list[str] = []
    before = 0
    bar = paint.frame("|")
    for number in sorted({mark.line for mark in marks}):
        if before and number == before + 2 and _has_line(lines, number):
            # One line takes no more room than the dots that would stand for it.
            text = SourceLine(lines[number - 2]).window(0, 0)[0]
            rows.append(f"{paint.frame(f'{number - 1:>{gutter}}')} {bar} {text}".rstrip())
        elif before and number > before + 1:
            rows.append("...")
        before = number
        here = [mark for mark in marks if mark.line == number]
        here.sort(key=lambda mark: (not mark.primary, mark.span.column, mark.span.end_line, mark.span.end_column))
        if not _has_line(lines, number):
            rows.append(f"{paint.frame(f'{number:>{gutter}}')} {bar} {_ABSENT}")
            rows += (f"{'':{gutter}} {bar} {_drawn(mark, 1, finding, paint)}" for mark in here)
            continue
        source = SourceLine(lines[number - 1])
        for together in _seen_together(here, source):
            low = min(source.cells(*_columns(mark, source))[0] for mark in together)
            high = max(source.cells(*_columns(mark, source))[1] for mark in together)
            text, begin, end, moved = source.window(low, high)
            rows.append(f"{paint.frame(f'{number:>{gutter}}')} {bar} {text.rstrip()}".rstrip())
            for mark in together:
                first, last = source.cells(*_columns(mark, source))
                size = max(1, min(last, end) - max(first, begin))
                drawn = _drawn(mark, size, finding, paint)
                rows.append(f"{'':{gutter}} {bar} {'':{max(first, begin) - moved}}{drawn}")
    return rows


def _seen_together(marks: Sequence[_Mark], source: SourceLine) -> list[Sequence[_Mark]]:
    """The marks of one line in groups that fit into one drawing of it: a wide line is drawn once a group."""
    if source.starts[-1] <= WIDEST:
        return [marks]
    cells = [source.cells(*_columns(mark, source)) for mark in marks]
    low, high = min(first for first, _ in cells), max(last for _, last in cells)
    return [marks] if high - low <= WIDEST * 3 // 4 else [[mark] for mark in marks]


def _columns(mark: _Mark, source: SourceLine) -> tuple[int, int]:
    """The columns to underline on the span's first line."""
    if mark.span.end_line <= mark.span.line:
        return mark.span.column, mark.span.end_column
    return mark.span.column, source.length + 1


def _drawn(mark: _Mark, size: int, finding: Finding, paint: Paint) -> str:
    """Carets or dashes with their label."""
    label = visible(mark.label)
    if mark.span.end_line > mark.span.line:
        label = f"{label} (to line {mark.span.end_line})".lstrip()
    text = f"{('^' if mark.primary else '-') * size} {label}".rstrip()
    return paint.level(finding.level, text) if mark.primary else paint.frame(text)
