"""Gitignore patterns, matched the way git does it: one entry of a folder at a time, from the top down.

A matcher that asks a pattern about a whole path cannot tell an entry that matches from an entry below one that does,
and then `*`, `!*/`, `!*.py` (nothing but Python) ignores everything. Here a pattern is asked about the entry itself;
whoever walks does not go into a folder that is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Pattern:
    regex: re.Pattern[str]
    anchored: bool
    """Matched against the path from the folder of the patterns, not against the name alone."""
    folders_only: bool
    takes_back: bool


class IgnoreList:
    """The patterns of one `.gitignore`, exclude file or setting."""

    def __init__(self, lines: Iterable[str]) -> None:
        parsed = (_parse(line) for line in lines)
        # The last pattern that matches decides.
        self._patterns = tuple(pattern for pattern in parsed if pattern is not None)[::-1]

    def decides(self, path: str, *, is_folder: bool) -> bool | None:
        """True: ignored, False: taken back by a `!` pattern, None: no pattern says anything.

        `path` is relative to the folder of the patterns, with forward slashes.
        """
        name = path.rpartition("/")[2]
        for pattern in self._patterns:
            if pattern.folders_only and not is_folder:
                continue
            if pattern.regex.fullmatch(path if pattern.anchored else name):
                return not pattern.takes_back
        return None

    def covers(self, path: str) -> bool:
        """Whether a file or a folder above it is ignored."""
        parts = path.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts)))
        return any(self.decides(folder, is_folder=True) for folder in above) or bool(
            self.decides(path, is_folder=False)
        )


def _parse(line: str) -> _Pattern | None:
    """One line; None for a comment, a blank line or what is no pattern."""
    text = re.sub(r"(?<!\\)[ \t]+$", "", line.rstrip("\r\n"))
    if not text or text.startswith("#"):
        return None
    takes_back = text.startswith("!")
    text = text[takes_back:]
    folders_only = text.endswith("/")
    text = text[: len(text) - folders_only]
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text:
        return None
    regex = _translate(text)
    return _Pattern(regex, anchored, folders_only, takes_back) if regex is not None else None


def _translate(text: str) -> re.Pattern[str] | None:
    """A pattern as a regular expression over the whole text; None when a bracket is left open."""
    out = []
    at = 0
    while at < len(text):
        rest = text[at:]
        if rest.startswith("**/") and (at == 0 or text[at - 1] == "/"):
            out.append("(?:[^/]+/)*")
            at += 3
        elif rest == "**" and at > 0 and text[at - 1] == "/":
            out.append(".+")
            at += 2
        elif rest[0] == "*":
            out.append("[^/]*")
            at += len(rest) - len(rest.lstrip("*"))
        elif rest[0] == "?":
            out.append("[^/]")
            at += 1
        elif rest[0] == "[":
            bracket = re.match(r"\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]", rest)
            if bracket is None:
                return None
            inside = re.sub(r"([\[&~|])", r"\\\1", bracket.group(2))
            inside = "\\" + inside if inside.startswith(("]", "^")) else inside
            out.append(f"(?!/)[{'^' if bracket.group(1) else ''}{inside}]")
            at += bracket.end()
        else:
            escaped = rest[0] == "\\" and len(rest) > 1
            out.append(re.escape(rest[escaped]))
            at += 1 + escaped
    try:
        return re.compile("".join(out), re.DOTALL)
    except re.error:
        return None
