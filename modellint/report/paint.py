"""Colour for a terminal. It repeats what the text says and never carries meaning alone."""

from __future__ import annotations

from modellint.finding import Level

_LEVELS = {Level.ERROR: "1;31", Level.WARNING: "1;33", Level.NOTE: "1;36"}
_FRAME = "1;34"
_STRONG = "1"


class Paint:
    """Wraps text in colour, or leaves it alone."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def level(self, level: Level, text: str) -> str:
        """Text that stands for the finding: its head and its primary carets."""
        return self._wrapped(_LEVELS[level], text)

    def frame(self, text: str) -> str:
        """Line numbers, bars and secondary marks."""
        return self._wrapped(_FRAME, text)

    def strong(self, text: str) -> str:
        """The sentence of a finding."""
        return self._wrapped(_STRONG, text)

    def _wrapped(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on and text else text
