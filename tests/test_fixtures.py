"""Every fixture is found exactly as it is marked; good code stays silent; the marker harness itself can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from modellint.facts.span import Span
from modellint.finding import Category, Certainty, Finding, Level, Note
from tests.markers import Marker, MarkerError, check_folder, compare, parse_comment, parse_markers, parse_source

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def entries(folder: Path) -> list[Path]:
    """The fixtures directly below a folder: Python files and subfolders."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix == ".py" or (p.is_dir() and p.name[0] not in "._"))


def named(path: Path) -> str:
    return path.relative_to(FIXTURES).as_posix()


PROJECTS = entries(FIXTURES / "projects")
RULE_CASES = [case for rule in entries(FIXTURES / "rules") for case in entries(rule)]
CLEAN = entries(FIXTURES / "clean")
STORIES = ("story_autoencoder", "story_convolution", "story_dropout", "story_regularisation", "story_xor")


@pytest.mark.parametrize("folder", PROJECTS, ids=named)
def test_project(folder: Path) -> None:
    check_folder(folder, ["ALL"])


@pytest.mark.parametrize("case", RULE_CASES, ids=named)
def test_rule_case(case: Path) -> None:
    check_folder(case, [case.parent.name])


@pytest.mark.parametrize("path", CLEAN, ids=named)
def test_clean_file(path: Path) -> None:
    assert parse_markers(path) == [], "clean code carries no markers"
    check_folder(path)


def test_clean_folder_as_a_whole() -> None:
    """Files read together can silence or wake each other; good code stays silent either way."""
    check_folder(FIXTURES / "clean")


def test_the_fixtures_are_there() -> None:
    assert {path.name for path in PROJECTS} >= {"twin", "trainer_class", "factory", *STORIES}
    assert len(CLEAN) >= 25
    assert RULE_CASES


@pytest.mark.parametrize("path", [p for p in PROJECTS if p.name.startswith("story_")], ids=named)
def test_a_story_marks_what_must_be_found(path: Path) -> None:
    assert any(marker.kind == "expect" or marker.kind == "expect-missed" for marker in parse_markers(path))


# The harness.

HERE = Path("fixture.py").resolve()


def found(line: int, rule: str, message: str = "wrong", label: str = "") -> Finding:
    span = Span("fixture.py", line, 1, line, 2)
    return Finding(
        rule=rule,
        category=Category.CORRECTNESS,
        level=Level.ERROR,
        certainty=Certainty.CERTAIN,
        message=message,
        span=span,
        related=(Note(Span("other.py", 7, 3, 7, 9), label),) if label else (),
    )


def test_markers_are_read_from_comments_only() -> None:
    source = 'a = "# expect: not-me"\nb = 1  # expect: one "some text" "more", two\nc = 2  # expect-missed: three\n'
    assert parse_source(source, HERE) == [
        Marker("expect", "one", HERE, 2, ("some text", "more")),
        Marker("expect", "two", HERE, 2),
        Marker("expect-missed", "three", HERE, 3),
    ]


def test_markers_of_two_kinds_share_a_comment() -> None:
    comment = "# why this is wrong  # expect: one  # expect-false: two"
    assert parse_comment(comment, HERE, 4) == [Marker("expect", "one", HERE, 4), Marker("expect-false", "two", HERE, 4)]


def test_markers_survive_a_syntax_error() -> None:
    assert parse_source("x = (1,  # expect: syntax-error\n", HERE) == [Marker("expect", "syntax-error", HERE, 1)]


@pytest.mark.parametrize("comment", ["# expect:", "# expect: One", "# expect: one two", '# expect: one, "text"'])
def test_a_marker_that_cannot_be_read_is_an_error(comment: str) -> None:
    with pytest.raises(MarkerError):
        parse_comment(comment, HERE, 1)


def test_expected_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import torch\n")
    (tmp_path / "expected.txt").write_text("About this folder.\n\na.py:1   # expect: one\n")
    assert parse_markers(tmp_path) == [Marker("expect", "one", (tmp_path / "a.py").resolve(), 1)]
    (tmp_path / "expected.txt").write_text("gone.py:1   # expect: one\n")
    with pytest.raises(MarkerError, match="no such file"):
        parse_markers(tmp_path)


EXPECT = Marker("expect", "one", HERE, 3)


@pytest.mark.parametrize(
    ("markers", "findings", "problem"),
    [
        ([EXPECT], [], "not found"),
        ([], [found(3, "one")], "not marked"),
        ([EXPECT], [found(4, "one")], "not found"),
        ([EXPECT], [found(3, "two")], "not found"),
        ([EXPECT], [found(3, "one"), found(3, "one", "again")], "not marked"),
        ([Marker("expect", "one", HERE, 3, ("flag=True",))], [found(3, "one")], "does not say"),
        ([Marker("expect-missed", "one", HERE, 3)], [found(3, "one")], "make it `expect`"),
        ([Marker("expect-false", "one", HERE, 3)], [], "remove the marker"),
    ],
)
def test_disagreement_is_a_problem(markers: list[Marker], findings: list[Finding], problem: str) -> None:
    assert any(problem in text for text in compare(markers, findings))


@pytest.mark.parametrize(
    ("markers", "findings"),
    [
        ([], []),
        ([EXPECT], [found(3, "one")]),
        ([Marker("expect-missed", "one", HERE, 3)], []),
        ([Marker("expect-false", "one", HERE, 3)], [found(3, "one")]),
        ([EXPECT, Marker("expect", "one", HERE, 3, ("b",))], [found(3, "one", "b"), found(3, "one", "a")]),
        ([Marker("expect", "one", HERE, 3, ("a use", "other.py:7:3"))], [found(3, "one", label="a use")]),
    ],
)
def test_agreement_is_none(markers: list[Marker], findings: list[Finding]) -> None:
    assert compare(markers, findings) == []
