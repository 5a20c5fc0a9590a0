"""Where the user's code called torch: a code object and an instruction, resolved to a place only for findings."""

from __future__ import annotations

import ast
import linecache
import os
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import torch

import modellint
from modellint.facts.span import Span

_USER, _LIBRARY, _OWN = 0, 1, 2
_kinds: dict[CodeType, int] = {}


class Site(NamedTuple):
    """One instruction of the user's code. Holds no frame, so nothing of the user's is kept alive."""

    code: CodeType
    instruction: int

    def span(self) -> Span:
        """Its place; columns count code points. Without positions in the code object the whole line."""
        return _span(self.code, self.instruction)

    def text(self) -> str:
        """The source of the call on one line, empty when it cannot be read."""
        return source_text(self.span())

    def callee(self) -> str:
        """What the user calls there: `model` of `model(x)`, `optimizer.step` of `optimizer.step()`; may be empty."""
        return _callee(self.text())

    def receiver(self) -> str:
        """`optimizer` of `optimizer.step()`; the callee where it is no method."""
        callee = self.callee()
        return callee.rpartition(".")[0] or callee

    def argument(self) -> str:
        """`optimizer` of `scaler.step(optimizer)`: the first argument, empty where there is none."""
        return _argument(self.text())


def capture(depth: int = 1) -> Site | None:
    """The innermost frame of the user's own code, seen from the caller; None when there is none.

    The user's own code is what lies outside torch, modellint, site-packages and the standard library; if nothing does,
    what lies outside torch and modellint.
    """
    frame = sys._getframe(depth)
    library: Site | None = None
    while frame is not None:
        code = frame.f_code
        kind = _kinds.get(code)
        if kind is None:
            kind = _kinds[code] = _kind(code.co_filename)
        if kind == _USER:
            return Site(code, frame.f_lasti)
        if kind == _LIBRARY and library is None and not code.co_filename.startswith("<"):
            library = Site(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return library


def capture_construction(made: object, depth: int = 1) -> Site | None:
    """Where an object is constructed: as `capture`, but outside of the constructors of its own class."""
    frame, level = sys._getframe(depth), 0
    while frame.f_code.co_name == "__init__" and frame.f_back is not None:
        names = frame.f_code.co_varnames
        if not names or frame.f_locals.get(names[0]) is not made:
            break
        frame, level = frame.f_back, level + 1
    return capture(depth + 1 + level)


@cache
def _kind(filename: str) -> int:
    path = os.path.realpath(filename) if not filename.startswith("<") else filename
    if path.startswith(_OWN_FOLDERS):
        return _OWN
    if path.startswith(_LIBRARY_FOLDERS) or "site-packages" in path or "dist-packages" in path:
        return _LIBRARY
    if path.startswith("<") and not path.startswith(("<ipython", "<stdin>", "<string>")):
        return _LIBRARY  # frozen modules, generated methods of dataclasses
    return _USER


def is_user_code(filename: str) -> bool:
    """A file outside of torch, modellint, site-packages and the standard library."""
    return _kind(filename) == _USER


def _folder(module: object) -> str:
    return os.path.dirname(os.path.realpath(str(getattr(module, "__file__", "")))) + os.sep


_OWN_FOLDERS = (_folder(torch), _folder(modellint))
_LIBRARY_FOLDERS = tuple(
    {
        os.path.realpath(path) + os.sep
        for path in (
            *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
            *site.getsitepackages(),
            site.getusersitepackages(),
        )
        if path
    }
)


def shown(filename: str) -> str:
    """A file as the reader of code shows it: relative to the working directory, with forward slashes."""
    if filename.startswith("<"):
        return filename
    path = Path(os.path.abspath(filename))
    for start in (Path.cwd(), Path(os.path.realpath(os.curdir))):
        try:
            return path.relative_to(start).as_posix()
        except ValueError:
            continue
    return path.as_posix()


@cache
def lines(path: str) -> tuple[str, ...]:
    """The lines of a file or a notebook cell, by the path that spans carry."""
    return tuple(line.rstrip("\r\n") for line in linecache.getlines(path))


def _span(code: CodeType, instruction: int) -> Span:
    positions = list(code.co_positions())
    index = instruction // 2
    path = shown(code.co_filename)
    line, end_line, column, end_column = positions[index] if 0 <= index < len(positions) else (None,) * 4
    if line is None:
        line = code.co_firstlineno
    if end_line is None or column is None or end_column is None:
        text = _line(path, line)
        return Span(path, line, len(text) - len(text.lstrip()) + 1, line, len(text) + 1)
    span = byte_span(path, line, column, end_line, end_column)
    header = _line(path, line)[span.column - 1 :]
    if end_line > line and header.startswith(("for ", "async for ", "with ", "async with ")):
        # The iterator of a loop has the position of the whole statement: its header says enough.
        return Span(path, line, span.column, line, span.column + len(header.split("#")[0].rstrip().rstrip(":")))
    return span


def byte_span(path: str, line: int, column: int, end_line: int, end_column: int) -> Span:
    """A span from the UTF-8 columns of `ast` and of code objects."""
    return Span(path, line, _points(path, line, column), end_line, _points(path, end_line, end_column))


def _points(path: str, line: int, column: int) -> int:
    text = _line(path, line)
    return column + 1 if text.isascii() else len(text.encode()[:column].decode(errors="replace")) + 1


def _line(path: str, line: int) -> str:
    known = lines(path)
    return known[line - 1] if 0 < line <= len(known) else ""


def source_text(span: Span) -> str:
    """The source between two positions, its newlines and indents folded to one space."""
    if span.line == span.end_line:
        return _line(span.path, span.line)[span.column - 1 : span.end_column - 1]
    parts = [_line(span.path, span.line)[span.column - 1 :]]
    parts += (_line(span.path, number) for number in range(span.line + 1, span.end_line))
    parts.append(_line(span.path, span.end_line)[: span.end_column - 1])
    return " ".join(part.strip() for part in parts)


def assigned_name(where: Site) -> str:
    """`self.optimizer` of `self.optimizer = Adam(...)`: what the value made there is called; may be empty."""
    span = where.span()
    target, equals, rest = _line(span.path, span.line)[: span.column - 1].partition("=")
    target = target.partition(":")[0].strip()
    return target if equals and not rest.strip() and target.replace(".", "").isidentifier() else ""


def _argument(text: str) -> str:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    return ast.unparse(tree.args[0]) if isinstance(tree, ast.Call) and tree.args else ""


def _callee(text: str) -> str:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return ""
    while isinstance(tree, ast.Await | ast.Starred):
        tree = tree.value
    return ast.unparse(tree.func) if isinstance(tree, ast.Call) else ""
