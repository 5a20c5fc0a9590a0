"""Ignore comments: `# modellint: ignore[name, name] reason` and `# modellint: file-ignore[name] reason`.

A comment counts for the statement whose first or last line it ends, for the statement below it, and for the very line
of a finding inside a longer statement; at the primary place of a finding and at the places marked as its cause. One
that silences nothing becomes an `unused-ignore`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field

from modellint.catalog import UNUSED_IGNORE
from modellint.config import nearest
from modellint.facts.record import slotted
from modellint.facts.span import Span
from modellint.finding import Category, Certainty, Edit, Finding, Fix, Safety
from modellint.source.text import SourceText

MARKER = b"modellint:"
"""A file without these bytes has no ignore comment."""

_COMMENT = re.compile(r"#\s*modellint:\s*(?P<form>file-ignore|ignore)\b\s*(?:\[(?P<names>[^\]]*)\])?(?P<reason>[^#]*)")
_NEITHER_CODE = frozenset(
    (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
)


@slotted
class Ignore:
    """One ignore comment."""

    span: Span
    names: tuple[str, ...]
    reason: str
    whole_file: bool
    misplaced: bool
    """A `file-ignore` after the first statement: it counts for nothing."""
    alone: bool
    """Nothing but the comment stands on its line."""
    used: set[str] = field(default_factory=set)


@slotted
class _FileIgnores:
    """The ignore comments of one file, ready to be asked about a place."""

    source: SourceText
    comments: list[Ignore]
    code_lines: frozenset[int]
    by_line: dict[int, list[Ignore]] = field(default_factory=dict)

    def at(self, span: Span) -> Iterable[Ignore]:
        """The comments that count for a place."""
        for comment in self.comments:
            if comment.whole_file and not comment.misplaced:
                yield comment
        lines = {span.line, span.end_line}
        firsts = {span.line}
        statement = _statement_lines(self.source.tree, span.line, self.code_lines)
        if statement is not None:
            lines |= {statement[0], statement[1]}
            firsts.add(statement[0])
        for line in sorted(lines):
            for comment in self.by_line.get(line, ()):
                if not comment.alone:
                    yield comment
        for first in sorted(firsts):
            line = first - 1
            # Several comment lines above a statement are read as one block.
            while line > 0 and line not in self.code_lines and self.source.lines[line - 1].lstrip().startswith("#"):
                yield from self.by_line.get(line, ())
                line -= 1


@slotted
class Outcome:
    """What the comments leave, what they silence and which of them do nothing."""

    kept: list[Finding]
    suppressed: list[tuple[Finding, str]]
    unused: list[Finding]


def suppress(
    findings: Sequence[Finding],
    files: Iterable[str],
    open_source: Callable[[str], SourceText | None],
    judged: Callable[[str], Collection[str]],
    known: Collection[str],
) -> Outcome:
    """Apply the ignore comments of the checked `files` and of the files that findings lie in.

    `open_source` gives a file that has the marker, None for one without it or that does not parse. `judged` gives the
    rules that judged a file in this run: only their names can be unused. `known` are all rule names.
    """
    checked = sorted(set(files))
    ignores: dict[str, _FileIgnores | None] = {}

    def of(path: str) -> _FileIgnores | None:
        if path not in ignores:
            source = open_source(path)
            ignores[path] = _read(source) if source is not None else None
        return ignores[path]

    outcome = Outcome([], [], [])
    for finding in findings:
        reason: str | None = None
        for span in (finding.span, *(note.span for note in finding.related if note.cause)):
            in_file = of(span.path)
            for comment in in_file.at(span) if in_file is not None else ():
                if finding.rule in comment.names:
                    comment.used.add(finding.rule)
                    reason = comment.reason if reason is None else reason
        if reason is None:
            outcome.kept.append(finding)
        else:
            outcome.suppressed.append((finding, reason))
    for path in checked:
        in_file = of(path)
        if in_file is None or UNUSED_IGNORE not in judged(path):
            continue
        for comment in in_file.comments:
            unused = _unused(comment, in_file.source, judged(path), known)
            if unused is not None:
                outcome.unused.append(unused)
    return outcome


def _read(source: SourceText) -> _FileIgnores:
    """Find the comments by tokens: text in a string is no comment."""
    comments: list[Ignore] = []
    code: set[int] = set()
    first_statement = _first_statement(source.tree)
    for token in tokenize.generate_tokens(io.StringIO("\n".join(source.lines) + "\n").readline):
        if token.type not in _NEITHER_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        for found in _COMMENT.finditer(token.string):
            written = found.group("names") or ""
            whole_file = found.group("form") == "file-ignore"
            start = column + found.start() + 1
            end = start + len(found.group(0).rstrip())
            comments.append(
                Ignore(
                    span=Span(source.path, line, start, line, end),
                    names=tuple(dict.fromkeys(name.strip() for name in written.split(",") if name.strip())),
                    reason=found.group("reason").strip(),
                    whole_file=whole_file,
                    misplaced=whole_file and first_statement is not None and line >= first_statement,
                    alone=not source.lines[line - 1][:column].strip(),
                )
            )
    ignores = _FileIgnores(source, comments, frozenset(code))
    for comment in comments:
        if not comment.whole_file:
            ignores.by_line.setdefault(comment.span.line, []).append(comment)
    return ignores


def _first_statement(tree: ast.Module) -> int | None:
    """The line of the first statement that is not the docstring."""
    body = tree.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    return _first_line(body[0]) if body else None


def _first_line(node: ast.AST) -> int:
    """The first line of a statement, its decorators included."""
    lines: list[int] = [node.lineno]  # type: ignore[attr-defined]
    lines += [decorator.lineno for decorator in getattr(node, "decorator_list", ())]
    return min(lines)


def _statement_lines(tree: ast.Module, line: int, code_lines: Collection[int]) -> tuple[int, int] | None:
    """First and last line of the innermost statement around a line; of a compound one, those of its header."""
    found: tuple[int, int] | None = None
    bodies: list[Sequence[ast.AST]] = [tree.body]
    while bodies:
        for node in bodies.pop():
            end = getattr(node, "end_lineno", None)
            if end is None or not _first_line(node) <= line <= end:
                continue
            inner = _bodies(node)
            if not inner:
                return _first_line(node), end
            header_end = _first_line(inner[0][0])
            # The header ends where the body begins on its line, else at the last code above the body.
            if header_end > node.lineno:  # type: ignore[attr-defined]
                header_end -= 1
                while header_end > node.lineno and header_end not in code_lines:  # type: ignore[attr-defined]
                    header_end -= 1
            if line <= header_end:
                found = (_first_line(node), header_end)
            bodies = list(inner)
            break
    return found


def _bodies(node: ast.AST) -> list[Sequence[ast.AST]]:
    """The blocks of a compound statement; handlers and cases count as statements of their own."""
    if isinstance(node, ast.match_case):
        return [node.body]
    blocks = [getattr(node, name, None) for name in ("body", "handlers", "cases", "orelse", "finalbody")]
    return [block for block in blocks if isinstance(block, list) and block]


def _unused(comment: Ignore, source: SourceText, judged: Collection[str], known: Collection[str]) -> Finding | None:
    """The finding about a comment of which something does nothing."""
    form = "file-ignore" if comment.whole_file else "ignore"
    unknown = [name for name in comment.names if name not in known]
    idle = [name for name in comment.names if name in known and name in judged and name not in comment.used]
    if not comment.names:
        message = f"`# modellint: {form}` names no rule"
        why = "there is no form that silences every rule: it would hide what nobody has looked at"
        doomed = list(comment.names)
    elif comment.misplaced:
        message = "`file-ignore` stands after the first statement, where it silences nothing"
        why = "it counts only above all code, where a reader of the file sees it"
        doomed = list(comment.names)
    elif unknown:
        close = nearest(unknown[0], known).rstrip("?")
        message = f"no rule is named `{unknown[0]}`{close}"
        if len(unknown) > 1:
            message = "no rules are named " + ", ".join(f"`{name}`" for name in unknown)
        why = "the comment silences nothing by this name"
        doomed = unknown + idle
    elif idle:
        message = f"nothing is silenced here by `{form}[{', '.join(idle)}]`"
        why = "the finding is gone, or stands on another line; a comment that is left behind hides the next one"
        doomed = idle
    else:
        return None
    return Finding(
        rule=UNUSED_IGNORE,
        category=Category.SUSPICIOUS,
        level=Category.SUSPICIOUS.level,
        certainty=Certainty.CERTAIN,
        message=message,
        span=comment.span,
        why=why,
        help="correct the name or delete the comment" if unknown or not comment.names else "delete the comment",
        fix=Fix(
            title="delete the comment" if len(doomed) == len(comment.names) else "delete the name",
            safety=Safety.SAFE,
            reason="a comment changes nothing",
            edits=(_edit(comment, source, doomed),),
        ),
    )


def _edit(comment: Ignore, source: SourceText, doomed: Sequence[str]) -> Edit:
    """Take the comment out, with its line if nothing else stands there; or only some of its names."""
    kept = [name for name in comment.names if name not in doomed]
    path, line, column, _, end = comment.span
    if kept:
        form = "file-ignore" if comment.whole_file else "ignore"
        reason = f" {comment.reason}" if comment.reason else ""
        return Edit(comment.span, f"# modellint: {form}[{', '.join(kept)}]{reason}")
    text = source.lines[line - 1]
    rest = text[end - 1 :].strip()
    if comment.alone and not rest and not text[: column - 1].strip() and line < len(source.lines):
        return Edit(Span(path, line, 1, line + 1, 1), "")
    start = len(text[: column - 1].rstrip()) + 1 if not rest else column
    return Edit(Span(path, line, start, line, end if rest else len(text) + 1), "")
