"""The block at the end of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_cases import finding, report, twin_findings

from modellint.facts.span import Span
from modellint.finding import RuleFailure
from modellint.report import render
from modellint.report.model import OBSERVER, Gap, LintReport, Options, RunSummary
from modellint.report.run_block import render as block

GOLDEN = Path(__file__).parent.parent / "report_golden" / "twin.run.txt"
RUN = RunSummary("start.py", ("Twin",), 1, 96, 12, 24)
SEEN = {
    "shared-batchnorm": ("norm", "240 runs in 120 calls; branch means 0.1 and 2.1"),
    "unused-module": ("aux", "0 calls, no gradient, 4,160 of 9,665 parameters"),
    "missing-eval": (
        "",
        "24 of 24 evaluation forwards in training mode; running_mean moved by up to 0.15 per evaluation",
    ),
    "sigmoid-before-logits-loss": ("head", "loss input always in [0.006, 0.850]"),
}


def twin(**changes: object) -> LintReport:
    findings = [
        replace(each, seen=SEEN[each.rule][1], evidence={"module": SEEN[each.rule][0]}, sides=("runtime",))
        for each in twin_findings()
    ]
    return replace(report(findings, run=RUN), **changes)  # type: ignore[arg-type]


def test_golden() -> None:
    assert block(twin(), Options()) == GOLDEN.read_text(encoding="utf-8")


def test_quiet_silent_and_verbose() -> None:
    assert block(twin(), Options(verbosity=-2)) == ""
    quiet = block(twin(), Options(verbosity=-1))
    assert GOLDEN.read_text(encoding="utf-8").startswith(quiet.rstrip("\n"))
    assert "seen: " not in quiet
    silenced = twin(suppressed=((twin_findings()[1], "kept"),))
    assert "silenced: models/twin.py:12:20: unused-module (kept)" in block(silenced, Options(verbosity=1))
    assert "1 error" not in block(silenced, Options()).partition("\n")[0]
    assert "3 errors, 1 warning (1 finding silenced by comments)" in block(silenced, Options())


def test_colour_changes_no_letter() -> None:
    painted = block(twin(), Options(color=True))
    plain = painted.replace("\x1b[1;31m", "").replace("\x1b[1;33m", "").replace("\x1b[0m", "")
    assert plain == block(twin(), Options())
    assert painted != plain


@pytest.mark.parametrize(
    ("run", "head"),
    [
        (RUN, "modellint: Twin, 96 training steps, 24 evaluation forwards: all clear, 18 rules"),
        (replace(RUN, steps=1, evaluations=1), "modellint: Twin, 1 training step, 1 evaluation forward: all clear"),
        (replace(RUN, evaluations=0), "modellint: Twin, 96 training steps: all clear"),
        (replace(RUN, models=("G", "D"), optimizers=2), "modellint: G and D, 96 optimizer steps, 24 evaluation"),
        (replace(RUN, models=tuple("ABCD")), "modellint: 4 models, 96 training steps"),
        (replace(RUN, steps=0), "modellint: start.py: Twin, no training seen, 24 evaluation forwards: all clear"),
        (RunSummary("a.py", (), 0, 0, 0, 0), "modellint: a.py: no training seen: nothing was judged"),
        (RunSummary("", (), 0, 0, 0, 0), "modellint: no training seen: nothing was judged"),
    ],
)
def test_the_head(run: RunSummary, head: str) -> None:
    assert block(report(run=run), Options()).startswith(head)


def test_a_process_of_many_is_named() -> None:
    assert block(twin(), Options(), name="rank 1").startswith("modellint (rank 1): Twin, ")


def test_findings_of_some_processes_say_of_which() -> None:
    one = replace(twin().findings[1], notes=("same cause at b.py:1:1", "on rank 2 of 4"))
    assert "4,160 of 9,665 parameters\n" in block(twin(findings=(one,)), Options())
    of_ranks = replace(one, evidence={"ranks": [2]})
    assert "4,160 of 9,665 parameters; on rank 2 of 4\n" in block(twin(findings=(of_ranks,)), Options())


def test_out_of_sight() -> None:
    one = Gap("model.encoder", "compiled", ("shared-batchnorm", "unused-module"))
    two = Gap("evaluation", "none in the first 20 steps", ("missing-eval",))
    three = Gap("the loss", "")

    def shown(*gaps: Gap, verbosity: int = 0) -> str:
        return block(report(run=replace(RUN, gaps=gaps)), Options(verbosity=verbosity))

    assert "values at 12 of 96 steps; out of sight: nothing\n" in shown()
    assert "out of sight: model.encoder (compiled), evaluation (none in the first 20 steps)" in " ".join(
        shown(one, two).split()
    )
    assert "out of sight: 3 things (-v lists them)\n" in shown(one, two, three)
    listed = shown(one, two, three, verbosity=1)
    assert "  out of sight: model.encoder (compiled); unknown for it: shared-batchnorm, unused-module\n" in listed
    assert "  out of sight: the loss\n" in listed
    assert "order, modes and values of every step" in block(report(run=replace(RUN, traced=96)), Options())


def test_a_watch_that_failed_says_so() -> None:
    failed = report(failures=(RuleFailure(OBSERVER, "hooks.py", 7, "KeyError"),), run=replace(RUN, models=(), steps=0))
    text = block(failed, Options(verbosity=-1))
    assert "1 watch failure" in text
    assert "no training seen" not in text
    assert "internal error: the watch failed on hooks.py:7 (KeyError); the run went on without it." in text


def test_long_names_leave_room_for_the_evidence() -> None:
    long = finding(
        Span("a/very/long/path/to/some/package/of/models/encoder/attention_block.py", 1204, 1, 1204, 9),
        rule="sigmoid-before-logits-loss",
        seen="word " * 60,
    )
    lines = block(report([long], run=RUN), Options()).splitlines()
    assert lines[2].endswith("attention_block.py:1204")
    assert lines[3].startswith("         word word")
    assert max(map(len, lines)) <= 120


def test_text_of_the_user_stays_inert() -> None:
    evil = finding(Span("a\x1b[31m.py", 1, 1, 1, 2), seen="\x1b[2J", evidence={"module": "m\x1b"})
    run = replace(RUN, models=("\x1bTwin",), script="\x1b", gaps=(Gap("\x1b", "\x1b"),), steps=0)
    assert "\x1b" not in block(report([evil], run=run), Options(verbosity=1))


def test_the_other_formats_know_that_it_was_a_run() -> None:
    for name in ("full", "grouped", "concise", "github", "statistics"):
        text = render(name, twin())
        assert "Twin, 96 training steps, 24 evaluation forwards: 3 errors, 1 warning\n" in text, name
        assert " checked" not in text
