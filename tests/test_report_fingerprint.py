"""A fingerprint names a finding whatever is edited elsewhere, and tells findings apart."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from report_cases import finding

from modellint.facts.span import Span
from modellint.report.fingerprint import FileOutline, Statement, fingerprints

SOURCE = '''\
import torch

NAME = "größe"; other = torch.device("gpu")


@torch.no_grad()
class Net:  # a comment
    def forward(self, x,
                y=1):  # another
        """Docstring."""
        if x:
            return (x +
                    y)
        elif y:
            z = 1
        else:
            for i in x: print(i)
        try:
            a = 1
        except ValueError:
            b = 2
        finally:
            c = 3
        match x:
            case 1:
                d = 4
'''


def place(text: str, source: str = SOURCE, nth: int = 0) -> Span:
    """The span of a piece of one line."""
    lines = source.split("\n")
    line = [number for number, row in enumerate(lines, 1) if text in row][nth]
    column = lines[line - 1].index(text) + 1
    return Span("a.py", line, column, line, column + len(text))


def statement(text: str) -> Statement:
    return FileOutline(SOURCE.split("\n")).statement(place(text))


def test_the_statement_and_what_is_around_it() -> None:
    assert statement("device") == Statement("", 'other = torch.device("gpu")', (3, 44))
    assert statement("NAME") == Statement("", 'NAME = "größe"', (3, 15))
    assert statement("x +") == Statement("Net.forward", "return (x + y)", (13, 23))
    assert statement("z =").scope == "Net.forward"
    assert statement("print").text == "print(i)"
    assert [statement(f"{name} = {number}").text for name, number in zip("abcd", (1, 2, 3, 4), strict=True)] == [
        "a = 1",
        "b = 2",
        "c = 3",
        "d = 4",
    ]


def test_a_compound_statement_is_its_header_without_comments() -> None:
    assert statement("Net") == Statement("", "class Net:", (7, 11))
    assert statement("no_grad") == Statement("", "class Net:", (7, 11))
    assert statement("forward") == Statement("Net", "def forward(self, x, y=1):", (9, 22))
    assert statement("for i").text == "for i in x:"
    assert statement("match x").text == "match x:"


def test_without_a_statement_the_line_stands_for_itself() -> None:
    outline = FileOutline(["def broken(:", "    x  =   1"])
    assert outline.statement(Span("a.py", 2, 5, 2, 6)) == Statement("", "x = 1", (2, 13))
    assert FileOutline([]).statement(Span("a.py", 3, 1, 3, 2)) == Statement("", "", (3, 1))


def test_it_is_the_digest_that_the_documentation_promises() -> None:
    parts = ("invalid-device", "a.py", "Net.forward", "return (x + y)", "0")
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    assert fingerprints([finding(place("x +"))], lambda path: SOURCE.split("\n")) == [digest]


def digest_of(source: str, text: str, nth: int = 0, **changes: object) -> str:
    return fingerprints([finding(place(text, source, nth), **changes)], lambda path: source.split("\n"))[0]


def test_lines_inserted_above_and_whitespace_do_not_change_it() -> None:
    known = digest_of(SOURCE, "x +")
    assert digest_of("# one\n\n# two\n" + SOURCE.replace("import torch", "import torch\nimport os"), "x +") == known
    assert digest_of(SOURCE.replace("(x +\n                    y)", "(x  + \n y)"), "x  +") == known


def test_another_rule_path_scope_or_statement_changes_it() -> None:
    known = digest_of(SOURCE, "x +")
    others = [
        digest_of(SOURCE, "x +", rule="missing-eval"),
        digest_of(SOURCE.replace("class Net", "class Other"), "x +"),
        digest_of(SOURCE.replace("x +", "x -"), "x -"),
        fingerprints([finding(place("x +")._replace(path="b.py"))], lambda path: SOURCE.split("\n"))[0],
    ]
    assert len({known, *others}) == 5


def test_equal_findings_are_told_apart_by_their_order() -> None:
    source = "f('gpu')\ng()\nf('gpu')\n"
    two = [finding(place("gpu", source, nth)) for nth in (0, 1)]
    first, second = fingerprints(two, lambda path: source.split("\n"))
    assert first != second
    assert fingerprints(two[:1], lambda path: source.split("\n")) == [first]


def test_five_hundred_elif_are_walked() -> None:
    source = "if x == 0:\n    y = 0\n" + "".join(f"elif x == {n}:\n    y = {n}\n" for n in range(1, 501))
    outline = FileOutline(source.split("\n"))
    assert outline.statement(place("y = 500", source)).text == "y = 500"


@given(source=st.text(), line=st.integers(-1, 5), column=st.integers(-1, 40))
def test_any_text_has_statements(source: str, line: int, column: int) -> None:
    span = Span("a.py", line, column, line, column + 1)
    (digest,) = fingerprints([finding(span)], lambda path: source.split("\n"))
    assert len(digest) == 64


@given(
    pieces=st.lists(st.sampled_from(["x = 1", "\r", "\n", "\x0c", "    ", "if x:", "\n    y", "é;", '"""', "\\", "#"])),
    line=st.integers(1, 6),
    column=st.integers(1, 20),
)
def test_odd_line_ends_are_survived(pieces: list[str], line: int, column: int) -> None:
    source = "".join(pieces)
    assert FileOutline(source.split("\n")).statement(Span("a.py", line, column, line, column)).end[0] >= 1
