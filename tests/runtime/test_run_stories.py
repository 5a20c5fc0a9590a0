"""Silent errors from public issues, executed under a watch: the buggy training is found, its mended twin is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from markers import compare, parse_file
from ranks import in_processes
from stories import SILENT, STORIES, found_by_run, found_by_source, lines_of, several_processes
from torch import distributed

IN_PROCESS = [path for path in STORIES if not several_processes(path)]


@pytest.mark.parametrize("path", IN_PROCESS, ids=lambda path: path.stem)
def test_a_run_finds_what_is_marked(path: Path) -> None:
    problems = compare(parse_file(path), found_by_run(path))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("path", SILENT, ids=lambda path: path.stem)
def test_a_good_training_is_silent(path: Path) -> None:
    assert not [f"{finding.span}: {finding.rule}: {finding.message}" for finding in found_by_run(path)]


@pytest.mark.parametrize("path", [*STORIES, *SILENT], ids=lambda path: path.stem)
def test_the_source_reader_raises_no_false_alarm(path: Path) -> None:
    marked = {(marker.rule, marker.line) for marker in parse_file(path) if marker.kind == "expect"}
    false = [f for f in found_by_source(path) if not marked.intersection((f.rule, line) for line in lines_of(f))]
    assert not [f"{finding.span}: {finding.rule}: {finding.message}" for finding in false]


@pytest.mark.skipif(not distributed.is_available(), reason="torch without distributed")
@pytest.mark.parametrize("path", [path for path in STORIES if several_processes(path)], ids=lambda path: path.stem)
def test_a_run_of_two_processes_finds_what_is_marked(path: Path, tmp_path: Path) -> None:
    markers = parse_file(path)
    report = tmp_path / "report.json"
    rules = ",".join({marker.rule for marker in markers} or {"rank-divergence"})
    first, second = in_processes([
        "-m", "modellint", "run", "--extend-select", rules, "--output-format", "json", "-o", str(report), str(path),
    ])  # fmt: skip
    assert first.stdout.startswith("rank 0: "), first.stderr
    assert second.stdout.startswith("rank 1: "), second.stderr
    document = json.loads(report.read_text(encoding="utf-8"))
    assert not document["failures"]
    found = {(finding["rule"], finding["range"]["start"]["line"]) for finding in document["findings"]}
    assert found == {(marker.rule, marker.line) for marker in markers}


def test_every_story_has_a_mended_twin() -> None:
    for path in STORIES:
        marked = parse_file(path)
        if path.stem.endswith("_mended"):
            assert not marked, path
        elif marked:
            assert path.with_name(f"{path.stem}_mended.py").exists(), path
