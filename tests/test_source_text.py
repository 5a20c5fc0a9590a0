"""Decoding, parsing, spans."""

from __future__ import annotations

import ast
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modellint.facts.reading import BadInput
from modellint.facts.span import Span
from modellint.source.text import SourceText, lenient_lines, mentions_torch, parse_bytes, read_text, shown_path


def parse(data: bytes | str) -> SourceText | BadInput:
    return parse_bytes(data.encode() if isinstance(data, str) else data, Path("x.py"), "x.py")


def good(data: bytes | str) -> SourceText:
    source = parse(data)
    assert isinstance(source, SourceText), source
    return source


def bad(data: bytes | str) -> BadInput:
    source = parse(data)
    assert isinstance(source, BadInput)
    return source


def test_empty_file_has_one_empty_line() -> None:
    source = good(b"")
    assert source.lines == [""]
    assert source.tree.body == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_newlines(newline: str) -> None:
    source = good(newline.join(["x = 1", "", "y = f(", "  x)", ""]))
    assert source.lines == ["x = 1", "", "y = f(", "  x)", ""]
    assert source.span(source.tree.body[1]) == Span("x.py", 3, 1, 4, 5)


def test_only_newlines_of_python_split_lines() -> None:
    source = good("a = '\x0b\x0c\x1c\u2028\x85'\nb = 2\n")
    assert len(source.lines) == 3
    assert source.span(source.tree.body[1]).line == 2


def test_byte_order_mark_does_not_move_columns() -> None:
    source = good(b"\xef\xbb\xbfx = torch\r\n")
    assert source.encoding == "utf-8-sig"
    assert source.text.startswith("x")
    statement = source.tree.body[0]
    assert isinstance(statement, ast.Assign)
    assert source.span(statement.value) == Span("x.py", 1, 5, 1, 10)


@pytest.mark.parametrize("cookie", ["# -*- coding: gbk -*-", "#!/usr/bin/python\n# vim: set fileencoding=gbk :"])
def test_gbk_with_a_cookie(cookie: str) -> None:
    source = good(f"{cookie}\nname = '\u6a21\u578b'; y = name\n".encode("gbk"))
    assert source.encoding == "gbk"
    first, second = source.tree.body
    assert source.segment(first) == "name = '\u6a21\u578b'"
    assert source.span(second).column == 14


def test_gbk_without_a_cookie() -> None:
    found = bad("import torch\n# \u6a21\u578b\u7684\u8bad\u7ec3\n".encode("gbk"))
    assert found.rule == "unreadable-file"
    assert found.message == ("not UTF-8 and no encoding declared; Python will refuse this file (it decodes as GB18030)")
    # The first character happens to be valid UTF-8.
    assert found.span == Span("x.py", 2, 4, 2, 5)


def test_latin_1_is_not_called_gb18030() -> None:
    assert bad("# caf\xe9 au lait, na\xefve, \xfcber\n".encode("latin-1")).message == (
        "not UTF-8 and no encoding declared; Python will refuse this file"
    )


def test_utf_16() -> None:
    assert bad("import torch\n".encode("utf-16")).message.endswith("(it decodes as UTF-16)")


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"# coding: no-such\n", "unknown encoding `no-such`"),
        (b"# coding: hex\n", "unknown encoding `hex`"),
        (b"# coding: utf-8\nx = '\xff'\n", "not valid in the encoding it declares, `utf-8`"),
        (b"\xef\xbb\xbf# coding: gbk\n", "byte order mark but declares `gbk`"),
        (b"\xef\xbb\xbfx = '\xff'\n", "byte order mark but is not UTF-8"),
    ],
)
def test_what_python_refuses_to_decode(data: bytes, part: str) -> None:
    found = bad(data)
    assert found.rule == "unreadable-file"
    assert part in found.message
    with pytest.raises(SyntaxError):
        compile(data, "x.py", "exec")


def test_a_cookie_below_code_is_a_comment() -> None:
    assert good(b"x = 1\n# coding: gbk\n").encoding == "utf-8"


def test_syntax_error_has_pythons_words_and_place() -> None:
    found = bad("import torch\nx = '\u6a21' + (\n")
    assert found == BadInput("syntax-error", "'(' was never closed", Span("x.py", 2, 11, 2, 12))


def test_null_bytes() -> None:
    found = bad(b"import torch\nx = 1\0\n")
    assert found == BadInput("syntax-error", "source code string cannot contain null bytes", Span("x.py", 2, 6, 2, 7))


@pytest.mark.parametrize("text", ["x = " + "(" * 2000 + ")" * 2000, "x = " + "-" * 200_000 + "1"])
def test_too_deep(text: str) -> None:
    assert bad(text).rule == "too-deep"


@pytest.mark.parametrize(
    "text",
    ["x = " + " + ".join(["1"] * 900), "if a:\n    pass\n" + "".join(f"elif b{i}:\n    pass\n" for i in range(500))],
)
def test_long_but_valid(text: str) -> None:
    # On Python 3.12 and later the depth that ast.parse allows depends on the stack; the reader brings a large one.
    result = parse(text)
    assert isinstance(result, SourceText) or sys.version_info >= (3, 12)


def test_invalid_escapes_do_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good("import re\nx = '\\d'\n")


def test_segment_collapses_several_lines() -> None:
    source = good("y = f(a,\n      b,\n   c)\n")
    assert source.segment(source.tree.body[0]) == "y = f(a, b, c)"


def test_segment_leaves_comments_out() -> None:
    source = good("y = f(\n    a,  # the first\n    # and\n    '# no comment',\n)\nz = [  # two\n    1]\n")
    assert [source.segment(statement) for statement in source.tree.body] == ["y = f( a, '# no comment', )", "z = [ 1]"]


def test_read_text_of_what_is_no_file(tmp_path: Path) -> None:
    found = read_text(tmp_path, "folder.py")
    assert isinstance(found, BadInput)
    assert (found.rule, found.message) == ("unreadable-file", "cannot be read: Is a directory")
    (tmp_path / "link.py").symlink_to("nowhere")
    found = read_text(tmp_path / "link.py", "link.py")
    assert isinstance(found, BadInput)
    assert found.message == "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("data", "mentions"),
    [
        (b"import torch\n", True),
        (b"from torchvision import models", True),
        (b"import my_torch_code", True),
        (b"import pytorch_lightning as pl", True),
        (b"from lightning import Trainer", True),
        (b"from transformers import AutoModel", True),
        (b"  import timm", True),
        (b"import numpy\n# fast as lightning, it transforms\n", False),
        (b"# like pytorch, without it", False),
        (b"storch = 1", False),
        (b"", False),
    ],
)
def test_mentions_torch(data: bytes, mentions: bool) -> None:
    assert mentions_torch(data) is mentions


def test_lenient_lines_show_what_does_not_decode() -> None:
    assert lenient_lines(b"a\r\nb\xff\n") == ["a", "b\ufffd", ""]
    assert lenient_lines("# coding: gbk\n# \u6a21".encode("gbk")) == ["# coding: gbk", "# \u6a21"]


def test_shown_path(tmp_path: Path) -> None:
    assert shown_path(tmp_path / "a" / "b.py", tmp_path) == "a/b.py"
    assert shown_path(tmp_path / "b.py", tmp_path / "a") == (tmp_path / "b.py").as_posix()


@given(st.lists(st.text("ab\u00e9\u6a21\U0001f600 '", max_size=12), min_size=1, max_size=5))
def test_spans_cut_out_exactly_the_node(names: list[str]) -> None:
    text = "; ".join(f"{name!r}" for name in names) + "\n"
    source = good(text)
    for statement, name in zip(source.tree.body, names, strict=True):
        span = source.span(statement)
        assert source.lines[0][span.column - 1 : span.end_column - 1] == repr(name)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_source_or_one_line(data: bytes) -> None:
    result = parse(data)
    if isinstance(result, BadInput):
        assert "\n" not in result.message
        assert result.span.line >= 1
        assert result.span.column >= 1
        assert (result.span.end_line, result.span.end_column) >= (result.span.line, result.span.column)
    else:
        for node in ast.walk(result.tree):
            if hasattr(node, "lineno"):
                result.segment(node)
