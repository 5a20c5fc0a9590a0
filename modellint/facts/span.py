"""Where something stands in the user's source."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """A region of one file.

    Lines and columns count from 1; columns count code points (not bytes, not UTF-16 units, not display cells);
    the end is exclusive. `path` is as the reader was given it: relative to the working directory where possible,
    with forward slashes.
    """

    path: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"
