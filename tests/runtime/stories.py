"""The trainings of `fixtures/runs/`: which there are, and what both sides find in them.

`python tests/runtime/stories.py` prints the table of the README: one row a story, what was expected, and whether the
source reader and the run found it.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from conftest import ROOT
from markers import Marker, parse_file

from modellint.catalog import all_rules
from modellint.config import Selection, Settings
from modellint.finding import Finding
from modellint.lint import lint

FOLDER = ROOT / "fixtures" / "runs"
STORIES = sorted(FOLDER.glob("*.py"))
SILENT = sorted((FOLDER / "silent").glob("*.py"))
BY_DEFAULT = sorted(name for name, rule in all_rules().items() if rule.category.default_on)


def several_processes(path: Path) -> bool:
    """A story that starts processes of its own: it runs under the command line instead."""
    return "torch.distributed" in path.read_text(encoding="utf-8") and "spawn" in path.read_text(encoding="utf-8")


def rules_for(markers: Sequence[Marker]) -> list[str]:
    """The default set, and the rules that a story asks for by name."""
    return sorted({*BY_DEFAULT, *(marker.rule for marker in markers if marker.rule in all_rules())})


def found_by_run(path: Path) -> list[Finding]:
    """What a watch finds while the story runs in this process."""
    import torch

    from modellint.runtime.watch import watch

    torch.set_num_threads(1)
    output = io.StringIO()
    before = list(sys.argv)
    sys.argv = [str(path)]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(output):
            warnings.simplefilter("ignore")
            with watch(select=rules_for(parse_file(path))) as seen:
                runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before
    assert not seen.failures, seen.failures
    assert output.getvalue().strip(), "a story prints what it did"
    return list(seen.findings)


def found_by_source(path: Path) -> list[Finding]:
    """What the source reader finds in the story."""
    report = lint([path], Settings(flags=Selection(select=tuple(rules_for(parse_file(path))))))
    assert not report.failures, report.failures
    return list(report.findings)


def lines_of(finding: Finding) -> list[int]:
    """Where a finding stands and what it points at: code may stand at the list that keeps what a run sees made."""
    return [finding.span.line, *(note.span.line for note in finding.related)]


@dataclass(frozen=True, slots=True)
class Row:
    """One marker of one story."""

    story: str
    rule: str
    expected: str
    source: str
    run: str


def rows(path: Path) -> list[Row]:
    """What both sides say at each marker, and every finding that no marker asks for."""
    markers = parse_file(path)
    run = [] if several_processes(path) else found_by_run(path)
    sides = {"source": found_by_source(path), "run": run}
    table = []
    for marker in markers:
        said = {side: _said(findings, marker) for side, findings in sides.items()}
        table.append(Row(path.stem, marker.rule, marker.kind, said["source"], said["run"]))
    asked = {(marker.rule, marker.line) for marker in markers}
    for side, findings in sides.items():
        for finding in findings:
            if not asked.intersection((finding.rule, line) for line in lines_of(finding)):
                said = {"source": "-", "run": "-", side: f"FALSE, line {finding.span.line}"}
                table.append(Row(path.stem, finding.rule, "nothing", said["source"], said["run"]))
    return table


def _said(findings: Sequence[Finding], marker: Marker) -> str:
    for finding in findings:
        if finding.rule == marker.rule and marker.line in lines_of(finding):
            return "certain" if finding.certainty.value == "certain" else "likely"
    return "elsewhere" if any(finding.rule == marker.rule for finding in findings) else "-"


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("| story | rule | expected | source | run |\n|---|---|---|---|---|")
    for path in [*STORIES, *SILENT]:
        for row in rows(path):
            print(f"| {row.story} | {row.rule} | {row.expected} | {row.source} | {row.run} |", flush=True)


if __name__ == "__main__":
    main()
