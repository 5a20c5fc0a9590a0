"""A name for a finding that survives edits elsewhere in the file.

SHA-256 of the rule, the path, the qualified name of the function or class around it, the primary statement with
whitespace collapsed, and its ordinal among findings that are equal in all of these. No line number is in it.
"""

from __future__ import annotations

import ast
import hashlib
import tokenize
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from modellint.facts.record import record
from modellint.facts.span import Span
from modellint.finding import Finding

_SCOPES = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_Position = tuple[int, int]
"""Line from 1 and byte in it from 0, as `ast` counts."""


@record
class Statement:
    """The innermost statement at a place."""

    scope: str
    """Qualified name of what is around it, empty at module level."""
    text: str
    """Its source with whitespace collapsed; of a compound statement the header."""
    end: tuple[int, int]
    """Line and column, both from 1, just behind it; for a compound statement behind its header."""


class FileOutline:
    """The statements of one file."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = [line.rstrip("\r\n") for line in lines]
        self._body: list[ast.stmt] = []
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._body = ast.parse("\n".join(self._lines)).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # Such a file still has lines: each stands for its own statement.

    def statement(self, span: Span) -> Statement:
        """The statement in which the span begins; its line where there is none."""
        line = span.line
        text = self._lines[line - 1] if 0 < line <= len(self._lines) else ""
        position = (line, len(text[: max(span.column, 1) - 1].encode(errors="surrogatepass")))
        scopes: list[str] = []
        found: ast.stmt | None = None
        header_of: ast.stmt | None = None
        body: Sequence[ast.stmt] = self._body
        while inner := _statement_at(body, position):
            if isinstance(found, _SCOPES):
                scopes.append(found.name)
            found, header_of = inner, None
            body, header_of = _inner_body(inner, position)
        if found is None:
            return Statement("", " ".join(text.split()), (line, len(text) + 1))
        begin = (found.lineno, found.col_offset)
        if header_of is None:
            source = self._slice(begin, _end(found))
        else:
            source = _logical_line(self._slice(begin, (header_of.lineno, header_of.col_offset)))
        rows = source.split("\n")
        offset = len(self._text(found.lineno, 0, found.col_offset)) if len(rows) == 1 else 0
        end = (found.lineno + len(rows) - 1, offset + len(rows[-1]) + 1)
        return Statement(".".join(scopes), " ".join(source.split()), end)

    def _slice(self, begin: _Position, end: _Position) -> str:
        if begin[0] == end[0]:
            return self._text(begin[0], begin[1], end[1])
        between = self._lines[begin[0] : end[0] - 1]
        return "\n".join([self._text(begin[0], begin[1], None), *between, self._text(end[0], 0, end[1])])

    def _text(self, line: int, begin: int, end: int | None) -> str:
        if line > len(self._lines):
            return ""  # A lone carriage return ends a line for Python, perhaps not for whoever split this file.
        return self._lines[line - 1].encode(errors="surrogatepass")[begin:end].decode(errors="replace")


def fingerprints(findings: Iterable[Finding], lines_of: Callable[[str], Sequence[str]]) -> list[str]:
    """One fingerprint a finding, in their order. Give all findings of a file at once: ordinals count them."""
    outline = cache(lambda path: FileOutline(lines_of(path)))
    seen: Counter[tuple[str, ...]] = Counter()
    digests = []
    for finding in findings:
        statement = outline(finding.span.path).statement(finding.span)
        parts = (finding.rule, finding.span.path, statement.scope, statement.text)
        text = "\0".join((*parts, str(seen[parts])))
        seen[parts] += 1
        digests.append(hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest())
    return digests


def _statement_at(body: Sequence[ast.stmt], position: _Position) -> ast.stmt | None:
    """The statement of this body that covers the position, decorators included."""
    low, high = 0, len(body)
    while low < high:
        middle = (low + high) // 2
        if _begin(body[middle]) <= position:
            low = middle + 1
        else:
            high = middle
    if low == 0:
        return None
    candidate = body[low - 1]
    return candidate if position <= _end(candidate) else None


def _inner_body(statement: ast.stmt, position: _Position) -> tuple[Sequence[ast.stmt], ast.stmt | None]:
    """The block of a compound statement that holds the position, and the first statement of its first block."""
    blocks = list(_blocks(statement))
    if not blocks:
        return (), None
    for block in blocks:
        if _begin(block[0]) <= position <= _end(block[-1]):
            return block, blocks[0][0]
    return (), blocks[0][0]


def _blocks(statement: ast.stmt) -> Iterable[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(statement, name, None)
        if block:
            yield block
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _begin(statement: ast.stmt) -> _Position:
    first: ast.stmt | ast.expr = (getattr(statement, "decorator_list", None) or [statement])[0]
    return first.lineno, first.col_offset


def _end(statement: ast.stmt) -> _Position:
    return statement.end_lineno or statement.lineno, statement.end_col_offset or 0


def _logical_line(header: str) -> str:
    """A header up to its colon, without the comments that follow it."""
    end = (1, 0)
    try:
        for token in tokenize.generate_tokens(iter(header.splitlines(keepends=True)).__next__):
            if token.type == tokenize.NEWLINE:
                break
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
                end = token.end
    except (SyntaxError, tokenize.TokenError):
        pass  # What was read before is enough.
    rows = header.split("\n")[: end[0]]
    rows[-1] = rows[-1][: end[1]]
    return "\n".join(rows)
