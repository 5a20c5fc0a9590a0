"""Every format but `full` and `sarif`, and the lines that sum up a run."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from report_cases import FILES, at, failure, finding, report, twin_findings

import modellint
from modellint.facts.reading import NotFollowed
from modellint.facts.span import Span
from modellint.finding import Level, Note, RuleFailure
from modellint.report import FORMATS, render
from modellint.report.github import step_summary
from modellint.report.model import Options
from modellint.report.summary import closing, hint_line, summary_line

GOLDEN = Path(__file__).parent / "report_golden"

LISTED = Options(verbosity=1)


@pytest.mark.parametrize("format_name", ["concise", "grouped", "statistics"])
def test_golden(format_name: str) -> None:
    expected = (GOLDEN / f"twin.{format_name}.txt").read_text(encoding="utf-8")
    assert render(format_name, report(twin_findings())) == expected


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_a_report_without_findings(format_name: str) -> None:
    text = render(format_name, report())
    assert text.endswith("\n")
    if format_name in ("json", "sarif"):
        assert json.loads(text)
    elif format_name != "json-lines":
        assert text == "All clear: 4 files checked, 18 rules (1 file without torch skipped)\n"


def test_an_unknown_format() -> None:
    with pytest.raises(KeyError):
        render("xml", report())


def test_formats_are_loaded_when_they_are_asked_for() -> None:
    code = """
import sys
from modellint.report import FORMATS, render
assert not any(module in sys.modules for module in FORMATS.values())
from report_cases import report, twin_findings
for name in FORMATS:
    render(name, report(twin_findings()))
print(sorted({"torch", "libcst", "click"} & set(sys.modules)))
"""
    here = Path(__file__).parent
    path = [str(here), str(here.parent)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.stdout) == ("", "[]\n")


# The last lines


def test_all_clear() -> None:
    assert summary_line(report(checked=41, rules=38, skipped=12)) == (
        "All clear: 41 files checked, 38 rules (12 files without torch skipped)"
    )
    assert summary_line(report(checked=1, rules=1, skipped=0)) == "All clear: 1 file checked, 1 rule"


def test_nothing_that_uses_torch() -> None:
    nothing = report(checked=0, skipped=11, ignored=3, paths=("docs",))
    assert summary_line(nothing) == "No Python files that use torch under docs (14 files seen, 3 ignored)"
    two = report(checked=0, skipped=1, paths=("a", "b"))
    assert summary_line(two) == "No Python files that use torch under a and b (1 file seen)"
    five = report(checked=0, skipped=0, paths=("a", "b", "c", "d", "e"))
    assert summary_line(five) == "No Python files that use torch under a, b and 3 other paths (0 files seen)"
    assert " under . (" in summary_line(report(checked=0, paths=()))


def test_found() -> None:
    assert summary_line(report(twin_findings())) == (
        "Found 3 errors, 1 warning in 2 files (4 checked, 1 without torch skipped)"
    )
    some = report(twin_findings()[:1], failures=(failure(),), checked=41, skipped=0)
    assert summary_line(some) == "Found 1 error, 1 rule failure in 2 files (41 checked)"
    unread = report(failures=(failure(), RuleFailure("reader", "b.py", 0, "KeyError")), checked=41, skipped=0)
    assert summary_line(unread) == "Found 1 reader failure, 1 rule failure in 2 files (41 checked)"
    assert closing(unread, Options())[1].startswith(
        "internal error: the reader failed on b.py (KeyError); the other files"
    )
    note = replace(twin_findings()[0], level=Level.NOTE)
    assert summary_line(report([note])).startswith("Found 1 note in 1 file (")
    many = report([note], checked=1234, skipped=0)
    assert summary_line(many) == "Found 1 note in 1 file (1,234 checked)"


def test_a_failure_without_a_place() -> None:
    nowhere = report(failures=(RuleFailure("unused-module", "", 0, "KeyError"),), skipped=0)
    assert closing(nowhere, Options()) == [
        "internal error: rule unused-module failed (KeyError); the other rules ran. Please report it",
        "Found 1 rule failure (4 checked)",
    ]


def test_silenced_findings_are_counted_and_listed_on_demand() -> None:
    silenced = report(suppressed=((twin_findings()[1], "kept for old checkpoints"),), skipped=0)
    assert closing(silenced, Options()) == ["All clear: 4 files checked, 18 rules (1 finding silenced by comments)"]
    assert closing(silenced, LISTED)[0] == "silenced: models/twin.py:12:20: unused-module (kept for old checkpoints)"


def test_what_was_not_followed_is_listed_on_demand() -> None:
    gap = report(not_followed=(NotFollowed(at("train.py", 24, "target"), "target", "loader is a parameter"),))
    assert closing(gap, LISTED)[0] == "not followed: train.py:24:37: `target` (loader is a parameter)"
    assert not any("not followed" in line for line in closing(gap, Options()))


def test_the_hint() -> None:
    shared, unused, missing, _ = twin_findings()
    safe = replace(unused, fix=replace(missing.fix, safety=modellint.finding.Safety.SAFE))  # type: ignore[type-var]
    shown = replace(unused, fix=replace(missing.fix, safety=modellint.finding.Safety.DISPLAY))  # type: ignore[type-var]
    bad = finding(Span("a.py", 1, 1, 1, 1), rule="syntax-error")
    assert hint_line(report([shared])) == "Read more: modellint explain shared-batchnorm"
    assert hint_line(report([bad, missing])) == (
        "1 fix with --fix --unsafe-fixes. Read more: modellint explain missing-eval"
    )
    assert hint_line(report([safe])).startswith("1 fix with --fix. ")
    assert hint_line(report([safe, missing])).startswith("1 fix with --fix, 1 more with --unsafe-fixes. ")
    assert hint_line(report([shown])) == "Read more: modellint explain unused-module"
    assert hint_line(report([bad])) == ""


# json and json-lines


def schema() -> dict[str, object]:
    text = importlib.resources.files("modellint.report").joinpath("schema/findings.schema.json").read_text("utf-8")
    loaded: dict[str, object] = json.loads(text)
    return loaded


def everything() -> list[object]:
    """A report in which every field says something."""
    evident = replace(twin_findings()[0], evidence={"module": "norm", "step": 1}, seen="norm ran 240 times")
    bad = finding(Span("a.py", 1, 1, 1, 1), rule="syntax-error")
    all_of_it = report(
        (bad, evident, *twin_findings()[1:]),
        failures=(failure(),),
        suppressed=((finding(at("train.py", 17, "Twin")), "known"),),
    )
    return [all_of_it, report(), report(failures=(RuleFailure("unused-module", "", 0, "KeyError"),))]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_json_is_what_its_schema_says(number: int) -> None:
    known = schema()
    jsonschema.Draft202012Validator.check_schema(known)
    text = render("json", everything()[number])  # type: ignore[arg-type]
    jsonschema.validate(json.loads(text), known)
    assert text.isascii()


def test_the_schema_refuses_what_lacks_a_key_or_has_one_more() -> None:
    document = json.loads(render("json", report(twin_findings())))
    validator = jsonschema.Draft202012Validator(schema())
    for key in list(document["findings"][3]):
        changed = json.loads(json.dumps(document))
        del changed["findings"][3][key]
        assert not validator.is_valid(changed), key
    document["findings"][3]["extra"] = 1
    assert not validator.is_valid(document)


def test_json_says_everything() -> None:
    document = json.loads(render("json", everything()[0]))  # type: ignore[arg-type]
    assert document["version"] == 1
    assert document["tool"] == {"name": "modellint", "version": modellint.__version__}
    assert document["summary"] == {
        "error": 4, "warning": 1, "note": 0, "suppressed": 1, "baselined": 0, "checked": 4, "skipped": 1,
    }  # fmt: skip
    assert document["failures"] == [
        {"rule": "shared-batchnorm", "path": "lib/big.py", "line": 88, "message": "RecursionError"}
    ]
    findings = {each["rule"]: each for each in document["findings"]}
    shared = findings["shared-batchnorm"]
    assert shared["range"] == {"start": {"line": 8, "column": 21}, "end": {"line": 8, "column": 38}}
    assert (shared["path"], shared["cell"], shared["fix"], shared["suppressed"]) == ("models/twin.py", None, None, None)
    assert shared["evidence"] == {"module": "norm", "step": 1}
    assert shared["related"][0] == {
        "path": "models/twin.py",
        "cell": None,
        "range": {"start": {"line": 9, "column": 57}, "end": {"line": 9, "column": 66}},
        "label": "1st use: output of Linear(32, 64)",
        "order": None,
        "cause": True,
    }
    sigmoid = findings["sigmoid-before-logits-loss"]
    assert sigmoid["flow"][0]["text"] == "torch.sigmoid"
    assert sigmoid["order"] == 3
    assert sigmoid["notes"] == ["same cause at train.py:12:22"]
    assert sigmoid["fix"]["safety"] == "unsafe"
    assert sigmoid["fix"]["edits"][0]["text"] == "self.head(z)"
    assert findings["invalid-device"]["suppressed"] == {"by": "comment", "reason": "known"}
    places = [(each["path"], each["range"]["start"]["line"]) for each in document["findings"]]
    assert places == sorted(places)


def test_json_lines_are_the_findings_and_then_the_rest() -> None:
    whole = json.loads(render("json", everything()[0]))  # type: ignore[arg-type]
    lines = render("json-lines", everything()[0]).splitlines()  # type: ignore[arg-type]
    objects = [json.loads(line) for line in lines]
    assert objects[:-1] == whole.pop("findings")
    assert objects[-1] == whole


def test_silencing_one_finding_leaves_the_fingerprints_of_the_others() -> None:
    files = {"a.py": "f('gpu')\nf('gpu')\n"}
    first, second = (finding(Span("a.py", line, 3, line, 8)) for line in (1, 2))
    both = json.loads(render("json", report([first, second], files)))["findings"]
    one = json.loads(render("json", report([second], files, suppressed=((first, "r"),))))["findings"]
    assert [each["fingerprint"] for each in both] == [each["fingerprint"] for each in one]


# github


def commands_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("::")]


def test_github_is_the_full_report_and_annotations() -> None:
    text = render("github", report(twin_findings()))
    assert text.startswith(render("full", report(twin_findings())))
    lines = commands_of(text)
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::error", "::warning"]
    assert lines[0].startswith(
        "::error title=shared-batchnorm,file=models/twin.py,line=8,endLine=8,col=21,endColumn=38::"
        "one `BatchNorm1d` normalises two different inputs%0A  1st use models/twin.py:9: output of Linear(32, 64)%0A"
    )
    assert "%0A  called from here, no eval() in between (train.py:28)%0A" in lines[1]


def test_github_shows_ten_of_a_level_and_counts_the_rest() -> None:
    place = Span("train.py", 1, 1, 1, 7)
    levels = [Level.ERROR] * 12 + [Level.WARNING] * 3 + [Level.NOTE] * 10
    text = render("github", report([finding(place, level=level) for level in levels]))
    lines = commands_of(text)
    assert [sum(line.startswith(f"::{name} ") for line in lines) for name in ("error", "warning", "notice")] == [
        10, 3, 9,
    ]  # fmt: skip
    assert lines[-1] == (
        "::notice::modellint: 25 findings, 22 shown as annotations (GitHub's limit per step); "
        "all of them are in the log above"
    )
    exactly = render("github", report([finding(place)] * 10))
    assert len(commands_of(exactly)) == 10


def test_github_escapes_what_would_end_a_command() -> None:
    odd = finding(Span("a,b:c%.py", 1, 1, 2, 5), message="50% of\nit", related=(Note(Span("x.py", 1, 1, 1, 2), ""),))
    (line,) = commands_of(render("github", report([odd], {})))
    assert line == ("::error title=invalid-device,file=a%2Cb%3Ac%25.py,line=1,endLine=2::50%25 of%0Ait%0A  x.py:1")


@pytest.mark.parametrize("source", ["x = 1  # ##[error]no", "x = '''\n::error::no\n'''"])
def test_source_is_no_workflow_command(source: str) -> None:
    odd = finding(Span("a.py", 1, 1, 1, 2), why="\n::set-output name=a::b", help="##[error]no")
    text = render("github", report([odd], {"a.py": source}))
    lines = text.splitlines()
    assert lines[0].startswith("::stop-commands::")
    token = lines[0].removeprefix("::stop-commands::")
    end = lines.index(f"::{token}::")
    assert lines[end + 1].startswith("::error title=")
    assert "##[" in "\n".join(lines[:end])
    assert text == render("github", report([odd], {"a.py": source}))


def test_the_step_summary_is_a_table() -> None:
    rows = step_summary(report([finding(at("train.py", 17, "Twin"), message="`a | b` is <b>bold</b>")])).splitlines()
    assert rows == [
        "**modellint**: Found 1 error in 1 file (4 checked, 1 without torch skipped)",
        "",
        "| place | level | rule | finding |",
        "|---|---|---|---|",
        "| `train.py:17:13` | error | invalid-device | `a \\| b` is &lt;b>bold&lt;/b> |",
    ]


def test_concise_gives_places_in_other_files_their_path_once_each() -> None:
    span = at("train.py", 24, "criterion(score, target)")
    notes = (Note(at("models/twin.py", 16, "torch"), "a"), Note(at("models/twin.py", 16, "torch"), "b"), Note(span, ""))
    text = render("concise", report([finding(span, related=notes)]), verbosity=-1)
    assert text == ("train.py:24:20: error[invalid-device] torch knows no device gpu (also models/twin.py:16:16)\n")


def test_reports_read_the_files_they_were_given() -> None:
    assert report().lines("train.py")[15] == "def train(train_loader, val_loader, epochs):"
    assert report().lines("gone.py") == ()
    assert set(FILES) == {"models/twin.py", "train.py"}
    assert report(twin_findings()).worst is Level.ERROR
    assert report().worst is None
