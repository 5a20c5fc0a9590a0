"""Text as a terminal shows it: how wide it is, and without anything a terminal would obey.

Source, paths and identifiers come from the user's files, so each of them can hold an escape sequence or a character
that turns the direction of writing. `visible` and `SourceLine` write those out (`\\x1b`), so they stay inert.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from unicodedata import category, east_asian_width

TAB = 4
WIDEST = 160
_CUT = "..."
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that reorder what is shown: code could look like other code."""


def visible(text: str) -> str:
    """`text` on one line with control characters written out."""
    if text.isprintable():
        return text
    return "".join(" " if character == "\t" else _shown(character) for character in text)


def width(text: str) -> int:
    """How many cells `text` takes; it went through `visible` already."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _shown(character: str) -> str:
    if category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTION:
        code = ord(character)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return character


def _cells(character: str) -> int:
    if character.isascii():
        return 1
    # A soft hyphen is a format character, yet terminals give it a cell; the second and third jamo join the first.
    joining = category(character) in ("Mn", "Me", "Cf") and character != "\xad"
    if joining or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


class SourceLine:
    """One source line: where each code point stands, in cells, and the piece of it that is drawn."""

    def __init__(self, text: str) -> None:
        text = text.rstrip("\r\n")
        self.length = len(text)
        """In code points."""
        self.pieces: Sequence[str] = text
        """What is drawn for each code point."""
        self.starts: Sequence[int] = range(len(text) + 1)
        """The cell in which each code point starts, and the one after the last."""
        if not (text.isascii() and text.isprintable()):
            self._measure(text)

    def _measure(self, text: str) -> None:
        pieces, starts, cell = [], [0], 0
        for character in text:
            piece = " " * (TAB - cell % TAB) if character == "\t" else _shown(character)
            cell += width(piece)
            pieces.append(piece)
            starts.append(cell)
        self.pieces, self.starts = pieces, starts

    def cells(self, column: int, end_column: int) -> tuple[int, int]:
        """From and to which cell a span of 1-based columns goes; columns that are not there count as the end."""
        first = min(max(column, 1) - 1, self.length)
        last = min(max(end_column - 1, first), self.length)
        return self.starts[first], self.starts[last]

    def window(self, low: int, high: int) -> tuple[str, int, int, int]:
        """The piece drawn so that cells `low` to `high` can be seen.

        It comes with the cells that it shows (from, to) and with how far to the left it was moved.
        """
        total = self.starts[-1]
        if total <= WIDEST:
            return "".join(self.pieces), 0, total, 0
        room = WIDEST - 2 * len(_CUT)
        begin = max(0, low - max(0, room - (high - low)) // 2)
        begin = min(begin, total - room)
        first = bisect_left(self.starts, begin)
        last = max(first, bisect_right(self.starts, begin + room) - 1)
        left = _CUT if first else ""
        right = _CUT if last < self.length else ""
        text = left + "".join(self.pieces[first:last]) + right
        return text, self.starts[first], self.starts[last], self.starts[first] - len(left)
