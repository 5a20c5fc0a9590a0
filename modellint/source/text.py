"""The text of one file and its tree: bytes in, lines, `ast` tree and spans out.

Every position that leaves this module counts code points from 1; `ast` itself counts UTF-8 bytes from 0.
"""

from __future__ import annotations

import ast
import codecs
import errno
import io
import os
import re
import stat
import warnings
from dataclasses import field
from pathlib import Path

from modellint.facts.reading import BadInput
from modellint.facts.record import slotted
from modellint.facts.span import Span

_NEWLINE = re.compile(r"\r\n|\r|\n")  # the newlines of Python's tokenizer; str.splitlines knows more
_WHITESPACE = re.compile(r"\s+")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_BLANK = re.compile(rb"^[ \t\f]*(?:#.*)?$")

# `torch` not inside of a longer word on its left (`_torch` and `torchvision` count, `pytorch` in prose does not). The
# literal stands first so that the search is a plain byte search.
_TORCH = re.compile(rb"torch(?<![A-Za-z0-9]torch)")
_FRAMEWORK = re.compile(
    rb"\b(?:import|from)[ \t]+(?:lightning|pytorch_\w+|lightning_fabric|fastai|fabric|transformers|timm|accelerate"
    rb"|ignite|skorch|catalyst|monai|kornia|diffusers|peft|trl|deepspeed|detectron2|mmcv|mmengine|mmdet|mmseg|composer"
    rb"|sentence_transformers|segmentation_models_pytorch|gpytorch|botorch|pyro|e3nn|dgl|apex|flair|allennlp|fairseq"
    rb"|espnet2?|speechbrain|stable_baselines3|ultralytics|bitsandbytes|xformers|open_clip)\b"
)

_LONGEST = 10_000_000
"""Bytes of one file. Python needs up to a hundred times as much memory for the tree."""
_DENSEST = 1_500_000
"""Signs of syntax in one file: with as many the tree takes one or two GB."""
_NO_SIGNS = bytes(range(128, 256)) + b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ \t\r"

_TOO_DEEP = ("too many nested", "nested too deeply", "too many levels", "too complex")


def mentions_torch(data: bytes) -> bool:
    """Whether a file can use torch at all, by its bytes: it names torch or imports a framework on it."""
    return _TORCH.search(data) is not None or _FRAMEWORK.search(data) is not None


def shown_path(file: Path, cwd: Path) -> str:
    """How a path is shown: relative to the working directory where it lies below it, with forward slashes."""
    try:
        return file.relative_to(cwd).as_posix()
    except ValueError:
        return file.as_posix()


@slotted
class SourceText:
    """A file that parses."""

    path: str
    """As shown to the user: relative to the working directory where possible, with forward slashes."""
    file: Path
    text: str
    """Decoded, without a byte order mark, newlines as they are."""
    lines: list[str]
    """Without their newlines."""
    tree: ast.Module
    encoding: str
    """The codec that decodes the file, by its own name: `utf-8`, `utf-8-sig` after a byte order mark, `gbk`."""
    segments: dict[ast.AST, str] = field(default_factory=dict, repr=False)
    """The texts of nodes that were asked for: the same ones are, again and again."""

    def span(self, node: ast.AST) -> Span:
        """Where a statement, expression or other node with a position stands."""
        line, column = self._place(node.lineno, node.col_offset)  # type: ignore[attr-defined]
        end_line, end_column = node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
        if end_line is None or end_column is None:
            return Span(self.path, line, column, line, column)
        return Span(self.path, line, column, *self._place(end_line, end_column))

    def segment(self, node: ast.AST) -> str:
        """The source of a node; its whitespace is collapsed, without comments, when it covers several lines."""
        known = self.segments.get(node)
        if known is None:
            known = self.segments[node] = self._segment(node)
        return known

    def _segment(self, node: ast.AST) -> str:
        number: int = node.lineno  # type: ignore[attr-defined]
        if number == node.end_lineno and 0 < number <= len(self.lines):  # type: ignore[attr-defined]
            line = self.lines[number - 1]
            if line.isascii():
                return line[node.col_offset : node.end_col_offset]  # type: ignore[attr-defined]
        span = self.span(node)
        if span.line == span.end_line:
            return self.lines[span.line - 1][span.column - 1 : span.end_column - 1]
        first = self.lines[span.line - 1][span.column - 1 :]
        middle = self.lines[span.line : span.end_line - 1]
        last = self.lines[span.end_line - 1][: span.end_column - 1]
        return _WHITESPACE.sub(" ", _without_comments("\n".join([first, *middle, last]))).strip()

    def _place(self, line: int, offset: int) -> tuple[int, int]:
        """1-based line and code-point column of a line and UTF-8 offset of `ast`."""
        line = min(max(line, 1), len(self.lines))
        text = self.lines[line - 1]
        # Inside of f-strings, Python 3.11 gives offsets beyond the line: they are cut to it.
        if text.isascii():
            return line, min(offset, len(text)) + 1
        return line, len(text.encode("utf-8")[:offset].decode("utf-8", "ignore")) + 1


def _without_comments(code: str) -> str:
    """A piece of code of several lines, which would become part of a comment once they are one line."""
    if "#" not in code:
        return code
    import tokenize  # late: few pieces need it

    lines = f"({code}\n)".split("\n")
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    except (tokenize.TokenError, SyntaxError):
        return code
    return "\n".join(lines[:-1])[1:]


def read_text(path: Path, shown: str) -> SourceText | BadInput:
    """Read and parse one file; what Python would refuse comes back as BadInput."""
    try:
        data = read_bytes(path)
    except OSError as error:
        return unreadable(shown, error)
    return parse_bytes(data, path, shown)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, as many as a program can have and one more. Raises OSError."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")  # of a pipe or a device no end is in sight
    if status.st_size <= _LONGEST:
        return path.read_bytes()
    with path.open("rb") as file:
        return file.read(_LONGEST + 1)


def _too_large(data: bytes) -> str | None:
    """What is too much of a file, if something is."""
    if len(data) > _LONGEST:
        return f"longer than {_LONGEST // 1_000_000} MB; it is not read"
    if len(data) > _DENSEST and (signs := len(data.translate(None, _NO_SIGNS))) > _DENSEST:
        return f"{signs:,} operators, brackets and lines, more than {_DENSEST:,}; it is not read"
    return None


def unreadable(shown: str, error: OSError) -> BadInput:
    """The finding for a file that the system refuses to read."""
    reason = error.strerror or type(error).__name__
    return BadInput("unreadable-file", f"cannot be read: {reason}", Span(shown, 1, 1, 1, 1))


def parse_bytes(data: bytes, path: Path, shown: str) -> SourceText | BadInput:
    """Decode and parse the content of one file, or of the standard input."""
    excess = _too_large(data)
    if excess is not None:
        return BadInput("unreadable-file", excess, Span(shown, 1, 1, 1, 1))
    decoded = _decode(data, shown)
    if isinstance(decoded, BadInput):
        return decoded
    text, encoding = decoded
    lines = _NEWLINE.split(text)
    nul = text.find("\0")
    if nul >= 0:
        # CPython gives no position for it.
        before = _NEWLINE.split(text[:nul])
        line, column = len(before), len(before[-1]) + 1
        message = "source code string cannot contain null bytes"
        return BadInput("syntax-error", message, Span(shown, line, column, line, column + 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as error:
        rule = "too-deep" if any(part in error.msg for part in _TOO_DEEP) else "syntax-error"
        return BadInput(rule, error.msg, _error_span(error, shown, lines))
    except (RecursionError, MemoryError):
        return BadInput("too-deep", "nested too deeply for Python's parser", Span(shown, 1, 1, 1, 1))
    except ValueError as error:
        # A codec such as UTF-7 can yield text that is no valid Unicode.
        return BadInput("unreadable-file", f"cannot be parsed: {error}", Span(shown, 1, 1, 1, 1))
    return SourceText(shown, path, text, lines, tree, encoding)


def lenient_lines(data: bytes) -> list[str]:
    """The lines of a file for showing them, whatever is wrong with it."""
    if len(data) > _LONGEST:
        return []
    decoded = _decode(data, "")
    if isinstance(decoded, BadInput):
        return _NEWLINE.split(data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace"))
    return _NEWLINE.split(decoded[0])


def _error_span(error: SyntaxError, shown: str, lines: list[str]) -> Span:
    """CPython's position of a syntax error, cut to the file."""
    line = min(max(error.lineno or 1, 1), len(lines))
    column = min(max(error.offset or 1, 1), len(lines[line - 1]) + 1)
    end_line, end_column = line, column + 1
    if error.end_lineno and error.end_offset and error.end_offset > 0 and error.end_lineno >= line:
        end_line = min(error.end_lineno, len(lines))
        end_column = min(error.end_offset, len(lines[end_line - 1]) + 1)
        if (end_line, end_column) <= (line, column):
            end_line, end_column = line, column + 1
    return Span(shown, line, column, end_line, end_column)


def _decode(data: bytes, shown: str) -> tuple[str, str] | BadInput:
    """Text and codec by byte order mark, PEP 263 cookie or UTF-8: what Python itself does."""
    here = Span(shown, 1, 1, 1, 1)
    cookie = _cookie(data)
    if data.startswith(codecs.BOM_UTF8):
        if cookie is not None and _codec(cookie) not in ("utf-8", "utf-8-sig"):
            message = f"starts with a UTF-8 byte order mark but declares `{cookie}`; Python will refuse this file"
            return BadInput("unreadable-file", message, here)
        codec = "utf-8-sig"
    elif cookie is None:
        codec = "utf-8"
    else:
        known = _codec(cookie)
        if known is None:
            message = f"declares the unknown encoding `{cookie}`; Python will refuse this file"
            return BadInput("unreadable-file", message, here)
        codec = known
    try:
        return data.decode(codec), codec
    except UnicodeError as error:
        if codec == "utf-8" and cookie is None:
            message = "not UTF-8 and no encoding declared; Python will refuse this file"
            guess = _guess(data)
            if guess is not None:
                message += f" (it decodes as {guess})"
        elif cookie is None:
            message = "starts with a UTF-8 byte order mark but is not UTF-8; Python will refuse this file"
        else:
            message = f"not valid in the encoding it declares, `{cookie}`; Python will refuse this file"
        return BadInput("unreadable-file", message, _byte_span(data, error, codec, shown))


def _byte_span(data: bytes, error: UnicodeError, codec: str, shown: str) -> Span:
    """Where the first byte that does not decode stands."""
    if not isinstance(error, UnicodeDecodeError):
        return Span(shown, 1, 1, 1, 1)
    # `utf-8-sig` counts from after the mark.
    before = data.removeprefix(codecs.BOM_UTF8)[: error.start].decode(codec.removesuffix("-sig"), "replace")
    lines = _NEWLINE.split(before)
    line, column = len(lines), len(lines[-1]) + 1
    return Span(shown, line, column, line, column + 1)


def _cookie(data: bytes) -> str | None:
    """The encoding that one of the first two lines declares."""
    for line in data.removeprefix(codecs.BOM_UTF8)[:2000].splitlines()[:2]:
        found = _COOKIE.match(line)
        if found:
            return found.group(1).decode("ascii", "replace")
        if not _BLANK.match(line):
            return None
    return None


def _codec(name: str) -> str | None:
    """Python's own name of a text encoding."""
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    return info.name if getattr(info, "_is_text_encoding", True) else None


def _guess(data: bytes) -> str | None:
    """A likely encoding of bytes that are not UTF-8, for the message only."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    try:
        data.decode("gb18030")
    except UnicodeError:
        return None
    # Latin-1 text often decodes as GB18030 by accident: an accented letter then pairs with an ASCII one. In Chinese
    # text nearly all pairs consist of two high bytes.
    high = len(re.findall(rb"[\x80-\xff]", data))
    paired = 2 * len(re.findall(rb"[\xa1-\xfe][\xa1-\xfe]", data))
    return "GB18030" if paired >= 0.8 * high else None
