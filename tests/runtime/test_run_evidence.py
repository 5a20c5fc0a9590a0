"""The report of a run, joined to what the source shows."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from conftest import CommandLine
from report_cases import FILES, reader, report, twin_findings
from torch import nn
from watching import watched

from modellint.catalog import all_rules
from modellint.config import UsageError
from modellint.evidence import join, read_evidence
from modellint.facts.run_evidence import RunEvidence
from modellint.facts.span import Span
from modellint.facts.training_loop import Event, EventKind, OptimizerRef, TrainingLoop
from modellint.finding import Certainty, Finding, Level
from modellint.lint import lint
from modellint.report import render
from modellint.report.model import Gap, Quiet, RunSummary
from modellint.rule import Category, Iterator, Rule
from modellint.runtime.quiet import quiet_lines

SHARED, UNUSED, EVAL, SIGMOID = twin_findings()
RUN = RunSummary("start.py", ("Twin",), 1, 96, 12, 24)


def saved(folder: Path, *findings: Finding, **run: Any) -> list[str]:
    """The JSON report of a run with some findings."""
    summary = replace(RUN, **run)
    text = render("json", report(findings, run=summary))
    (folder / "run.json").write_text(text)
    schema = json.loads(
        importlib.resources.files("modellint.report.schema").joinpath("findings.schema.json").read_text()
    )
    jsonschema.validate(json.loads(text), schema)
    return ["run.json"]


def joined(folder: Path, *findings: Finding, certain: Callable[[Finding], Finding] = lambda f: f) -> list[Finding]:
    return join(findings, read_evidence(["run.json"], folder), reader(FILES), certain)


def test_a_finding_of_both_sides_is_one_finding_and_certain(tmp_path: Path) -> None:
    seen = replace(SHARED, sides=("runtime",), seen="2 calls in 96 passes", evidence={"times": 96})
    saved(tmp_path, seen)
    likely = replace(SHARED, certainty=Certainty.LIKELY, level=Level.WARNING)
    found = joined(tmp_path, UNUSED, likely, certain=lambda f: replace(f, level=Level.ERROR))
    assert [finding.rule for finding in found] == ["shared-batchnorm", "unused-module"]
    assert found[0] == replace(SHARED, sides=("source", "runtime"), seen="2 calls in 96 passes", evidence={"times": 96})
    assert found[1] == UNUSED, "what the run did not see stays as it was"


def test_lines_may_have_been_inserted_since(tmp_path: Path) -> None:
    saved(tmp_path, replace(SHARED, seen="seen"))
    files = {path: "# new\n\n" + text for path, text in FILES.items()}
    moved = replace(SHARED, span=SHARED.span._replace(line=10, end_line=10))
    (found,) = join([moved], read_evidence(["run.json"], tmp_path), reader(files), lambda f: f)
    assert found.sides == ("source", "runtime")


def test_the_line_decides_where_the_statement_differs(tmp_path: Path) -> None:
    other = replace(SHARED, span=Span("models/twin.py", 8, 9, 8, 18), seen="seen")
    saved(tmp_path, other)
    assert joined(tmp_path, SHARED)[0].sides == ("source", "runtime")
    saved(tmp_path, replace(other, rule="unused-module"))
    assert joined(tmp_path, SHARED)[0].sides == ("source",)


def test_where_a_run_saw_nothing_the_finding_says_so(tmp_path: Path) -> None:
    quiet = (Quiet("unused-module", "models/twin.py", (11, 12), 96, "passes"),)
    saved(tmp_path, quiet=quiet)
    likely = replace(UNUSED, certainty=Certainty.LIKELY, level=Level.WARNING)
    for finding, level in ((UNUSED, Level.WARNING), (likely, Level.NOTE)):
        (found,) = joined(tmp_path, finding)
        assert found.notes == ("not seen in 96 passes of a run that watched this place",)
        assert (found.level, found.certainty, found.sides) == (level, finding.certainty, ("source",))
    assert joined(tmp_path, SHARED) == [SHARED]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2, "run": {}}', None])
def test_what_is_no_report_of_a_run(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "run.json").write_text(render("json", report([SHARED])) if text is None else text)
    with pytest.raises(UsageError, match="is no report of a run"):
        read_evidence(["run.json"], tmp_path)
    with pytest.raises(UsageError, match=r"cannot read nope\.json: No such file"):
        read_evidence(["nope.json"], tmp_path)


# Which lines a run was quiet about


class Loud(Rule):
    """Speaks about loops that were seen at least once."""

    category = Category.CORRECTNESS

    def training_loop(self, loop: TrainingLoop) -> Iterator[Finding]:
        if loop.run is not None and loop.run.times:
            yield self.finding(at=loop.place, message="loud", why="", help="")


def loop(line: int, times: int, watched: int = 20, complete: bool = True) -> TrainingLoop:
    step = Span("train.py", line, 1, line, 9)
    event = Event(EventKind.OPTIMIZER_STEP, step._replace(line=line + 1), "opt.step()", (1,))
    return TrainingLoop(
        place=step,
        passes=((event,),),
        complete=complete,
        optimizers=(OptimizerRef(1, "opt", "SGD", None),),
        cleared_outside=(),
        framework=None,
        run=RunEvidence(times, watched, 0, "steps"),
    )


def test_quiet_lines() -> None:
    rules = [Loud()]
    quiet = Quiet(Loud.name, "train.py", (4, 5), 20, "steps")
    assert quiet_lines([loop(4, 0)], rules, ()) == (quiet,)
    assert quiet_lines([loop(4, 0), loop(5, 0, 12)], rules, ()) == (
        Quiet(Loud.name, "train.py", (6,), 12, "steps"), quiet,
    )  # fmt: skip
    assert quiet_lines([loop(4, 1), loop(4, 0)], rules, ()) == (), "another fact spoke about these lines"
    assert quiet_lines([loop(4, 0, watched=9)], rules, ()) == (), "watched too seldom"
    assert quiet_lines([loop(4, 0, complete=False)], rules, ()) == (), "unknown, not silent"
    assert quiet_lines([loop(4, 0)], rules, (Gap("model", "compiled", (Loud.name,)),)) == ()
    assert quiet_lines([loop(4, 0)], rules, (Gap("model", "compiled"),)) == (quiet,)


def trains() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(30):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).pow(2).mean().backward()
        optimizer.step()


def test_a_report_of_a_run_fits_the_schema(tmp_path: Path) -> None:
    text = render("json", watched(trains).verdict.report)
    schema = json.loads(
        importlib.resources.files("modellint.report.schema").joinpath("findings.schema.json").read_text()
    )
    jsonschema.validate(json.loads(text), schema)


# The command line

BAD = """
import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.AdamW(model.parameters())
for _ in range(12):
    loss = model(torch.randn(8, 4)).pow(2).mean()
    loss.backward()
    optimizer.step()
"""


def test_from_run_to_check(tmp_path: Path, modellint: CommandLine) -> None:
    (tmp_path / "start.py").write_text(BAD)
    ran = modellint("run", "--output-format", "json", "--output-file", "run.json", "start.py", cwd=tmp_path)
    assert ran.returncode == 1, ran.stderr
    plain = json.loads(modellint("start.py", "--output-format", "json", cwd=tmp_path).stdout)
    both = json.loads(modellint("start.py", "--output-format", "json", "--evidence", "run.json", cwd=tmp_path).stdout)
    assert [finding["fingerprint"] for finding in plain["findings"]] == [f["fingerprint"] for f in both["findings"]]
    (found,) = (finding for finding in both["findings"] if finding["rule"] == "missing-zero-grad")
    assert found["sides"] == ["source", "runtime"]
    assert found["seen"]
    assert found["evidence"]["times"]
    assert both["run"] is None
    assert b"= seen: " in modellint("start.py", "--evidence", "run.json", cwd=tmp_path).stdout
    wrong = modellint("start.py", "--evidence", "start.py", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(b"error: start.py is no report of a run")


def test_a_comment_about_what_only_a_run_finds_is_not_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, rule in all_rules().items() if rule.sides == ("runtime",) and rule.category.default_on]
    assert names
    (tmp_path / "start.py").write_text(f"import torch  # modellint: ignore[{', '.join(names)}] the run knows\n")
    monkeypatch.chdir(tmp_path)
    assert not lint(["start.py"]).findings
