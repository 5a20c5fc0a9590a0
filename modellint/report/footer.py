"""The lines under a frame: path, seen, why, help, fix, note, wrapped so that their two lines look even."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modellint.finding import Finding
from modellint.report.cells import visible, width
from modellint.report.wording import fix_text, stations

_WIDTH = 100
_WORD = re.compile(r"(?:`[^`]*`|\[[^\[\]]{,20}\]|\S)+")
"""A word; what stands in backticks, and an interval such as `[0.500, 0.731]`, is not broken."""
_AFTER_CLAUSE = 200
"""How much unevenness (in squared cells) a break after a comma or a semicolon is worth."""


def footer(finding: Finding, gutter: int) -> list[str]:
    """All rows, each part with its name before it."""
    rows = []
    for name, lines in _parts(finding, _WIDTH - gutter - 3):
        head = f"{'':{gutter}} = {name}: "
        rows.append(head + lines[0])
        rows += (f"{'':{len(head)}}{line}" for line in lines[1:])
    return rows


def _parts(finding: Finding, room: int) -> Iterator[tuple[str, list[str]]]:
    if len(finding.flow) > 1:
        yield "path", _path(finding, room - len("path: "))
    texts = [("seen", finding.seen), ("why", finding.why), ("help", finding.help)]
    if finding.fix is not None:
        texts.append(("fix", fix_text(finding.fix)))
    texts += (("note", note) for note in finding.notes)
    for name, text in texts:
        if text:
            yield name, wrapped(text, room - len(name) - 2)


def _path(finding: Finding, room: int) -> list[str]:
    """The stations of the flow; what does not fit on two lines is left out in the middle, and counted."""
    steps = [visible(step) for step in stations(finding.flow)]
    lines = _even([steps[0], *(f"-> {step}" for step in steps[1:])], room)
    kept = len(steps) - 1
    while len(lines) > 2 and kept > 1:
        head = (kept + 1) // 2
        left_out = f"({len(steps) - kept} more)"
        some = [*steps[:head], left_out, *steps[len(steps) - (kept - head) :]]
        lines = _even([some[0], *(f"-> {step}" for step in some[1:])], room)
        kept -= 1
    return lines


def wrapped(text: str, room: int) -> list[str]:
    """Lines of at most `room` cells; a line break in the text is kept."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        shown = visible(paragraph).strip()
        if shown:
            lines += [shown] if width(shown) <= room else _even(_WORD.findall(shown), room)
    return lines or [""]


def _even(words: Sequence[str], room: int) -> list[str]:
    """As one line; else as two of even length, broken after a clause where possible; else filled line by line."""
    whole = " ".join(words)
    total = width(whole)
    if total <= room:
        return [whole]
    best: tuple[int, int] | None = None
    first = -1
    for index, word in enumerate(words[:-1], 1):
        first += 1 + width(word)
        second = total - first - 1
        if first > room:
            break
        if second <= room:
            cost = first * first + second * second - (_AFTER_CLAUSE if word[-1] in ",;:." else 0)
            best = min(best or (cost, index), (cost, index))
    if best is not None:
        return [" ".join(words[: best[1]]), " ".join(words[best[1] :])]
    return _filled(words, room)


def _filled(words: Sequence[str], room: int) -> list[str]:
    lines: list[str] = []
    size = 0
    for word in words:
        cells = width(word)
        if lines and size + 1 + cells <= room:
            lines[-1] += f" {word}"
            size += 1 + cells
        else:
            lines.append(word)
            size = cells
    return lines
