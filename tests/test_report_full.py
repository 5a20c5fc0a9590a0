"""What a person reads in a terminal: the drawn session to the letter, and awkward source under the carets."""

from __future__ import annotations

import re
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_cases import FILES, at, failure, finding, report, twin_findings

from modellint.facts.reading import NotFollowed
from modellint.facts.span import Span
from modellint.finding import Edit, Fix, FlowStep, Level, Note, Safety
from modellint.report import FORMATS, render
from modellint.report.cells import width

GOLDEN = Path(__file__).parent / "report_golden"


def frame_of(source: str, span: Span, **changes: object) -> list[str]:
    """The rows of one finding over one file, without its first line and the summary."""
    text = render("full", report([finding(span, **changes)], {span.path: source}), verbosity=-1)
    return text.splitlines()[1:]


def underlined(rows: list[str]) -> str:
    """What stands above the carets, told apart by cells and not by characters."""
    caret = next(row for row in rows if "^" in row)
    source = rows[rows.index(caret) - 1]
    begin, end = caret.index("^"), caret.rindex("^") + 1
    starts = [width(source[:index]) for index in range(len(source))]
    return "".join(character for start, character in zip(starts, source, strict=True) if begin <= start < end)


def test_the_drawn_session_to_the_letter() -> None:
    expected = (GOLDEN / "twin.full.txt").read_text(encoding="utf-8")
    assert render("full", report(twin_findings())) == expected


def test_colour_adds_nothing_but_colour() -> None:
    plain = render("full", report(twin_findings()))
    colored = render("full", report(twin_findings()), color=True)
    assert colored != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@pytest.mark.parametrize(
    ("source", "text", "column", "expected"),
    [
        ("x = 'gpu'", "'gpu'", 5, "   |     ^^^^^"),
        ("名前 = 'gpu'", "'gpu'", 6, "   |        ^^^^^"),  # two CJK characters take four cells
        ("x = '图形'", "'图形'", 5, "   |     ^^^^^^"),
        ("\tx = 'gpu'", "'gpu'", 6, "   |         ^^^^^"),  # a tab goes to cell 4
        ("ab\tx = 'gpu'", "'gpu'", 8, "   |         ^^^^^"),  # and so does one that begins in cell 2
        ("e\u0301 = 'gpu'", "'gpu'", 6, "   |     ^^^^^"),  # a combining accent takes none
        ("a\u200bb = 'gpu'", "'gpu'", 7, "   |      ^^^^^"),  # nor does a zero-width space
        ("s = '\U0001f600'; x", "x", 10, "   |           ^"),  # an emoji takes two
    ],
)
def test_carets_stand_under_the_cells_of_the_span(source: str, text: str, column: int, expected: str) -> None:
    rows = frame_of(source, Span("a.py", 1, column, 1, column + len(text)))
    assert source[column - 1 : column - 1 + len(text)] == text
    assert expected.replace("   |", "  |", 1) in rows


def test_line_endings_are_not_drawn() -> None:
    rows = frame_of("x = 1\r\ny = 2\r\n", Span("a.py", 2, 1, 2, 2))
    assert rows == [" --> a.py:2:1", "  |", "2 | y = 2", "  | ^"]


def test_several_labels_on_one_line_get_a_row_each() -> None:
    source = "loss = criterion(model(x), y)"
    rows = frame_of(
        source,
        Span("a.py", 1, 8, 1, 30),
        label="outer",
        related=(
            Note(Span("a.py", 1, 18, 1, 26), "overlaps it", 1),
            Note(Span("a.py", 1, 1, 1, 5), "stands before it"),
            Note(Span("a.py", 1, 1, 1, 5), "stands before it"),
        ),
    )
    assert rows[2:] == [
        "1 | loss = criterion(model(x), y)",
        "  |        ^^^^^^^^^^^^^^^^^^^^^^ outer",
        "  | ---- stands before it",
        "  |                  -------- (1) overlaps it",
    ]


def test_a_span_over_lines_marks_the_first() -> None:
    rows = frame_of("f(\n    1,\n)\n", Span("a.py", 1, 1, 3, 2), label="the call")
    assert rows[2:] == ["1 | f(", "  | ^^ the call (to line 3)"]


def test_one_line_between_is_shown_and_more_are_elided() -> None:
    source = "\n".join(f"line{number}" for number in range(1, 13))
    related = (Note(Span("a.py", 3, 1, 3, 3), "near"), Note(Span("a.py", 12, 1, 12, 3), "far"))
    rows = frame_of(source, Span("a.py", 1, 1, 1, 6), related=related)
    assert rows[2:] == [
        " 1 | line1",
        "   | ^^^^^",
        " 2 | line2",
        " 3 | line3",
        "   | -- near",
        "...",
        "12 | line12",
        "   | -- far",
    ]


@pytest.mark.parametrize("column", [7, 8, 40])
def test_a_span_at_the_end_of_the_file(column: int) -> None:
    rows = frame_of("x = 'a'", Span("a.py", 1, column, 1, column))
    assert rows[2] == "1 | x = 'a'"
    assert rows[3] == "  | " + " " * min(column - 1, 7) + "^"


@pytest.mark.parametrize("files", [{}, {"a.py": ""}, {"a.py": "only = 1\n"}])
def test_a_file_that_changed_or_went_away(files: dict[str, str]) -> None:
    note = Note(Span("b.py", 9, 1, 9, 4), "in a file that never was")
    text = render("full", report([finding(Span("a.py", 7, 3, 7, 9), label="gone", related=(note,), why="w")], files))
    assert text.splitlines()[:12] == [
        "error[invalid-device]: torch knows no device `gpu`",
        " --> a.py:7:3",
        "  |",
        "7 | (this line is not in the file)",
        "  | ^ gone",
        "  |",
        " ::: b.py:9:1",
        "  |",
        "9 | (this line is not in the file)",
        "  | - in a file that never was",
        "  |",
        "  = why: w",
    ]


def test_without_source_and_label_the_place_is_enough() -> None:
    span = Span("a.py", 1, 1, 1, 1)
    rows = frame_of("", span, rule="unreadable-file", message="not UTF-8")
    assert rows == [" --> a.py:1:1"]


def test_wide_lines_are_cut_around_the_span() -> None:
    source = f"x = [{'1, ' * 60}TARGET, {'2, ' * 60}]"
    column = source.index("TARGET") + 1
    rows = frame_of(source, Span("a.py", 1, column, 1, column + 6))
    line, caret = rows[2], rows[3]
    assert width(line) <= 4 + 160
    assert line[4:7] == "..."
    assert line.endswith("...")
    assert line[caret.index("^") : caret.rindex("^") + 1] == "TARGET"


def test_wide_lines_are_cut_at_one_end_only_where_the_span_is_at_the_other() -> None:
    source = "START" + " + 1" * 100 + " + END"
    first = frame_of(source, Span("a.py", 1, 1, 1, 6))
    last = frame_of(source, Span("a.py", 1, len(source) - 2, 1, len(source) + 1))
    assert first[2].startswith("1 | START")
    assert first[2].endswith("...")
    assert last[2].startswith("1 | ...")
    assert last[2][last[3].index("^") :] == "END"


def test_a_wide_line_with_far_spans_is_drawn_once_for_each() -> None:
    source = f"FIRST = {'x + ' * 200}LAST"
    begin = len(source) - 3
    note = Note(Span("a.py", 1, begin, 1, begin + 4), "there")
    rows = frame_of(source, Span("a.py", 1, 1, 1, 6), label="here", related=(note,))
    assert [row[:9] for row in rows[2:]] == ["1 | FIRST", "  | ^^^^^", "1 | ...+ ", "  |      "]
    assert rows[4][rows[5].index("-") :] == "LAST"


def test_a_wide_line_of_wide_characters() -> None:
    source = f"x = '{'图' * 200}' + TARGET + '{'形' * 200}'"
    column = source.index("TARGET") + 1
    rows = frame_of(source, Span("a.py", 1, column, 1, column + 6))
    assert width(rows[2]) <= 4 + 160
    assert underlined(rows) == "TARGET"


def test_a_span_wider_than_the_window() -> None:
    source = "f(" + "1, " * 500 + ")"
    rows = frame_of(source, Span("a.py", 1, 1, 1, len(source) + 1))
    assert width(rows[2]) <= 4 + 160
    assert width(rows[3].rstrip()) <= 4 + 160


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_nothing_a_terminal_would_obey_comes_through(format_name: str) -> None:
    evil = "a\x1b]0;owned\x07\x9b31m\u202e\udc80\r.py"
    files = {evil: "x = '\x1b[2J\x07\u202e\x9b'\n"}
    span = Span(evil, 1, 1, 1, 3)
    bad = finding(
        span,
        message="`\x1b[2J` is\nodd",
        label="\x1b[1m",
        why="\x1bc",
        help="\x08\x08",
        notes=("\x7f",),
        related=(Note(span, "\x9b"),),
        flow=(FlowStep(span, "\x1b"), FlowStep(span, "\u2066")),
    )
    not_followed = (NotFollowed(span, "\x1b", "\x9b"),)
    text = render(
        format_name,
        report([bad], files, suppressed=((bad, "\x1b"),), not_followed=not_followed, paths=(evil,)),
        verbosity=1,
    )
    odd = {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    assert odd == set()
    assert not set(text) & set("\u202e\u2066")
    text.encode("utf-8")


def test_markup_of_other_libraries_is_plain_text() -> None:
    rows = frame_of("x = d['[red]key[/red]']", Span("a.py", 1, 1, 1, 2))
    assert rows[2] == "1 | x = d['[red]key[/red]']"


@given(
    lines=st.lists(st.text(max_size=200), max_size=4),
    places=st.lists(st.tuples(*[st.integers(-1, 300)] * 4), min_size=1, max_size=4),
    repeat=st.integers(1, 40),
)
def test_any_source_and_any_span_can_be_drawn(
    lines: list[str], places: list[tuple[int, int, int, int]], repeat: int
) -> None:
    spans = [Span("a.py", *place) for place in places]
    related = tuple(Note(span, "label") for span in spans[1:])
    one = report([finding(spans[0], related=related)], read_lines=lambda path: [line * repeat for line in lines])
    text = render("full", one, verbosity=-1)
    for row in text.splitlines():
        assert width(row) <= 160 + 40
    assert "^" in text or len(text.splitlines()) == 2


def test_footer_order_and_wrapping() -> None:
    span = at("train.py", 24, "criterion(score, target)")
    step = at("train.py", 23, "model(text, image)")
    many = " ".join(f"word{number}" for number in range(60))
    one = finding(
        span,
        flow=(FlowStep(step, "a"), FlowStep(span, "b")),
        seen="first line\nsecond line",
        why=many,
        help="`a b` " * 24,
        notes=("n1", "n2"),
        fix=Fix("title", Safety.DISPLAY, "", (Edit(span, "x"), Edit(at("models/twin.py", 5, "Twin"), "y"))),
    )
    rows = render("full", report([one]), verbosity=-1).splitlines()
    names = [found[1] for row in rows if (found := re.match(r" +(?:=) (\w+): ", row))]
    assert names == ["path", "seen", "why", "help", "fix", "note", "note"]
    assert "   = path: a (train.py:23) -> b (train.py:24)" in rows
    assert rows[rows.index("   = seen: first line") + 1] == "           second line"
    assert max(map(len, rows)) <= 102
    assert all(row.count("`") % 2 == 0 for row in rows)
    assert " ".join(row[10:] for row in rows if "word" in row) == many
    assert "   = fix: shown only, 2 edits in train.py and models/twin.py" in rows


def test_a_long_path_keeps_its_ends_and_counts_the_rest() -> None:
    steps = tuple(FlowStep(Span("a.py", number, 1, number, 2), f"step{number}(...)") for number in range(1, 31))
    rows = render("full", report([finding(steps[-1].span, flow=steps)]), verbosity=-1).splitlines()
    path = [row for row in rows if "step" in row]
    assert len(path) == 2
    text = " ".join(row.strip() for row in path)
    assert text.startswith("= path: step1(...) (a.py:1) -> step2(...) (a.py:2)")
    assert text.endswith("step30(...) (a.py:30)")
    found = re.search(r"-> \((\d+) more\) ->", text)
    assert found
    assert text.count("step") + int(found[1]) == 30


def many(count: int) -> list[object]:
    names = ["invalid-device", "missing-eval", "shared-batchnorm"]
    return [finding(Span("train.py", 1 + number // 2, 1, 1 + number // 2, 3), rule=names[number % 3])
            for number in range(count)]  # fmt: skip


def test_thirty_findings_are_shown_in_full() -> None:
    some = report(many(30))  # type: ignore[arg-type]
    assert render("full", some, explicit=False) == render("full", some, explicit=True)


def test_more_than_thirty_are_shown_shorter_unless_full_was_asked_for() -> None:
    some = report(many(31))  # type: ignore[arg-type]
    short = render("full", some, explicit=False)
    assert short.count("-->") == 3
    assert "The source of 28 findings is hidden; --output-format full shows all\n" in short
    assert all(f"  {span.line}:{span.column}  " in short for span in (each.span for each in some.findings))
    assert render("full", some).count("-->") == 31


def test_a_thousand_findings_render_in_a_tenth_of_a_second() -> None:
    some = report([each for _ in range(250) for each in twin_findings()])
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        render("full", some)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.1


def test_quiet_and_silent() -> None:
    some = report(twin_findings(), failures=(failure(),))
    quiet = render("full", some, verbosity=-1)
    assert "Found" not in quiet
    assert "internal error: rule shared-batchnorm" in quiet
    assert render("full", some, verbosity=-2) == ""
    assert render("full", report(), verbosity=-1) == ""


def test_levels_are_said_in_words() -> None:
    for level in Level:
        text = render("full", report([finding(at("train.py", 21, "model.train()"), level=level)]))
        assert text.startswith(f"{level.value}[invalid-device]: ")
        assert f"Found 1 {level.value} in 1 file" in text


def test_files_are_read_once() -> None:
    asked: list[str] = []

    def read(path: str) -> list[str]:
        asked.append(path)
        return FILES[path].split("\n")

    render("full", report(twin_findings(), read_lines=read))
    assert sorted(asked) == ["models/twin.py", "train.py"]
