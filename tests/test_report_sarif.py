"""SARIF as code scanning reads it: what the standard and GitHub ask of a log, checked on its structure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_cases import at, failure, finding, report, twin_findings

import modellint
from modellint.facts.loss_use import LossUse
from modellint.facts.span import Span
from modellint.finding import Edit, Fix, Note, Safety
from modellint.report import render, sarif
from modellint.report.model import LintReport
from modellint.rule import Category, Finding, Rule


class MissingEval(Rule):
    """A model is evaluated in training mode.

    Dropout and BatchNorm act as in training.
    """

    category = Category.CORRECTNESS
    bad = "model(x)  # expect: missing-eval"
    good = "model.eval()\nmodel(x)"

    def loss_use(self, use: LossUse) -> Iterator[Finding]:
        """Never called here."""
        return iter(())


MissingEval.name = "missing-eval"


def run_of(some: LintReport, **options: Any) -> dict[str, Any]:
    log = json.loads(render("sarif", some, **options))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    return dict(run)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def everything() -> LintReport:
    bad = finding(Span("x y/é.py", 1, 1, 1, 1), rule="syntax-error", message="'(' was never closed")
    bare = finding(at("train.py", 7, "evaluate"), related=(Note(at("train.py", 8, "total"), ""),))
    silenced = ((finding(at("train.py", 17, "Twin")), "known"), (finding(at("train.py", 18, "nn")), ""))
    return report((*twin_findings(), bad, bare), failures=(failure(),), suppressed=silenced)


def test_the_run() -> None:
    run = run_of(everything(), rules=[MissingEval])
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("modellint", modellint.__version__)
    assert run["automationDetails"] == {"id": "modellint/source/"}
    assert run["columnKind"] == "unicodeCodePoints"
    assert "" not in set(strings(run))


def test_every_result_refers_to_its_rule() -> None:
    run = run_of(everything(), rules=[MissingEval])
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({rule["id"] for rule in rules})
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    described = next(rule for rule in rules if rule["id"] == "missing-eval")
    assert described["shortDescription"] == {"text": "A model is evaluated in training mode."}
    assert described["fullDescription"] == {"text": "A model is evaluated in training mode."}
    assert described["help"]["text"].startswith("missing-eval ")
    assert described["help"]["markdown"].startswith("# missing-eval\n")
    assert described["defaultConfiguration"] == {"level": "error"}
    assert described["properties"] == {
        "tags": ["pytorch", "correctness"],
        "precision": "very-high",
        "problem.severity": "error",
    }


def test_rules_without_a_finding_are_described_too() -> None:
    run = run_of(report(), rules=[MissingEval])
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["missing-eval"]
    assert run["results"] == []
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_a_result() -> None:
    results = {result["ruleId"]: result for result in run_of(report(twin_findings()))["results"]}
    shared = results["shared-batchnorm"]
    assert shared["message"] == {
        "text": "one `BatchNorm1d` normalises two different inputs: [1st use](1), [2nd use](2)"
    }
    assert shared["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "models/twin.py", "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": 8, "startColumn": 21, "endLine": 8, "endColumn": 38},
            }
        }
    ]
    assert [place["id"] for place in shared["relatedLocations"]] == [1, 2]
    assert shared["relatedLocations"][1]["message"] == {"text": "2nd use: output of Linear(48, 64)"}
    assert "codeFlows" not in shared
    assert "suppressions" not in shared
    sigmoid = results["sigmoid-before-logits-loss"]
    assert "[squashed to \\[0, 1\\] here](1)" in sigmoid["message"]["text"]
    steps = sigmoid["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["location"]["message"]["text"] for step in steps][:3] == ["torch.sigmoid", "return", "model(...)"]
    (change,) = sigmoid["fixes"][0]["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "models/twin.py"
    assert change["replacements"][0]["insertedContent"] == {"text": "self.head(z)"}


def test_fingerprints_are_those_of_the_json_output() -> None:
    expected = [each["fingerprint"] for each in json.loads(render("json", report(twin_findings())))["findings"]]
    assert [each["partialFingerprints"] for each in run_of(report(twin_findings()))["results"]] == [
        {"modellint/v1": digest} for digest in expected
    ]


def test_text_that_looks_like_a_link_is_none() -> None:
    odd = finding(at("train.py", 7, "evaluate"), message="`x[0](1)` and [2]")
    (result,) = run_of(report([odd]))["results"]
    assert result["message"]["text"] == "`x\\[0](1)` and [2]"


def test_files_that_were_not_read_and_rules_that_failed_are_notifications() -> None:
    run = run_of(everything())
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    first, second = invocation["toolExecutionNotifications"]
    assert first["descriptor"] == {"id": "syntax-error"}
    assert first["message"] == {"text": "'(' was never closed"}
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "x%20y/%C3%A9.py"
    assert second["associatedRule"] == {"id": "shared-batchnorm"}
    assert "syntax-error" not in {result["ruleId"] for result in run["results"]}


def test_silenced_results_say_so_and_the_others_say_they_are_not() -> None:
    suppressions = [result["suppressions"] for result in run_of(everything())["results"]]
    assert suppressions.count([]) == 5
    assert {"kind": "inSource", "justification": "known"} in [each[0] for each in suppressions if each]
    assert {"kind": "inSource"} in [each[0] for each in suppressions if each]


def test_a_fix_that_is_only_shown_is_left_out() -> None:
    span = at("train.py", 7, "evaluate")
    shown = finding(span, fix=Fix("t", Safety.DISPLAY, "r", (Edit(span, "x"),)))
    deleting = finding(span, fix=Fix("t", Safety.SAFE, "", (Edit(span, ""),)))
    first, second = run_of(report([shown, deleting]))["results"]
    assert "fixes" not in first
    (fix,) = second["fixes"]
    assert fix["description"] == {"text": "t"}
    assert list(fix["artifactChanges"][0]["replacements"][0]) == ["deletedRegion"]


def test_the_place_is_at_most_one_statement() -> None:
    loop = Span("train.py", 10, 9, 12, 57)
    call = Span("a.py", 1, 1, 3, 2)
    some = report([finding(loop)]), report([finding(call)], {"a.py": "f(\n    1,\n)\n"})
    regions = [run_of(each)["results"][0]["locations"][0]["physicalLocation"]["region"] for each in some]
    assert regions == [
        {"startLine": 10, "startColumn": 9, "endLine": 10, "endColumn": 43},
        {"startLine": 1, "startColumn": 1, "endLine": 3, "endColumn": 2},
    ]


def test_symlinks_are_resolved_and_paths_outside_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = tmp_path / "project", tmp_path / "elsewhere.py"
    (inside / "real").mkdir(parents=True)
    (inside / "real" / "a.py").write_text("x = 1\n")
    outside.write_text("x = 1\n")
    try:
        os.symlink(inside / "real", inside / "link", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symlinks")
    monkeypatch.chdir(inside)
    paths = ("../elsewhere.py", str(outside), "link/a.py")
    results = run_of(report([finding(Span(path, 1, 1, 1, 2)) for path in paths], {}))["results"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"] for result in results]
    assert places == [
        {"uri": "../elsewhere.py", "uriBaseId": "%SRCROOT%"},
        {"uri": outside.as_uri()},
        {"uri": "real/a.py", "uriBaseId": "%SRCROOT%"},
    ]


def test_a_log_too_large_for_github_loses_results_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "LARGEST", 6000)
    many = [finding(Span("train.py", 1 + number, 1, 1 + number, 2)) for number in range(200)]
    run = run_of(report([*many, *twin_findings()]))
    rules = [result["ruleId"] for result in run["results"]]
    left_out = 200 - rules.count("invalid-device")
    assert 0 < left_out < 200
    assert rules.count("shared-batchnorm") == 1
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["level"] == "warning"
    assert notification["message"]["text"].startswith(f"{left_out} results of invalid-device left out")
