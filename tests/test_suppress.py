"""Ignore comments at every place where they count, and those that silence nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_reader

from modellint.finding import Finding, Safety
from modellint.lint import lint
from modellint.report.model import LintReport


@pytest.fixture(autouse=True)
def _small_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small_reader.install(monkeypatch)
    monkeypatch.chdir(tmp_path)


def check(text: str, *, name: str = "x.py") -> LintReport:
    Path(name).write_text("import torch\n" + text)
    return lint()


def shown(report: LintReport) -> list[tuple[str, int]]:
    return [(finding.rule, finding.span.line) for finding in report.findings]


HONOURED = {
    "on its line": "x.bug  # modellint: ignore[some-bug] why\n",
    "above": "# modellint: ignore[some-bug] why\nx.bug\n",
    "above, with more comments between": "# modellint: ignore[some-bug] why\n# and on\n\nx.bug\n".replace("\n\n", "\n"),
    "after another comment": "x.bug  # type: ignore  # modellint: ignore[some-bug] why\n",
    "first line of several": "(x  # modellint: ignore[some-bug] why\n .y\n .bug)\n",
    "last line of several": "(x\n .y\n .bug)  # modellint: ignore[some-bug] why\n",
    "above several": "# modellint: ignore[some-bug] why\n(x\n .bug)\n",
    "one of several names": "x.bug  # modellint: ignore[odd-thing, some-bug] why\n",
    "indented": "def f(x):\n    if x:\n        # modellint: ignore[some-bug] why\n        x.bug\n",
    "after a colon": "if x: x.bug  # modellint: ignore[some-bug] why\n",
    "whole file": '# modellint: file-ignore[some-bug] why\n"""Doc."""\nx.bug\n',
}


@pytest.mark.parametrize("text", HONOURED.values(), ids=HONOURED.keys())
def test_honoured(text: str) -> None:
    if "file-ignore" in text:
        Path("x.py").write_text(text + "import torch\n")
        report = lint()
    else:
        report = check(text)
    assert [finding.rule for finding, _ in report.suppressed] == ["some-bug"]
    assert [reason for _, reason in report.suppressed] == ["why"]
    assert [rule for rule, _ in shown(report)] in ([], ["unused-ignore"])


NOT_HONOURED = {
    "two lines above": "# modellint: ignore[some-bug] why\n\nx.bug\n",
    "at the end of the statement above": "y = 1  # modellint: ignore[some-bug] why\nx.bug\n",
    "at the line below": "x.bug\n# modellint: ignore[some-bug] why\n",
    "in a string": "y = '# modellint: ignore[some-bug] why'; x.bug\n",
    "at the class around it": "class A:  # modellint: ignore[some-bug] why\n    x.bug\n",
    "other name": "x.bug  # modellint: ignore[odd-thing] why\n",
    "blanket": "x.bug  # modellint: ignore\n",
    "empty": "x.bug  # modellint: ignore[]\n",
    "noqa": "x.bug  # noqa\n",
    "noqa with the name": "x.bug  # noqa: some-bug\n",
    "file-ignore below code": "x = 1\n# modellint: file-ignore[some-bug] why\nx.bug\n",
}


@pytest.mark.parametrize("text", NOT_HONOURED.values(), ids=NOT_HONOURED.keys())
def test_not_honoured(text: str) -> None:
    report = check(text)
    assert "some-bug" in [rule for rule, _ in shown(report)]
    assert not report.suppressed
    expected = "modellint:" in text and "'" not in text
    assert ("unused-ignore" in [rule for rule, _ in shown(report)]) is expected


def test_header_of_a_compound_statement() -> None:
    """A comment at the header is not one for the body, and the first comment in the body is for the body."""
    report = check("def f(a,\n      b):\n    # modellint: ignore[some-bug] why\n    x.bug\n\nx.odd\n")
    assert shown(report) == [("odd-thing", 7)]


def test_byte_order_mark_and_crlf() -> None:
    Path("x.py").write_bytes(b"\xef\xbb\xbfimport torch\r\nx.bug  # modellint: ignore[some-bug] why\r\n")
    report = lint()
    assert shown(report) == []
    assert len(report.suppressed) == 1


def test_at_a_cause_in_another_file() -> None:
    Path("a.py").write_text("import torch\nx.cause  # modellint: ignore[effect] meant so\n")
    Path("b.py").write_text("import torch\nx.effect\n")
    report = lint()
    assert shown(report) == []
    assert [reason for _, reason in report.suppressed] == ["meant so"]


def test_only_what_is_named_is_silenced() -> None:
    report = check("x.bug; x.odd  # modellint: ignore[odd-thing]\n")
    assert shown(report) == [("some-bug", 2)]


def unused(text: str) -> Finding:
    report = check(text)
    (finding,) = [finding for finding in report.findings if finding.rule == "unused-ignore"]
    return finding


@pytest.mark.parametrize(
    ("comment", "message", "mended"),
    [
        ("ignore[some-bug] why", "nothing is silenced here by `ignore[some-bug]`", "x = 1"),
        ("ignore[some-bgu]", "no rule is named `some-bgu`; did you mean `some-bug`", "x = 1"),
        ("ignore", "`# modellint: ignore` names no rule", "x = 1"),
        ("ignore[a, b]", "no rules are named `a`, `b`", "x = 1"),
    ],
)
def test_unused(comment: str, message: str, mended: str) -> None:
    finding = unused(f"x = 1  # modellint: {comment}\n")
    assert finding.message == message
    assert (finding.span.line, finding.span.column) == (2, 8)
    assert mend(finding) == f"import torch\n{mended}\n"


def mend(finding: Finding) -> str:
    """The file after the finding's fix."""
    assert finding.fix is not None
    assert finding.fix.safety is Safety.SAFE
    (edit,) = finding.fix.edits
    lines = Path(edit.span.path).read_text().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    start = starts[edit.span.line - 1] + edit.span.column - 1
    end = starts[edit.span.end_line - 1] + edit.span.end_column - 1
    text = "".join(lines)
    return text[:start] + edit.text + text[end:]


def test_mending_leaves_what_is_used() -> None:
    finding = unused("x.bug  # modellint: ignore[odd-thing, some-bug] why\n")
    assert mend(finding) == "import torch\nx.bug  # modellint: ignore[some-bug] why\n"


def test_mending_takes_a_lone_comment_with_its_line() -> None:
    assert mend(unused("# modellint: ignore[some-bug]\nx = 1\n")) == "import torch\nx = 1\n"


def test_mending_leaves_other_comments() -> None:
    finding = unused("x = 1  # modellint: ignore[some-bug] # type: ignore\n")
    assert mend(finding).splitlines()[1].split() == ["x", "=", "1", "#", "type:", "ignore"]


@pytest.mark.parametrize(
    "text",
    [
        "x = 1  # modellint: ignore[off-thing] not selected here\n",
        "x.crash  # modellint: ignore[crasher] it failed, so nobody knows\n",
    ],
)
def test_not_unused_when_the_rule_did_not_judge(text: str) -> None:
    assert shown(check(text)) == []


def test_unused_ignore_can_be_switched_off() -> None:
    Path("modellint.toml").write_text("ignore = ['unused-ignore']\n")
    assert shown(check("x = 1  # modellint: ignore[some-bug]\n")) == []
    Path("modellint.toml").write_text("select = ['odd-thing']\n")
    assert shown(check("x = 1  # modellint: ignore[odd-thing]\n")) == []


def test_not_unused_where_a_per_file_ignore_took_the_rule_out() -> None:
    Path("modellint.toml").write_text("[per-file-ignores]\n'x.py' = ['some-bug']\n")
    report = check("x.bug  # modellint: ignore[some-bug] why\n")
    assert shown(report) == []
    assert not report.suppressed


def test_a_file_that_does_not_parse_keeps_its_comments_to_itself() -> None:
    report = check("x = (  # modellint: ignore[syntax-error]\n")
    assert shown(report) == [("syntax-error", 2)]
